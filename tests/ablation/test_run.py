"""How the cells of a plan are run side by side."""

import threading
from types import SimpleNamespace

import pytest

from cnnjax.ablation import run
from cnnjax.errors import UserError
from cnnjax.train.interrupt import Stopped, StopRequest


def test_what_stops_all_arms_is_what_the_person_hears(monkeypatch, tmp_path):
    started, order = threading.Barrier(2), []

    def train_cell(folder, name, cell, progress, stop, shared):
        order.append(name)
        started.wait(timeout=10)
        if name == "second":
            raise UserError("disk full")
        while not stop:
            pass
        raise Stopped(name)

    monkeypatch.setattr(run, "train_cell", train_cell)
    monkeypatch.setattr(run, "shared_keys", lambda cell: ())
    plan, stop = SimpleNamespace(workdir=tmp_path), StopRequest()
    cells = dict.fromkeys(["first", "second", "third"])
    with pytest.raises(UserError, match="disk full"):
        run.run_cells(plan, cells, 2, None, stop)
    assert sorted(order) == ["first", "second"]


def test_a_crash_in_one_arm_is_recorded_and_the_others_go_on(monkeypatch, tmp_path):
    written, said = [], []

    def fit(cell, folder, *, name, **rest):
        if name == "bad":
            raise ZeroDivisionError("by zero\nand more")

    class Folder:
        def __init__(self, path, cell, name):
            self.name = name

        def crashed(self, seed, reason):
            return {"arm": self.name, "seed": seed, "reason": reason}

        def write_results(self, results):
            written.extend(results)

    monkeypatch.setattr(run, "fit", fit)
    monkeypatch.setattr(run, "shared_keys", lambda cell: ())
    monkeypatch.setattr(run, "RunFolder", Folder)
    (tmp_path / "bad").mkdir()
    cells = {name: SimpleNamespace(seeds=(0, 1)) for name in ("bad", "good")}
    progress = SimpleNamespace(say=said.append)
    plan = SimpleNamespace(workdir=tmp_path)
    run.run_cells(plan, cells, 1, progress, StopRequest())
    reason = "ZeroDivisionError: by zero"
    assert written == [{"arm": "bad", "seed": s, "reason": reason} for s in (0, 1)]
    assert said == [f"bad crashed and is marked failed: {reason}"]
    assert "in fit" in (tmp_path / "bad" / "crash.txt").read_text()
