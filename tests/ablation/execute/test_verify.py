"""`report --verify`: kept weights are evaluated again, and the page says so."""

import re
import shutil

import numpy as np
import pytest

from cnnjax.ablation.execute import verify as module
from cnnjax.ablation.execute.verify import _spread, verify
from cnnjax.ablation.judge.row import read_row
from cnnjax.ablation.judge.verified import (
    exclude_refuted,
    read_verified,
    verified_words,
)
from cnnjax.ablation.report.training import read_training
from cnnjax.errors import UserError
from cnnjax.records import read_json, write_json
from cnnjax.run import loop
from cnnjax.run.programs import compile_programs
from cnnjax.run.setup import saved_example
from cnnjax.run.trained import verify as of_run
from cnnjax.seal import sealed
from tests.run.tiny import fit, tiny_run


@pytest.fixture(scope="module")
def run():
    return tiny_run(seeds__count=2)


@pytest.fixture(scope="module")
def programs(run):
    """Of training and of evaluation, compiled once."""
    return compile_programs(run, saved_example(run)["state"])


@pytest.fixture(scope="module")
def trained(run, programs, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "trained"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "compile_programs", lambda *arguments: programs)
        fit(run, folder, name="run")
    return folder


@pytest.fixture
def folder(trained, tmp_path, run, programs, monkeypatch):
    """A copy of the run."""
    monkeypatch.setattr(of_run, "compile_programs", lambda *arguments: programs)
    monkeypatch.setattr(of_run, "set_up", lambda config, trained: run)
    monkeypatch.setattr(module, "use_compile_cache", lambda: None)
    return shutil.copytree(trained, tmp_path / "run")


def rows_of(folder):
    arm = {"name": "run", "axes": {}}
    return [read_row(folder / f"seed-{seed}", arm, seed) for seed in (0, 1)]


def words_of(folder):
    verified, warnings = read_verified(folder, rows_of(folder))
    assert warnings == []
    return verified_words(verified, 2)


def edit(folder, seed, key, value):
    """Changes the reported test loss or error, and seals the result again."""
    path = folder / f"seed-{seed}" / "result.json"
    result = read_json(path)
    result["final"]["test"][key] = value
    write_json(path, sealed(result, path.parent / "metrics.jsonl"))


def test_the_same_weights_give_the_same_numbers(folder):
    said = []
    assert verify(folder, "all", said.append) == 0
    assert said == ["run  seed 0 equal, seed 1 equal"]
    words = words_of(folder)
    assert words.startswith("2 of 2 runs were evaluated again from their weights")
    assert "2 gave the reported numbers" in words
    # Of a result that was changed since, nothing is known.
    edit(folder, 1, "error", 50.0)
    assert words_of(folder).startswith("1 of 2 runs")


def test_what_was_reported_otherwise(folder):
    loss = read_json(folder / "seed-0/result.json")["final"]["test"]["loss"]
    edit(folder, 0, "loss", loss * 1.5)
    said = []
    assert verify(folder, "1", said.append) == 1
    assert re.search(
        r"seed 0 different \(final\.test\.loss is .*\), seed 1 eq", said[0]
    )
    # Such a run does not count.
    rows = exclude_refuted(rows_of(folder), read_verified(folder, rows_of(folder))[0])
    assert [row.status for row in rows] == ["excluded", "done"]
    assert "was reported" in rows[0].reason
    assert [row.status for row in read_training(folder).rows] == ["excluded", "done"]
    # It stays so once the weights are gone.
    shutil.rmtree(folder / "checkpoints")
    assert verify(folder, "all", said.append) == 0
    assert [row.status for row in read_training(folder).rows] == ["excluded", "done"]


def test_a_last_digit_is_no_difference(folder):
    """Another processor of the same name, or another way to execute a step."""
    loss = read_json(folder / "seed-0/result.json")["final"]["test"]["loss"]
    edit(folder, 0, "loss", float(np.nextafter(loss, 9)))
    said = []
    assert verify(folder, "all", said.append) == 0
    assert said == ["run  seed 0 within the tolerance, seed 1 equal"]
    assert [row.status for row in read_training(folder).rows] == ["done", "done"]


def test_weights_that_are_not_there(folder):
    said = []
    (folder / "checkpoints" / "9").rename(folder / "checkpoints" / "8")
    assert verify(folder, "all", said.append) == 0
    assert "seed 0 not verified (" in said[-1]
    shutil.rmtree(folder / "checkpoints")
    assert verify(folder, "all", said.append) == 0
    assert "seed 0 not verified (its weights were not kept)" in said[-1]
    assert words_of(folder).startswith("0 of 2 runs")
    path = folder / "seed-0" / "result.json"
    path.write_text(path.read_text().replace('"step": 9', '"step": 8', 1))
    assert verify(folder, "all", said.append) == 1
    assert "not verified: " in said[-1]
    assert "was edited or damaged" in said[-1]
    path.unlink()
    assert verify(folder, "all", said.append) == 0
    assert said[-1] == "run  not verified: it is not finished"


@pytest.mark.parametrize("how_many", ["some", "0", "-1", "1.5"])
def test_no_number_of_runs(tmp_path, how_many):
    with pytest.raises(UserError, match=r"--verify=.* is no number of runs"):
        verify(tmp_path, how_many, print)


def test_a_day_on_which_nothing_was_evaluated_is_not_the_last(folder, monkeypatch):
    assert verify(folder, "all", lambda sentence: None) == 0
    first = read_json(folder / "verified.json") | {"created": "2025-01-02T00:00:00"}
    write_json(folder / "verified.json", first)
    shutil.rmtree(folder / "checkpoints")
    assert verify(folder, "all", lambda sentence: None) == 0
    assert read_json(folder / "verified.json") == first
    monkeypatch.setattr(module, "verify_run", lambda *_: [])  # of a run under way
    assert verify(folder, "all", lambda sentence: None) == 0
    assert read_json(folder / "verified.json") == first


def test_some_runs_are_spread_over_the_plan():
    cells = [(name, 2) for name in "abcdef"]
    assert [name for name, _ in _spread(cells, 4)] == ["a", "d"]
    assert [name for name, _ in _spread(cells, 5)] == ["a", "c", "e"]
    assert _spread(cells, 100) == cells


def test_a_file_that_nobody_wrote(tmp_path):
    assert read_verified(tmp_path, []) == ({}, [])
    (tmp_path / "verified.json").write_text('{"runs": 3}')
    verified, (warning,) = read_verified(tmp_path, [])
    assert verified_words(verified, 0) == ""
    assert "nothing counts as verified" in warning


def test_a_folder_without_runs_is_left_alone(tmp_path):
    (tmp_path / "verified.json").write_text("mine")
    with pytest.raises(UserError, match=r"holds no run .*--workdir"):
        verify(tmp_path, "all", print, "")
    assert (tmp_path / "verified.json").read_text() == "mine"
