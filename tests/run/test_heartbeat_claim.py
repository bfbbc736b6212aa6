"""One folder is trained by one process at a time."""

import json
import shutil
import subprocess
import sys

import pytest

from cnnjax.ablation.execute import cell
from cnnjax.lock import LOCK, LostError, TakenError
from cnnjax.process import identity
from cnnjax.records import only_read, write_json
from cnnjax.run.heartbeat import (
    Heartbeat,
    check_claim,
    claimed,
    read_heartbeat,
    write_heartbeat,
)
from tests.run.tiny import Shown, fit, tiny_run


@pytest.fixture
def other():
    """What identifies another process of this machine, which lives."""
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield identity(child.pid)
    child.communicate()


def test_a_living_process_is_named_and_left_alone(tmp_path, other):
    run = tiny_run()
    write_json(tmp_path / LOCK, other)
    who = f"process {other['pid']} on {other['host']}"
    with pytest.raises(
        TakenError, match=f"{tmp_path} is being trained by {who}"
    ) as said:
        fit(run, tmp_path)
    assert "--workdir" in str(said.value)
    assert "\n" not in str(said.value)
    # Not a file was touched.
    assert [path.name for path in tmp_path.iterdir()] == [LOCK]
    assert json.loads((tmp_path / LOCK).read_text()) == other


@pytest.mark.parametrize("status", ["running", "stopped", "done", "crashed", "refused"])
def test_a_heartbeat_keeps_nobody_out(tmp_path, other, status):
    """What counts is the lock; so a file of a wrong clock or type does no harm."""
    write_json(tmp_path / "progress.json", {"status": status, **other, "step": 3})
    with claimed(tmp_path, pytest.fail):
        assert read_heartbeat(tmp_path)["status"] == "starting"
        assert read_heartbeat(tmp_path)["step"] == 3


def test_a_killed_process_is_taken_over_with_a_sentence(tmp_path, other):
    write_json(tmp_path / LOCK, other | {"born": 1})  # its number was given again
    ended = fit(tiny_run(), tmp_path)
    assert ended.results[0]["status"] == "done"
    assert len(ended.warnings) == 1
    assert "taken over" in ended.warnings[0]
    assert not (tmp_path / LOCK).exists()


def test_of_several_processes_the_first_has_the_lock(tmp_path, monkeypatch):
    monkeypatch.setattr("cnnjax.records._is_writer", True)
    only_read()
    with claimed(tmp_path / "run", pytest.fail):
        assert not (tmp_path / "run").exists()


def test_the_cell_of_a_launcher_leaves_the_sign_of_the_other(tmp_path, other, capsys):
    arm = tmp_path / "arm"
    write_json(arm / LOCK, other)
    write_heartbeat(arm, "running")
    sign = read_heartbeat(arm)
    with pytest.raises(SystemExit) as ended:
        cell.run_cell(str(tmp_path), "arm")
    assert ended.value.code == 2
    assert "is being trained by" in capsys.readouterr().out
    assert read_heartbeat(arm) == sign


def test_who_has_lost_the_folder_writes_nothing_more(tmp_path, other, monkeypatch):
    monkeypatch.setattr("cnnjax.lock.Lock.check.__defaults__", (0.0,))
    with claimed(tmp_path, pytest.fail):
        run = Heartbeat(Shown(), tmp_path).start_run("a", 9)
        write_json(tmp_path / LOCK, other)
        write_json(tmp_path / "progress.json", other | {"step": 77})  # the other's
        sign = (tmp_path / "progress.json").read_bytes()
        with pytest.raises(LostError):
            run.update(1, {}, 1.0)
        with pytest.raises(LostError):
            check_claim(tmp_path)
        run.end("stopped")
    assert (tmp_path / "progress.json").read_bytes() == sign
    assert json.loads((tmp_path / LOCK).read_text()) == other


def remove_folder(folder):
    """As a person does, until it is gone: a save may be under way."""
    while folder.exists():
        shutil.rmtree(folder, ignore_errors=True)


@pytest.mark.parametrize("last", [False, True])
def test_a_folder_that_vanishes_is_a_failure(tmp_path, last):
    """Nothing of it is made anew, whatever follows: a save, an error, the results."""
    run, folder = tiny_run(), tmp_path / "run"
    shown = Shown()
    update = shown.update

    def remove(step, *rest):
        update(step, *rest)
        if step == run.total_steps or not last:
            remove_folder(folder)

    shown.update = remove
    with pytest.raises(LostError, match="the folder was moved or removed"):
        fit(run, folder, shown=shown)
    assert not folder.exists()


def test_a_crash_in_a_folder_that_vanished_is_that(tmp_path):
    folder, shown = tmp_path / "run", Shown()

    def crash(*_):
        remove_folder(folder)
        raise ZeroDivisionError

    shown.update = crash
    with pytest.raises(LostError, match="the folder was moved or removed"):
        fit(tiny_run(), folder, shown=shown)
    assert not folder.exists()
