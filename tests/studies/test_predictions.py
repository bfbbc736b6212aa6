"""Predictions of trained nets: the numbers of their results, and scores of peers."""

import csv
import dataclasses
import shutil

import jax
import numpy as np
import pytest
from sklearn import metrics

from cnnjax.errors import UserError
from cnnjax.interrupt import Stopped
from cnnjax.records import read_json
from cnnjax.studies import predictions
from cnnjax.studies.predictions import predict
from cnnjax.studies.programs import find_rate, show_predictions
from cnnjax.studies.scores import confusion, reliability, scores
from cnnjax.training.loss import Loss
from cnnjax.training.multi_view import Views
from tests.run.tiny import RESNET, fit, tiny_config, tiny_run

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


def test_a_net_that_answers_nothing_is_never_right():
    """As in `training/evaluate.py`; nothing is ahead of nan."""
    silent = np.full((2, 3), np.nan)
    found = scores(silent, np.array([0, 1]), (2,))
    assert found.error == found.top[2] == 100
    assert np.isnan([found.loss, found.calibration]).all()
    half = np.array([[np.nan] * 3, [0.1, 0.8, 0.1]])
    assert scores(half, np.array([0, 1])).error == 50
    assert confusion(half, np.array([0, 1])).sum() == 1


def test_sigmoids_have_their_own_loss():
    stream = np.random.RandomState(1)
    logits, labels = stream.normal(0, 2, (20, 4)).astype("float32"), LABELS[:20] % 4
    loss = Loss("sigmoid")
    of = loss(logits, np.eye(4, dtype="float32")[labels])
    found = scores(np.asarray(loss.probabilities(logits)), labels, kind="sigmoid")
    assert found.loss == pytest.approx(float(of.mean()), rel=1e-5)


def test_what_others_have_in_a_folder_stays(trained, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    options = {"split": "test", "weights": "last", "tops": [], "views": {}}
    with pytest.raises(UserError, match=r"holds notes\.txt, which is not ours.*--out"):
        show_predictions([str(trained / "a")], **options, data_dir="", out=tmp_path)
    with pytest.raises(UserError, match="--workdir"):
        find_rate(tiny_config(), tmp_path, "x", lowest=0.1, highest=1.0, steps=20)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_guesses_that_make_no_sense(trained, tmp_path, monkeypatch):
    """They are refused before anything is computed or written."""
    monkeypatch.setattr("cnnjax.studies.programs.predict_with", None)
    options = {"split": "test", "weights": "last", "tops": [5], "views": {}}
    out = tmp_path / "out"
    with pytest.raises(UserError, match="--top=5 makes no sense for 3 classes"):
        show_predictions([str(trained / "a")], **options, data_dir="", out=out)
    assert not out.exists()


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
    assert [row["net"] for row in rows][-1] == "ensemble of 3"
    assert [row["step"] for row in rows] == ["9", "9", "9", ""]
    asked = {"split": "test", "weights": "last", "views": ""}
    assert all(asked.items() <= row.items() for row in rows)
    found = predict(runs)
    assert float(rows[-1]["error %"]) == scores(found.ensemble(), found.labels).error
    with np.load(tmp_path / "out" / "predictions.npz") as stored:
        np.testing.assert_array_equal(stored["labels"], found.labels)
        assert (stored["split"], stored["weights"]) == ("test", "last")
        assert (stored["steps"].tolist(), str(stored["views"])) == ([9, 9, 9], "")
        assert tuple(stored["members"]) == found.members
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"confusion.csv", "confusion.png", "reliability.svg"} <= names


def test_other_predictions_replace_none_that_are_there(trained, tmp_path, capfd):
    runs = [str(trained / "b")]
    options = {"weights": "last", "tops": [], "views": {}, "data_dir": ""}
    out = tmp_path / "out"
    assert show_predictions(runs, split="test", **options, out=out) == 0
    before = (out / "scores.csv").read_bytes()
    for split, own in [("test", "predictions"), ("train", "predictions-train")]:
        assert show_predictions(runs, split=split, **options, out=None) == 0
        assert (trained / "b" / own / "scores.csv").exists()
    with pytest.raises(UserError, match=r"for 'split' 'test', not 'train'.*--out"):
        show_predictions(runs, split="train", **options, out=out)
    assert (out / "scores.csv").read_bytes() == before


