"""Cells in separate processes: started, retried, taken over, interrupted.

The cells are those of `tests/ablation/cells.py`, which train nothing; real ones are in
`tests/run/test_interruption.py` and `test_slurm.py`.
"""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from cnnjax.ablation.execute import dispatch, launchers, slurm
from cnnjax.ablation.execute.jobs import (
    alone,
    read_jobs,
    refuse_other_jobs,
    write_jobs,
)
from cnnjax.ablation.execute.launchers import Local
from cnnjax.config import to_dict
from cnnjax.errors import UserError
from cnnjax.interrupt import StopRequest
from cnnjax.lock import TakenError
from cnnjax.process import identity
from cnnjax.records import write_json
from tests.ablation.cells import short_cell
from tests.run.tiny import tiny_run

ROOT = Path(__file__).parents[3]
# A program as users start it, with cells that wait for a signal.
PROGRAM = """
import sys
from pathlib import Path
from cnnjax.ablation.execute.dispatch import catching_signals
from tests.ablation.execute.test_dispatch import launch_of
launched = launch_of(Path(sys.argv[1]), "patient-1", "patient-2")
with catching_signals(b"") as stop:
    launched.start()
    sys.exit(launched.follow(stop))
"""


@pytest.fixture(autouse=True)
def light(monkeypatch):
    """Cells that train nothing, which find the modules of the tests."""
    monkeypatch.setattr(dispatch, "run_cell", short_cell)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def launch_of(workdir, *arms, jobs=2):
    """A launch of the given arms, in local processes."""
    counts = dict.fromkeys(("steps", "epochs", "num_params", "multiply_adds"), 9)
    cell = {"seeds": [0], "fold": None, "config_hash": "a", "data_hash": "b"}
    described = [
        {"name": arm, "axes": {}, "cells": [{"name": arm} | cell]} | counts
        for arm in arms
    ]
    spec = {"ablation": {}, "scale": "smoke"}
    write_json(workdir / "plan.json", {"arms": described, "spec": spec, "seeds": [0]})
    run = tiny_run()
    for arm in arms:
        write_json(workdir / arm / "config.json", to_dict(run.config))
    dispatch.run_cell = short_cell  # also in a program without the fixture
    system = Local(workdir.absolute() / "launcher", jobs)
    plan = SimpleNamespace(workdir=workdir, cells=())
    return dispatch.Launch(plan, dict.fromkeys(arms, run), system)


def follow(launched, stop=None):
    launched.start()
    return launched.follow(stop or StopRequest())


def read(path):
    return json.loads(path.read_text())


def wait_until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def status_of(workdir, arm):
    path = workdir / arm / "progress.json"
    return read(path)["status"] if path.is_file() else None


def test_a_cell_is_not_started_from_one_that_failed(tmp_path, capsys):
    launched = launch_of(tmp_path, "killed", "child", "grandchild")
    launched.after = {"child": ("killed",), "grandchild": ("child",)}
    assert follow(launched) == 1
    for name, parent in (("child", "killed"), ("grandchild", "child")):
        result = read(tmp_path / name / "seed-0" / "result.json")
        assert result["crashed"]
        assert result["reason"].startswith(f"not started: {parent}, from whose")
        assert not (tmp_path / name / "tried").exists()
    assert "grandchild  not started" in capsys.readouterr().out


