"""Cells whose command, record or folder has gone: each trains once, and none alone."""

import errno
import os
import signal

import psutil
import pytest

from cnnjax.ablation.execute import dispatch
from cnnjax.ablation.execute.jobs import alone, read_jobs, write_jobs
from cnnjax.ablation.execute.launchers import Local
from cnnjax.interrupt import StopRequest
from cnnjax.lock import LOCK, LostError, holder
from cnnjax.process import identity
from cnnjax.records import write_json
from tests.ablation.execute.test_dispatch import (
    follow,
    launch_of,
    light,
    read,
    status_of,
    wait_until,
)

__all__ = ["light"]  # a fixture


def test_a_process_is_recorded_before_it_starts(tmp_path):
    launched, seen = launch_of(tmp_path, "good", "good-2"), []
    submit = launched.system.submit

    def look(function, cells, prepared):
        seen.append(read_jobs(tmp_path)["cells"])
        return submit(function, cells, prepared)

    launched.system.submit = look
    assert follow(launched) == 0
    (first,) = seen
    assert list(first) == ["good", "good-2"]
    assert all(record["key"] and "pid" not in record for record in first.values())


def test_a_process_that_its_record_does_not_name_is_found(tmp_path, capsys):
    """The command was killed after it had started a process, before it wrote that."""
    first = launch_of(tmp_path, "patient", jobs=1)
    first.start()
    record = dict(first.active["patient"])
    pid = record.pop("pid")
    del record["born"]
    record["job"] = ""
    write_jobs(tmp_path, "local", {"patient": record})
    second = launch_of(tmp_path, "patient", jobs=1)
    second.attach()  # maybe before it has the lock of its folder
    assert second.active["patient"]["pid"] == pid
    assert "1 cells of an earlier command still run" in capsys.readouterr().out
    end_all(second, first)


@pytest.mark.slow
def test_a_process_that_no_record_names_is_waited_for(tmp_path, capsys):
    first = launch_of(tmp_path, "patient", jobs=1)
    first.start()
    lock = tmp_path / "patient" / LOCK
    wait_until(lambda: holder(lock) and status_of(tmp_path, "patient") == "running")
    (tmp_path / "launcher" / "jobs.json").unlink()
    second = launch_of(tmp_path, "patient", jobs=1)
    second.attach()
    second.start()
    pid = first.active["patient"]["pid"]
    assert second.active["patient"]["pid"] == pid
    assert f"patient  is trained by process {pid} on" in capsys.readouterr().out
    end_all(second, first)


def test_a_cell_that_another_process_trains_is_left_to_it(tmp_path, capsys):
    """The parent of the tests stands for that process."""
    launched = launch_of(tmp_path, "a", jobs=1)
    write_json(tmp_path / "a" / LOCK, identity(os.getppid()))
    launched.start()
    assert launched.active["a"]["pid"] == os.getppid()
    launched.look()
    assert list(launched.active) == ["a"]
    (tmp_path / "a" / LOCK).unlink()
    write_json(tmp_path / "a" / "seed-0" / "result.json", {"status": "done", "step": 9})
    launched.active["a"]["born"] = 1
    launched.look()
    assert launched.active == {}
    assert "a  done  (1/1 cells)" in capsys.readouterr().out


def test_a_lock_that_cannot_be_read_now_is_nobodys_end(tmp_path, monkeypatch):
    def fail(path):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    launched = launch_of(tmp_path, "a", jobs=1)
    launched.queue, launched.active = [], {"a": {"job": "", "attempt": 1}}
    monkeypatch.setattr(dispatch, "holder", fail)
    launched.look()
    assert list(launched.active) == ["a"]


def test_a_cell_whose_folder_is_gone_does_not_end_the_others(tmp_path, capsys):
    launched = launch_of(tmp_path, "a", "b")
    launched.queue, launched.active = ["b"], {"a": {"job": "", "attempt": 1}}
    for arm in ("a", "b"):
        (tmp_path / arm / "config.json").unlink()
    launched.look()
    launched.start()
    assert (launched.active, launched.queue) == ({}, [])
    out = capsys.readouterr().out
    assert out.count("failed: its folder was moved or removed") == 2


def end_all(launched, parent):
    stop = StopRequest()
    stop.set(signal.SIGTERM)
    assert launched.follow(stop) == 128 + signal.SIGTERM
    wait_until(lambda: parent.system.poll() and not parent.system._started)


@pytest.mark.parametrize("pid", [-1, 0, None, True])
def test_a_record_without_a_process_is_never_asked_nor_ended(
    tmp_path, monkeypatch, pid
):
    """Signals to 0 and -1 reach groups of processes."""
    monkeypatch.setattr(os, "kill", lambda *_: pytest.fail("a signal was sent"))
    system = Local(tmp_path, 1)
    record = {"job": "", "key": "none has it", "slot": 0} | identity() | {"pid": pid}
    assert not system.is_active(system.found(record))
    system.stop([record])


@pytest.mark.slow
def test_a_folder_that_vanishes_fails_its_cell_alone(tmp_path, capsys):
    launched = launch_of(tmp_path, "patient", "good", jobs=1)
    launched.start()
    wait_until(lambda: status_of(tmp_path, "patient") == "running")
    (tmp_path / "patient").rename(tmp_path / "moved")
    os.kill(launched.active["patient"]["pid"], signal.SIGKILL)
    assert launched.follow(StopRequest()) == 1
    assert read(tmp_path / "good" / "seed-0" / "result.json")["status"] == "done"
    assert "patient  failed: its folder was moved" in capsys.readouterr().out
    assert not (tmp_path / "patient").exists()


@pytest.mark.slow
def test_a_work_folder_that_vanishes_ends_the_command(tmp_path):
    workdir = tmp_path / "run"
    launched = launch_of(workdir, "patient", jobs=1)
    with alone(workdir, pytest.fail):
        launched.start()
        wait_until(lambda: status_of(workdir, "patient") == "running")
        pid = launched.active["patient"]["pid"]
        workdir.rename(tmp_path / "moved")
        with pytest.raises(LostError, match="was moved"):
            launched.follow(StopRequest())
    assert not psutil.pid_exists(pid)
