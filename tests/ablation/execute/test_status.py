"""The table of cells, from the files of other processes."""

import json
import time

import pytest

from cnnjax.ablation.execute import slurm, status
from cnnjax.errors import UserError
from cnnjax.process import QUIET_SECONDS, identity
from cnnjax.records import write_json

HASHES = {"fold": None, "config_hash": "a", "data_hash": "b"}
ELSEWHERE = {"host": "elsewhere", "pid": 7, "born": 7}


@pytest.fixture
def sweep(tmp_path):
    """Writes a plan of some arms of 100 steps; gives the folder."""

    def write(*arms, seeds=(0, 1)):
        for arm in arms:
            config = {"train": {"batch_size": 8}}
            write_json(tmp_path / arm / "config.json", config)
        described = [
            {
                "name": arm,
                "axes": {},
                "steps": 100,
                "epochs": 1.0,
                "num_params": 5,
                "multiply_adds": 5,
                "cells": [HASHES | {"name": arm, "seeds": list(seeds)}],
            }
            for arm in arms
        ]
        spec = {"ablation": {}, "scale": "smoke"}
        plan = {"arms": described, "spec": spec, "seeds": list(seeds)}
        write_json(tmp_path / "plan.json", plan)
        return tmp_path

    return write


def sign(folder, state, ago=0.0, **known):
    record = {"status": state, **identity(), "updated": time.time() - ago, **known}
    write_json(folder / "progress.json", record)


def result(folder, seed, **known):
    write_json(folder / f"seed-{seed}" / "result.json", {"step": 100, **known})


def done(folder, loss):
    for seed in (0, 1):
        final = {"train": {"loss": loss + seed}}
        result(folder, seed, status="done", final=final)


def cell(workdir):
    (found,) = status.read_cells(workdir)
    return found


def test_a_cell_from_waiting_to_done(sweep):
    workdir = sweep("a")
    assert cell(workdir).status == "waiting"
    sign(workdir / "a", "waiting")
    assert cell(workdir).status == "waiting"
    sign(workdir / "a", "starting")
    assert cell(workdir).status == "running"
    sign(workdir / "a", "running", step=40, loss=1.5, seconds_per_step=0.5)
    running = cell(workdir)
    assert (running.status, running.step, running.total_steps) == ("running", 40, 100)
    assert (running.loss, running.seconds_left) == (1.5, 30.0)
    me = identity()
    assert running.where == f"{me['host']}:{me['pid']}"
    sign(workdir / "a", "done", step=100)
    done(workdir / "a", loss=1.0)
    ended = cell(workdir)
    assert (ended.status, ended.step, ended.loss) == ("done", 100, 1.5)
    assert (ended.where, ended.seconds_left) == ("", None)


def test_one_seed_is_not_all(sweep):
    workdir = sweep("a")
    sign(workdir / "a", "running")
    result(workdir / "a", 0, status="done")
    assert cell(workdir).status == "running"


def test_a_process_that_is_gone_does_not_run(sweep):
    workdir = sweep("a")
    sign(workdir / "a", "running", step=40, born=1, seconds_per_step=0.5)
    stopped = cell(workdir)
    assert (stopped.status, stopped.step) == ("interrupted", 40)
    assert stopped.seconds_left is None


def test_of_another_machine_silence_tells(sweep):
    workdir = sweep("a")
    sign(workdir / "a", "running", ago=QUIET_SECONDS - 60, **ELSEWHERE)
    assert cell(workdir).status == "running"
    sign(workdir / "a", "running", ago=QUIET_SECONDS + 60, **ELSEWHERE)
    assert cell(workdir).status == "interrupted"


def test_a_diverged_seed_fails_the_cell_and_says_why(sweep):
    workdir = sweep("a")
    result(workdir / "a", 0, status="done")
    result(workdir / "a", 1, status="failed", reason="non-finite at step 3")
    assert cell(workdir).status == "failed"
    assert cell(workdir).note == "1 seeds: non-finite at step 3"


def test_a_crashed_cell_is_failed_until_it_runs_again(sweep):
    workdir = sweep("a")
    for seed in (0, 1):
        result(workdir / "a", seed, status="failed", reason="by zero", crashed=True)
    sign(workdir / "a", "crashed", reason="by zero")
    assert cell(workdir).status == "failed"
    sign(workdir / "a", "starting")
    assert cell(workdir).status == "running"