@pytest.fixture(scope="module")
def odd(tmp_path_factory):
    """Nets of which there is something to know."""
    root = tmp_path_factory.mktemp("odd")
    with pytest.raises(Stopped):
        fit(tiny_run(), root / "unfinished", stop_at=3)
    fit(tiny_run(loss__kind="sigmoid"), root / "sigmoid")
    fit(tiny_run(loss__kind="hinge"), root / "hinge")
    by_batch = {"model": "resnet20_cifar", "arguments": RESNET}
    fit(tiny_run(**by_batch, eval__statistics="batch"), root / "batch")
    return root


def test_every_note_about_a_net_is_said_and_kept(odd, tmp_path, capfd):
    """Its step, and where an error is not the reported one; a damaged newest one."""
    damaged = tmp_path / "damaged"
    shutil.copytree(odd / "sigmoid", damaged)
    newest = max((damaged / "checkpoints").iterdir(), key=lambda path: int(path.name))
    (newest / "state" / "manifest.ocdbt").unlink()
    cases = {
        odd / "unfinished": "unfinished: step",
        odd / "batch": "the reported error was computed with the statistics of each",
        damaged: f"{newest.name} is damaged (",
    }
    for run, words in cases.items():
        options = {"split": "test", "weights": "last", "tops": [], "views": {}}
        out = tmp_path / f"of-{run.name}"
        assert show_predictions([str(run)], **options, data_dir="", out=out) == 0
        said = " ".join(capfd.readouterr().out.split())
        assert words in said
        with (out / "scores.csv").open() as file:
            (row,) = csv.DictReader(file)
        assert words in row["note"]
        assert f"step {row['step']}" in said


def test_probabilities_are_those_of_the_loss(odd):
    found = predict([odd / "sigmoid"])
    final = read_json(odd / "sigmoid" / "seed-0" / "result.json")["final"]["test"]
    of = scores(found.probabilities[0], found.labels, kind=found.loss)
    assert of.loss == pytest.approx(final["loss"], rel=1e-4)
    with pytest.raises(UserError, match="'hinge' stand for no probabilities"):
        predict([odd / "hinge"])


def test_what_answers_nothing_is_noted(trained, monkeypatch):
    load = predictions.load_run

    def broken(*args, **more):
        net = load(*args, **more)
        nothing = jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), net.variables)
        return dataclasses.replace(net, variables=nothing)

    monkeypatch.setattr(predictions, "load_run", broken)
    found = predict([trained / "b"])
    (note,) = found.notes
    assert note.endswith("; no finite answer to 10 of 10 images")


def test_folders_of_one_name_are_told_apart(trained, tmp_path):
    shutil.copytree(trained / "a", tmp_path / "x" / "b")
    found = predict([tmp_path / "x" / "b", trained / "b"])
    assert found.members == (
        "x/b seed 0",
        "x/b seed 1",
        f"{trained.name}/b seed 5",
    )
    with pytest.raises(UserError, match="b seed 0 has the very weights of a seed 0"):
        predict([trained / "a", tmp_path / "x" / "b"])


@pytest.mark.parametrize(
    ("runs", "more", "words"),
    [
        ([], {}, "--workdir is missing"),
        (["a"], {"split": "tset"}, "unknown split 'tset'"),
        (["a"], {"weights": "beast"}, "unknown weights"),
        (["none"], {}, "there is no folder"),
        (["a", "a"], {}, "a seed 0 is given twice"),
        (["a", "b/../a"], {}, "a seed 0 is given twice"),
        (["a", "c"], {}, "other classes than a seed 0"),
        (["a", "d"], {}, "d seed 0 was trained on other images, or splits"),
    ],
)
def test_what_cannot_be_compared(trained, runs, more, words):
    with pytest.raises(UserError, match=words):
        predict([trained / run for run in runs], **more)