def test_each_cell_gets_two_attempts(tmp_path, capsys):
    ends = ("good", "killed-once", "killed", "crashed-once", "crashed", "stopped-once")
    launched, most = launch_of(tmp_path, *ends), 0
    submit = launched.system.submit

    def counted(function, cells, prepared):
        nonlocal most
        most = max(most, len(cells) + len(launched.active))
        return submit(function, cells, prepared)

    launched.system.submit = counted
    assert follow(launched) == 1  # two of them have no result
    assert most == 2
    results = {arm: read(tmp_path / arm / "seed-0" / "result.json") for arm in ends}
    for arm in ("good", "killed-once", "crashed-once", "stopped-once"):
        assert results.pop(arm)["status"] == "done"
    killed, crashed = results["killed"], results["crashed"]
    assert (killed["status"], killed["crashed"]) == ("failed", True)
    assert re.fullmatch(
        r"its process was killed by signal 9 \(out of memory\?\); it had up to "
        r"0\.\d+ GB of memory \(2 attempts\)",
        killed["reason"],
    )
    assert crashed["reason"] == "ZeroDivisionError: by zero (2 attempts)"
    assert "the last words" in (tmp_path / "killed" / "crash.txt").read_text()
    out = capsys.readouterr().out
    for arm in ("killed-once", "killed", "crashed-once", "crashed"):
        assert len(re.findall(rf"^{arm}  .*attempt 2 of 2$", out, re.M)) == 1
    # An interruption is not a failure.
    assert "stopped-once  was interrupted and saved; it is started again" in out
    assert "(6/6 cells)" in out
    assert read_jobs(tmp_path)["cells"] == {}


def test_what_concerns_all_ends_all(tmp_path):
    launched = launch_of(tmp_path, "patient", "refused", "good")
    with pytest.raises(UserError, match="cell refused: disk full"):
        follow(launched)
    assert status_of(tmp_path, "patient") in ("stopped", "waiting")
    assert status_of(tmp_path, "good") is None


class Forgetful:
    """A SLURM whose jobs have ended, in given states."""

    name = "slurm"

    def __init__(self, **states):
        self.states = states

    def poll(self):
        return True

    def is_active(self, record):
        return False

    def state(self, record):
        return self.states.get(record["job"], "")

    def verdict(self, record):
        return "it ended"

    def log(self, record):
        return Path("nowhere")


@pytest.mark.parametrize(
    ("left", "state", "how"),
    [
        ("running", "CANCELLED", "cancelled"),
        ("stopped", "CANCELLED", "cancelled"),
        ("waiting", "", "cancelled"),  # dropped by SLURM: it never started
        ("stopped", "FAILED", "started again"),
        ("running", "PREEMPTED", "started again"),
        ("running", "OUT_OF_MEMORY", "attempt 2"),
        ("waiting", "FAILED", "attempt 2"),
        ("running", "", "attempt 2"),
    ],
)
def test_what_becomes_of_a_job_of_slurm(tmp_path, capsys, left, state, how):
    launched = launch_of(tmp_path, "a")
    launched.system = Forgetful(job=state) if state else Forgetful()
    launched.queue, launched.active = [], {"a": {"job": "job"}}
    record = {"status": left} | identity() | {"born": 1}
    write_json(tmp_path / "a" / "progress.json", record)
    launched.look()
    is_cancelled = how == "cancelled"
    assert launched.cancelled == ["a"] * is_cancelled
    assert launched.queue == ["a"] * (not is_cancelled)
    assert launched.attempts["a"] == 1 + (how == "attempt 2")
    assert how in capsys.readouterr().out


