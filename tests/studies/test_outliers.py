"""Outliers: what cleanlab says of the same predictions, and labels made wrong."""

import csv
import functools
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from cnnjax.config import override, to_dict
from cnnjax.data.dataset import open_source
from cnnjax.data.request import Request
from cnnjax.data.split import choose
from cnnjax.errors import UserError
from cnnjax.run.single import train
from cnnjax.studies import outliers
from cnnjax.studies.outlier_program import show_outliers
from cnnjax.studies.outliers import find_outliers, margins, precision_at, suspects
from tests.data.loading import request
from tests.run.tiny import tiny_config
from tests.studies.recorded.record_cleanlab import example

FOLDS = 3
DIGITS = {
    "data.name": "digits",
    "data.num_train": 0,
    "data.num_validation": 0,
    "data.num_test": 0,
    "data.num_classes": 0,
    "data.image_size": 0,
    "data.num_folds": FOLDS,
    "data.label_noise": 0.05,
}


def fold_config(fold, **changes):
    config = tiny_config(**changes)
    override(config, DIGITS | {"data.fold": fold})
    return config


@pytest.fixture
def folds(tmp_path, monkeypatch):
    """Folders of three folds, whose nets know most of the true labels."""
    configs = {}
    for fold in range(FOLDS):
        folder = tmp_path / "arm" / f"fold-{fold}"
        folder.mkdir(parents=True)
        config = to_dict(fold_config(fold))
        (folder / "config.json").write_text(json.dumps(config))
        configs[folder] = Request(**config["data"])

    def predict(workdirs, split, weights, data_dir):
        asked = configs[workdirs[0]]
        source = open_source(asked)
        held_out = choose(source.pools, asked)[split][1]
        found = clever()[held_out]
        return SimpleNamespace(
            members=("a", "b"),
            notes=("", ""),
            probabilities=np.stack([found, found]),
            ensemble=lambda: found,
        )

    monkeypatch.setattr(outliers, "predict", predict)
    return tmp_path / "arm"


@functools.cache
def clever():
    """Probabilities for all digits that mostly favour the true class."""
    true = open_source(request("digits"))
    labels = true.pools["train"].labels
    stream = np.random.RandomState(0)
    logits = stream.normal(size=(len(labels), 10))
    logits[np.arange(len(labels)), labels] += 4
    return np.exp(logits) / np.exp(logits).sum(1, keepdims=True)


def test_scores_and_suspects_are_those_of_cleanlab():
    """Recorded by `record_cleanlab.py`, from the release in the file."""
    recorded = json.loads(
        (Path(__file__).parent / "recorded" / "cleanlab.json").read_text()
    )
    probabilities, labels = example()
    own = probabilities[np.arange(len(labels)), labels]
    np.testing.assert_allclose(own, recorded["self_confidence"], atol=1e-8)
    margin = (margins(probabilities, labels) + 1) / 2
    np.testing.assert_allclose(margin, recorded["normalized_margin"], atol=1e-8)
    found = np.flatnonzero(suspects(probabilities, labels))
    assert found.tolist() == recorded["issues"]
    assert 20 < len(found) < 40


def test_a_class_without_images_makes_no_suspects():
    probabilities = np.array([[0.2, 0.1, 0.7], [0.9, 0.1, 0.0], [0.1, 0.8, 0.1]])
    assert suspects(probabilities, np.array([0, 0, 1])).tolist() == [False] * 3


def test_margins_by_hand():
    probabilities = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7]])
    np.testing.assert_allclose(margins(probabilities, np.array([0, 1])), [0.2, -0.5])


def test_every_image_is_judged_by_the_fold_that_held_it_out(folds):
    found = find_outliers(folds)
    np.testing.assert_array_equal(found.probabilities, clever())
    assert found.planted.sum() == round(0.05 * len(found.labels)) == 90
    worst = found.worst()
    assert (np.diff(found.loss[worst]) <= 0).all()
    # A true label is favoured by e^4 and noise of about e^1.4.
    assert precision_at(worst, found.planted, 45) > 0.9
    assert precision_at(found.worst()[::-1], found.planted, 90) == 0


def test_the_program_writes_table_sheet_and_list(folds, capfd):
    assert show_outliers(folds, weights="last", worst=0, data_dir="", out=None) == 0
    said = capfd.readouterr().out
    assert "90 labels are wrong on purpose" in said
    found = find_outliers(folds)
    with (folds / "outliers" / "outliers.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["position"]) for row in rows] == found.worst().tolist()
    first = found.worst()[0]
    assert float(rows[0]["loss"]) == pytest.approx(found.loss[first], rel=1e-5)
    assert int(rows[0]["planted"]) == found.planted[first]
    with Image.open(folds / "outliers" / "outliers.png") as sheet:
        assert sheet.size == (110 + 10 * 92, 40 + 10 * 124)
    page = (folds / "outliers" / "outliers.html").read_text()
    assert page.count("data:image/png;base64,") == 10 * 10
    assert f"#{first}<" in page.replace("\n", "")
    exclude = eval((folds / "outliers" / "exclude.txt").read_text())
    np.testing.assert_array_equal(exclude, np.flatnonzero(found.suspect))


def test_the_list_may_have_a_length(folds, tmp_path):
    assert (
        show_outliers(folds, weights="last", worst=7, data_dir="", out=tmp_path / "o")
        == 0
    )
    exclude = eval((tmp_path / "o" / "exclude.txt").read_text())
    assert set(exclude) == set(find_outliers(folds).worst()[:7].tolist())
    with pytest.raises(UserError, match="--worst=1797 does not fit 1,797 training"):
        show_outliers(folds, weights="last", worst=1797, data_dir="", out=None)


def test_wrong_folders(folds, tmp_path):
    with pytest.raises(UserError, match=r"has no folders of folds .*--folds=K"):
        find_outliers(tmp_path)
    other = to_dict(fold_config(1))
    other["data"]["split_seed"] = 7
    (folds / "fold-1" / "config.json").write_text(json.dumps(other))
    with pytest.raises(UserError, match=r"differ in section data"):
        find_outliers(folds)
    (folds / "fold-1" / "config.json").unlink()
    with pytest.raises(UserError, match=r"has the folds 0, 2 of 3: train the others"):
        find_outliers(folds)


@pytest.mark.parametrize(
    ("note", "value"),
    [("unfinished: step 5 of 1,000", 0.1), ("no finite answer to 599 of 599", np.nan)],
)
def test_nets_that_know_nothing_do_not_judge(folds, monkeypatch, note, value):
    judge = outliers.predict

    def predict(*args, **options):
        found = judge(*args, **options)
        found.notes = ("", note)
        found.probabilities = found.probabilities.copy()
        found.probabilities[1] = value
        return found

    monkeypatch.setattr(outliers, "predict", predict)
    with pytest.raises(UserError, match=rf"b \(.*fold-0\) cannot judge .*{note}"):
        find_outliers(folds)


@pytest.mark.slow
def test_wrong_labels_of_digits_are_found(tmp_path):
    """By nets that never saw them."""
    for fold in range(FOLDS):
        config = fold_config(fold, train__steps=600, train__batch_size=64)
        assert train(config, tmp_path / f"fold-{fold}", "digits") == 0
    found = find_outliers(tmp_path)
    assert precision_at(found.worst(), found.planted, 90) > 0.7
