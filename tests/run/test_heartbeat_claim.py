"""One folder is trained by one process at a time."""

import json
import subprocess
import sys
import time

import pytest

from cnnjax import process
from cnnjax.ablation.execute import cell
from cnnjax.errors import UserError
from cnnjax.process import QUIET_SECONDS, identity
from cnnjax.run.heartbeat import TakenError, claim, read_heartbeat
from tests.run.tiny import fit, tiny_run


@pytest.fixture
def other():
    """What identifies another process of this machine, which lives."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield identity(child.pid)
    child.communicate()


def leave_sign(folder, known, status="running", ago=0.0):
    sign = {"status": status, **known, "step": 3, "updated": time.time() - ago}
    (folder / "progress.json").write_text(json.dumps(sign))
    return sign


def test_a_living_process_is_named_and_left_alone(tmp_path, other):
    run = tiny_run()
    sign = leave_sign(tmp_path, other)
    who = f"process {other['pid']} on {other['host']}"
    with pytest.raises(
        UserError, match=f"{tmp_path} is being trained by {who}"
    ) as said:
        fit(run, tmp_path)
    assert "--workdir" in str(said.value)
    assert "\n" not in str(said.value)
    # Not a file was touched.
    assert [path.name for path in tmp_path.iterdir()] == ["progress.json"]
    assert read_heartbeat(tmp_path) == sign


@pytest.mark.parametrize("status", ["stopped", "done", "crashed", "waiting", "refused"])
def test_who_has_ended_keeps_nobody_out(tmp_path, other, status):
    leave_sign(tmp_path, other, status)
    claim(tmp_path)
    assert read_heartbeat(tmp_path)["status"] == "starting"
    assert read_heartbeat(tmp_path)["step"] == 3


def test_a_killed_process_keeps_nobody_out(tmp_path, other):
    leave_sign(tmp_path, other | {"born": 1})  # its number was given again
    claim(tmp_path)


def test_the_same_process_may_try_again(tmp_path):
    claim(tmp_path)
    claim(tmp_path)


@pytest.mark.parametrize("text", ["", "[1]", '{"status": "running"}', "\xff"])
def test_a_sign_that_says_nothing_keeps_nobody_out(tmp_path, text):
    (tmp_path / "progress.json").write_text(text, encoding="latin-1")
    claim(tmp_path)
    assert read_heartbeat(tmp_path)["pid"] == identity()["pid"]


def test_of_another_machine_the_age_of_the_sign_counts(tmp_path):
    elsewhere = identity() | {"host": "elsewhere"}
    leave_sign(tmp_path, elsewhere, ago=QUIET_SECONDS - 60)
    with pytest.raises(TakenError, match=r"heartbeat is 540 s old.*again in 60 s"):
        claim(tmp_path)
    leave_sign(tmp_path, elsewhere, ago=-60)  # its clock is ahead
    with pytest.raises(TakenError):
        claim(tmp_path)
    leave_sign(tmp_path, elsewhere, ago=QUIET_SECONDS + 60)
    claim(tmp_path)


def test_a_job_that_slurm_starts_again_goes_on_at_once(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    elsewhere = identity() | {"host": "elsewhere"}
    leave_sign(tmp_path, elsewhere | process.slurm_start())
    with pytest.raises(TakenError):
        claim(tmp_path)  # another node of the same start
    monkeypatch.setenv("SLURM_RESTART_COUNT", "1")
    claim(tmp_path)
    assert read_heartbeat(tmp_path)["slurm_restarts"] == "1"


def test_the_cell_of_a_launcher_leaves_the_sign_of_the_other(tmp_path, other, capsys):
    (tmp_path / "arm").mkdir()
    sign = leave_sign(tmp_path / "arm", other)
    with pytest.raises(SystemExit) as ended:
        cell.run_cell(str(tmp_path), "arm")
    assert ended.value.code == 2
    assert "is being trained by" in capsys.readouterr().out
    assert read_heartbeat(tmp_path / "arm") == sign