def test_ctrl_c_lets_local_cells_save(tmp_path):
    """As in a terminal: every process of the group gets the signal."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, tmp_path],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    arms = ("patient-1", "patient-2")
    wait_until(lambda: all(status_of(tmp_path, arm) == "running" for arm in arms))
    os.killpg(process.pid, signal.SIGINT)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 128 + signal.SIGINT
    assert [status_of(tmp_path, arm) for arm in arms] == ["stopped", "stopped"]
    assert out.endswith("interrupted; the same command resumes\n")


def test_cells_that_still_run_are_taken_over(tmp_path, capsys):
    first = launch_of(tmp_path, "patient", "good", jobs=1)
    first.start()
    wait_until(lambda: status_of(tmp_path, "patient") == "running")
    pid = read(tmp_path / "patient" / "progress.json")["pid"]
    second = launch_of(tmp_path, "patient", "good", jobs=1)
    second.attach()
    second.start()
    assert list(second.active) == ["patient"]  # the only slot
    assert second.queue == ["good"]
    assert "1 cells of an earlier command still run" in capsys.readouterr().out
    stop = StopRequest()
    stop.set(signal.SIGTERM)
    assert second.follow(stop) == 128 + signal.SIGTERM
    first.system.poll()  # the process is its child
    assert read(tmp_path / "patient" / "progress.json")["pid"] == pid
    assert status_of(tmp_path, "patient") == "stopped"


def test_cells_that_have_ended_are_not_taken_over(tmp_path):
    record = {"job": "1", "slot": 0, "attempt": 2} | identity() | {"born": 1}
    write_jobs(tmp_path, "local", {"good": record})
    launched = launch_of(tmp_path, "good")
    (tmp_path / "good" / "progress.json").write_text('{"status": "waiting"}')
    launched.attach()
    assert (launched.active, launched.queue) == ({}, ["good"])
    assert launched.attempts == {"good": 1}


def test_two_cells_never_share_a_gpu(tmp_path, monkeypatch):
    monkeypatch.setattr(launchers, "gpus", lambda: [3, 5])
    with pytest.raises(UserError, match="--jobs=3 is more than the 2 accelerators"):
        launch_of(tmp_path, "a", jobs=3)
    arms = ("good-1", "good-2", "good-3", "killed-once")
    launched = launch_of(tmp_path, *arms, jobs=0)
    submit = launched.system.submit

    def watched(function, cells, prepared):
        records = submit(function, cells, prepared)
        slots = [record["slot"] for record in (*launched.active.values(), *records)]
        assert sorted(slots) == sorted(set(slots))
        return records

    launched.system.submit = watched
    assert follow(launched) == 0
    seen = {read(tmp_path / arm / "progress.json")["device"] for arm in arms}
    assert seen == {"3", "5"}


def test_a_second_command_is_kept_out(tmp_path):
    def attempt():
        with pytest.raises(TakenError, match="being trained by this process: wait"):
            alone(tmp_path, pytest.fail).__enter__()
        refused.append(True)

    refused = []
    with alone(tmp_path, pytest.fail):
        thread = threading.Thread(target=attempt)
        thread.start()
        thread.join()
    assert refused
    with alone(tmp_path, pytest.fail):
        pass


def test_another_way_of_launching_waits_for_the_jobs_of_the_first(
    tmp_path, monkeypatch
):
    refuse_other_jobs(tmp_path, "inline")
    write_jobs(tmp_path, "local", {"a": {"job": "12"} | identity()})
    refuse_other_jobs(tmp_path, "local")
    with pytest.raises(UserError, match=r"still run with --launcher=local \(12\)"):
        refuse_other_jobs(tmp_path, "inline")
    write_jobs(tmp_path, "slurm", {"a": {"job": "3_0"}, "b": {"job": "3_1"}})
    states = {"3_0": "COMPLETED", "3_1": "PENDING"}
    monkeypatch.setattr(slurm, "job_states", lambda: states)
    with pytest.raises(UserError, match=r"1 cells .* --launcher=slurm \(3_1\)"):
        refuse_other_jobs(tmp_path, "local")
    states["3_1"] = "CANCELLED"
    refuse_other_jobs(tmp_path, "local")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"launcher": "slrum"}, "unknown launcher 'slrum': did you mean 'slurm'"),
        ({"launcher": "local", "launcher_options": "time=5"}, "are for --launcher"),
        ({"launcher": "inline", "wait": False}, "are for --launcher=slurm"),
    ],
)
def test_wrong_launchers_are_one_sentence(tmp_path, given, said):
    plan = SimpleNamespace(workdir=tmp_path, cells=())
    rest = {"jobs": 0, "launcher_options": "", "wait": True} | given
    with pytest.raises(UserError, match=said):
        dispatch.train_cells(plan, **rest)
