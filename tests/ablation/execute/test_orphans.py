"""Cells whose command, record or folder has gone: each trains once, and none alone."""

import errno
import os
import signal
import subprocess

import psutil
import pytest

from cnnjax.ablation.execute import dispatch, launchers
from cnnjax.ablation.execute.jobs import alone, read_jobs, write_jobs
from cnnjax.ablation.execute.launchers import Local
from cnnjax.errors import UserError
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
KEY = "0123456789abcdef"


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
    record = {"job": "", "key": KEY, "slot": 0} | identity() | {"pid": pid}
    assert not system.is_active(system.found("a", record))
    system.stop([record])


# -- records of others: any text may stand in them -------------------------------------


@pytest.fixture
def sleeper():
    process = subprocess.Popen(["sleep", "7777"])
    yield process
    process.kill()
    process.wait()


def test_a_process_of_another_program_is_never_a_cell(tmp_path, sleeper):
    """By its arguments, or by all that a record can tell of it."""
    system = Local(tmp_path / "launcher", 1)
    by_argument = {"job": "", "key": "7777", "slot": 0}
    assert system.found("a", by_argument) == by_argument
    whole = by_argument | {"key": KEY} | identity(sleeper.pid)
    assert not system.is_active(whole)
    system.stop([whole])
    assert sleeper.poll() is None


def test_a_command_does_not_wait_for_itself(tmp_path):
    own = psutil.Process().cmdline()
    system = Local(tmp_path / "launcher", 1)
    for argument in own:
        assert "pid" not in system.found("a", {"job": "", "key": argument})
    assert not system.is_active({"job": "", "key": KEY} | identity())


CODE = launchers.CODE.format("package.module", "run_cell")


def cell_arguments(workdir, name="a", key=KEY, code=CODE):
    return ["python", "-P", "-u", "-c", code, str(workdir), name, key]


@pytest.mark.parametrize(
    ("arguments", "is_ours"),
    [
        (lambda folder: cell_arguments(folder), True),
        (lambda folder: cell_arguments(folder.parent), False),
        (lambda folder: cell_arguments(folder, name="b"), False),
        (lambda folder: cell_arguments(folder, key=KEY[::-1]), False),
        (lambda folder: cell_arguments(folder, code="import os"), False),
        (lambda folder: cell_arguments(folder)[4:], False),
        (lambda folder: [], False),
    ],
)
def test_a_cell_is_known_by_all_its_arguments(
    tmp_path, monkeypatch, arguments, is_ours
):
    """The parent of the tests stands for it."""
    given, parent = arguments(tmp_path), os.getppid()
    monkeypatch.setattr(
        psutil.Process, "cmdline", lambda self: given if self.pid == parent else []
    )
    system = Local(tmp_path / "launcher", 1)
    found = system.found("a", {"job": "", "key": KEY})
    assert found.get("pid") == (parent if is_ours else None)
    assert system.is_active(found) == is_ours


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("key", "--launcher=local"),
        ("key", "7777"),
        ("key", KEY + "\n"),
        ("log", "/etc/passwd"),
        ("log", "../a_log.out"),
        ("log", "/tmp/a_log.out"),
        ("log", ".."),
        ("job", "1; rm -rf ~"),
        ("job", "../7"),
    ],
)
def test_what_no_launcher_writes_is_refused(tmp_path, field, text):
    write_jobs(tmp_path, "local", {"a": {"job": "", field: text}})
    with pytest.raises(UserError, match=rf"jobs\.json is not what a run .*{field} is"):
        read_jobs(tmp_path)


@pytest.mark.parametrize("kind", ["pipe", "link", "folder", "missing", "long"])
def test_a_log_is_a_file_of_the_launcher(tmp_path, kind):
    launched = launch_of(tmp_path, "a", jobs=1)
    launched.attempts["a"] = dispatch.ATTEMPTS
    log = tmp_path / "launcher" / "a_log.out"
    log.parent.mkdir()
    (tmp_path / "secret").write_text("of another program")
    if kind == "pipe":
        os.mkfifo(log)
    elif kind == "link":
        log.symlink_to(tmp_path / "secret")
    elif kind == "folder":
        log.mkdir()
    elif kind == "long":
        log.write_text("early\n" * 99_999 + "late\n" * 3)
    record = {"job": "1", "log": log.name}
    launched._failed("a", record, {"status": "", "reason": ""})
    crash = tmp_path / "a" / "crash.txt"
    assert crash.exists() == (kind == "long")
    if kind == "long":
        assert crash.read_text().splitlines()[-4:] == ["early", *["late"] * 3]
        assert len(crash.read_text().splitlines()) == launchers.LOG_LINES + 1
    assert read(tmp_path / "a/seed-0/result.json")["crashed"]


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