def test_slurm_knows_what_the_files_do_not(sweep, monkeypatch):
    workdir = sweep("queued", "just started", "killed", "again", "forgotten")
    records = {
        name: {"job": f"7_{i}", "attempt": 1 + (name == "again")}
        for i, name in enumerate(("queued", "just started", "killed", "again"))
    }
    jobs = {"launcher": "slurm", "command": [], "cells": records}
    write_json(workdir / "launcher" / "jobs.json", jobs)
    for name in ("killed", "again"):  # not silent for long enough
        sign(workdir / name, "running", **ELSEWHERE)
    states = {"7_0": "PENDING", "7_1": "RUNNING", "7_2": "FAILED", "7_3": "PENDING"}
    monkeypatch.setattr(slurm, "job_states", lambda: states)
    cells = {cell.name: cell for cell in status.read_cells(workdir)}
    assert [cell.status for cell in cells.values()] == [
        "waiting",
        "running",
        "interrupted",
        "waiting",
        "waiting",
    ]
    assert cells["queued"].note == "job 7_0"
    assert cells["again"].note == "job 7_3, attempt 2"
    monkeypatch.setattr(slurm, "job_states", lambda: None)  # SLURM does not answer
    assert status.read_cells(workdir)[2].status == "running"


def test_time_left_of_all(sweep):
    workdir = sweep("a", "b", "c", "d")
    # Two cells run at 2 and 4 steps per second; 60 + 20 + 100 steps are left.
    sign(workdir / "a", "running", step=40, seconds_per_step=0.5)
    sign(workdir / "b", "running", step=80, seconds_per_step=0.25)
    done(workdir / "d", 1.0)
    cells = status.read_cells(workdir)
    assert status.seconds_left(cells) == pytest.approx(180 / 6)
    text = "1 done, 2 running, 0 failed, 1 waiting; left 0:30"
    assert status.summary(cells) == text
    (workdir / "a" / "progress.json").unlink()
    (workdir / "b" / "progress.json").unlink()
    assert status.seconds_left(status.read_cells(workdir)) is None
    for name in "abc":
        done(workdir / name, 1.0)
    assert status.seconds_left(status.read_cells(workdir)) == 0


def test_half_a_file_is_no_file(sweep):
    workdir = sweep("a")
    done(workdir / "a", 1.0)
    (workdir / "a" / "progress.json").write_text('{"status": "runn')
    (workdir / "a" / "seed-1" / "result.json").write_text("")
    assert cell(workdir).status == "waiting"


def test_of_a_single_run_and_of_none(tmp_path):
    with pytest.raises(UserError, match=r"neither plan\.json nor config\.json"):
        status.read_cells(tmp_path)
    for name in ("config.json", "plan.json"):
        write_json(tmp_path / name, {})
        with pytest.raises(UserError, match=f"{name} is not what a run wrote"):
            status.read_cells(tmp_path)
    (tmp_path / "plan.json").unlink()
    write_json(tmp_path / "config.json", {"seeds": {"first": 3, "count": 2}})
    sign(tmp_path, "running", step=5, total_steps=20, seconds_per_step=2.0)
    alone = cell(tmp_path)
    assert (alone.name, alone.status, alone.seconds_left) == (
        tmp_path.name,
        "running",
        30.0,
    )
    for seed in (3, 4):
        result(tmp_path, seed, status="done")
    assert cell(tmp_path).status == "done"


def test_the_program(programs, here, sweep):
    workdir = sweep("a", "b")
    sign(workdir / "a", "running", step=40, born=1)
    ended = programs.run(here, "status", f"--workdir={workdir}")
    assert (ended.code, ended.err) == (0, "")
    assert "40/100" in ended.out
    assert "the same command resumes interrupted cells" in ended.out
    assert len(json.loads((workdir / "plan.json").read_text())["arms"]) == 2
    ended = programs.run(here, "status")
    assert ended.code == 2
    assert ended.err.startswith("error: --workdir is missing")


ODD = ["x", None, True, [1], {"a": 1}, -1, 2**70, 1e300]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize(
    "key", ["status", "reason", "step", "total_steps", "loss", "seconds_per_step"]
)
def test_an_odd_sign_tells_less(sweep, key, odd):
    """Odd values in a heartbeat do not break the table."""
    folder = sweep("a")
    for state, shown in (("running", "running"), ("stopped", "interrupted")):
        sign(folder / "a", state, **{"step": 5, "seconds_per_step": 1.0, key: odd})
        (cell,) = status.read_cells(folder)
        assert status.table([cell]).row_count == 1
        assert status.summary([cell])
        if key == "status":
            shown = status.INTERRUPTED if odd == "x" else status.WAITING
        assert cell.status == shown


@pytest.mark.parametrize("content", ["[]", "3", '"x"', "{", "\0", "null"])
def test_a_sign_that_is_no_record(sweep, content):
    folder = sweep("a")
    (folder / "a" / "progress.json").write_text(content)
    (cell,) = status.read_cells(folder)
    assert (cell.status, cell.step) == (status.WAITING, 0)


def test_a_folder_that_is_not_utf_8(tmp_path):
    folder = tmp_path / "run \udcff"
    write_json(folder / "config.json", {"seeds": {"first": 0, "count": 1}})
    (cell,) = status.read_cells(folder)
    assert cell.name == "run \\xff"
    with pytest.raises(UserError, match=r"run \\xff/gone holds no run"):
        status.read_cells(folder / "gone")
