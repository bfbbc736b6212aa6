"""Folds of one recipe, and the training on all of them afterwards."""

from types import SimpleNamespace

import pytest

from cnnjax import cli
from cnnjax.config import override, to_dict
from cnnjax.errors import UserError
from cnnjax.records import read_json
from cnnjax.studies import folds
from cnnjax.studies.folds import train_folds
from tests.run.tiny import tiny_config


@pytest.fixture
def trained(monkeypatch):
    """What would be trained: (folder, config); the second one may fail."""
    seen, codes = [], iter([0] * 9)

    def train(config, workdir, name):
        seen.append((workdir, to_dict(config)["data"], name))
        return next(codes)

    monkeypatch.setattr(folds, "train", train)
    return seen


def test_each_fold_and_then_all(trained, tmp_path, capfd):
    config = tiny_config()
    assert train_folds(config, tmp_path, "tiny", 3, then_all=True) == 0
    found = [(w.name, d["num_folds"], d["fold"]) for w, d, _ in trained]
    wanted = [("fold-0", 3, 0), ("fold-1", 3, 1), ("fold-2", 3, 2), ("all", 3, -1)]
    assert found == wanted
    assert "test error over 0 folds: unknown" in capfd.readouterr().out
    assert config.data.num_folds == 0


def test_it_ends_with_the_first_that_does_not_end_well(trained, tmp_path, monkeypatch):
    def train(config, workdir, name):
        trained.append(workdir)
        return 130

    monkeypatch.setattr(folds, "train", train)
    assert train_folds(tiny_config(), tmp_path, "tiny", 3, then_all=True) == 130
    assert len(trained) == 1


@pytest.mark.slow
def test_digits_by_fold_and_then_all(tmp_path, capfd):
    config = tiny_config(train__steps=3)
    digits = {"data.name": "digits", "data.image_size": 0, "data.num_classes": 0}
    counts = dict.fromkeys(("num_train", "num_validation", "num_test"), 0)
    override(config, digits | {f"data.{key}": n for key, n in counts.items()})
    assert train_folds(config, tmp_path, "tiny", 2, then_all=True) == 0
    assert "test error over 2 folds" in capfd.readouterr().out
    errors = []
    for name in ("fold-0", "fold-1", "all"):
        result = read_json(tmp_path / name / "seed-0" / "result.json")
        errors.append(result["final"]["test"]["count"])
    assert errors == [898, 899, 0]
    assert (
        read_json(tmp_path / "all" / "data.json")["splits"]["train"]["from"] == "train"
    )


@pytest.mark.parametrize(
    ("num", "then_all", "fits"),
    [(1, False, False), (0, True, False), (5, True, True), (0, False, True)],
)
def test_flags(monkeypatch, num, then_all, fits):
    given = {"folds": num, "then_all": then_all}
    given = {name: SimpleNamespace(value=value) for name, value in given.items()}
    monkeypatch.setattr(cli.flags, "FLAGS", given)
    if fits:
        assert cli.folds() == (num, then_all)
    else:
        with pytest.raises(UserError, match=f"--folds is {num}: give 2 or more"):
            cli.folds()
