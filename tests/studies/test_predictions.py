"""Predictions of trained nets: the numbers of their results, and scores of peers."""

import csv
import dataclasses

import numpy as np
import pytest
from sklearn import metrics

from cnnjax.errors import UserError
from cnnjax.records import read_json
from cnnjax.studies import predictions
from cnnjax.studies.predictions import predict
from cnnjax.studies.programs import find_rate, show_predictions
from cnnjax.studies.scores import confusion, reliability, scores
from cnnjax.training.views import Views
from tests.run.tiny import fit, tiny_config, tiny_run

STREAM = np.random.RandomState(0)
LABELS = STREAM.randint(0, 6, 200)
PROBABILITIES = STREAM.dirichlet(np.ones(6), 200)


def test_scores_are_those_of_scikit_learn():
    found = scores(PROBABILITIES, LABELS, (2, 5))
    guess = PROBABILITIES.argmax(1)
    assert found.error == pytest.approx(
        100 - 100 * metrics.accuracy_score(LABELS, guess)
    )
    for k, error in found.top.items():
        right = metrics.top_k_accuracy_score(LABELS, PROBABILITIES, k=k)
        assert error == pytest.approx(100 - 100 * right)
    assert found.loss == pytest.approx(metrics.log_loss(LABELS, PROBABILITIES))
    np.testing.assert_array_equal(
        confusion(PROBABILITIES, LABELS), metrics.confusion_matrix(LABELS, guess)
    )


def test_calibration_by_hand():
    """Two images at 0.9, of which one is right, and two at 0.6, which are."""
    probabilities = np.array([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    curve = reliability(probabilities, np.array([0, 1, 1, 1]), bins=10)
    np.testing.assert_array_equal(curve.counts[[5, 8]], [2, 2])
    np.testing.assert_allclose(curve.accuracy[[5, 8]], [1.0, 0.5])
    assert curve.error == pytest.approx(0.5 * 0.4 + 0.5 * 0.4)


def test_certainty_and_ties():
    certain = np.array([[1.0, 0.0], [1.0, 0.0]])
    assert reliability(certain, np.array([0, 0])).error == 0
    assert np.isfinite(scores(certain, np.array([1, 1]), (1,)).loss)
    even = np.full((2, 4), 0.25)
    assert scores(even, np.array([0, 3]), (1, 3)).top == {1: 50.0, 3: 50.0}


def test_what_others_have_in_a_folder_stays(trained, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    options = {"split": "test", "weights": "last", "tops": [], "views": {}}
    with pytest.raises(UserError, match=r"holds notes\.txt, which is not ours.*--out"):
        show_predictions([str(trained / "a")], **options, data_dir="", out=tmp_path)
    with pytest.raises(UserError, match="--workdir"):
        find_rate(tiny_config(), tmp_path, "x", lowest=0.1, highest=1.0, steps=20)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_guesses_that_make_no_sense(trained, tmp_path):
    options = {"split": "test", "weights": "last", "tops": [5], "views": {}}
    with pytest.raises(UserError, match="--top=5 makes no sense for 3 classes"):
        show_predictions([str(trained / "a")], **options, data_dir="", out=tmp_path)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fingerprint": "0" * 16}, "b seed 5 was trained on other images"),
        ({"class_names": ("x", "y", "z")}, "b seed 5 has other classes than data set"),
    ],
)
def test_data_that_has_changed_since(trained, monkeypatch, change, words):
    """Images added, or a class renamed: no error would be that of the net."""
    load = predictions.load_dataset

    def changed(request):
        return dataclasses.replace(load(request), **change)

    monkeypatch.setattr(predictions, "load_dataset", changed)
    with pytest.raises(UserError, match=words):
        predict([trained / "b"])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Two runs of two and one seeds on the same data, and one on others."""
    root = tmp_path_factory.mktemp("trained")
    fit(tiny_run(seeds__count=2), root / "a")
    fit(tiny_run(seeds__first=5, schedule__learning_rate=0.01), root / "b")
    fit(tiny_run(data__num_classes=4), root / "c")
    fit(tiny_run(data__split_seed=1), root / "d")
    return root


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_members_have_the_errors_of_their_results(trained, split):
    found = predict([trained / "a", trained / "b"], split)
    assert found.members == ("a seed 0", "a seed 1", "b seed 5")
    for name, probabilities in zip(found.members, found.probabilities, strict=True):
        run, seed = name.split(" seed ")
        result = read_json(trained / run / f"seed-{seed}" / "result.json")
        of = scores(probabilities, found.labels)
        assert of.error == pytest.approx(result["final"][split]["error"])
        assert of.loss == pytest.approx(result["final"][split]["loss"], rel=1e-4)
    mean = found.probabilities.astype(float).mean(0)
    np.testing.assert_allclose(found.ensemble(), mean, rtol=1e-5)
    np.testing.assert_array_equal(found.ensemble([2]), found.probabilities[2])


def test_mirror_images(trained):
    """A net sees both, and an image and its mirror image get the same."""
    plain = predict([trained / "b"]).probabilities[0]
    both = predict([trained / "b"], views=Views(flip=True)).probabilities[0]
    assert np.abs(both - plain).max() > 1e-4
    np.testing.assert_allclose(both.sum(-1), 1, rtol=1e-5)


def test_the_program_writes_what_it_prints(trained, capfd, tmp_path):
    runs = [str(trained / "a"), str(trained / "b")]
    options = {"split": "test", "weights": "last", "tops": [2], "views": {}}
    assert show_predictions(runs, **options, data_dir="", out=tmp_path / "out") == 0
    assert "ensemble of 3" in capfd.readouterr().out
    with (tmp_path / "out" / "scores.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["weights"] for row in rows][-1] == "ensemble of 3"
    found = predict(runs)
    assert float(rows[-1]["error %"]) == scores(found.ensemble(), found.labels).error
    with np.load(tmp_path / "out" / "predictions.npz") as stored:
        np.testing.assert_array_equal(stored["labels"], found.labels)
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"confusion.csv", "confusion.png", "reliability.svg"} <= names


@pytest.mark.parametrize(
    ("runs", "more", "words"),
    [
        ([], {}, "--workdir is missing"),
        (["a"], {"split": "tset"}, "unknown split 'tset'"),
        (["a"], {"weights": "beast"}, "unknown weights"),
        (["none"], {}, "there is no folder"),
        (["a", "a"], {}, "given twice"),
        (["a", "c"], {}, "other classes than a seed 0"),
        (["a", "d"], {}, "d seed 0 was trained on other images, or splits"),
    ],
)
def test_what_cannot_be_compared(trained, runs, more, words):
    with pytest.raises(UserError, match=words):
        predict([trained / run for run in runs], **more)
