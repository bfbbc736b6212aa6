"""Whether a process that was met before still runs."""

import os
import subprocess
import sys
import time

import psutil
import pytest

from cnnjax.process import absolute_entries, identity, is_running, seems_alive


@pytest.fixture
def child():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.communicate()


@pytest.mark.parametrize(
    ("paths", "kept"),
    [
        ("", []),
        (":", []),
        (":/x", ["/x"]),
        ("/x:", ["/x"]),
        ("/x::/y", ["/x", "/y"]),
        (".:x:../y:/a b", ["/a b"]),
    ],
)
def test_no_entry_of_a_path_is_the_current_folder(paths, kept):
    assert absolute_entries(paths) == kept


def test_this_process_lives():
    assert is_running(identity())
    assert identity()["pid"] == os.getpid()


def test_a_process_lives_until_it_ends(child):
    known = identity(child.pid)
    assert is_running(known)
    child.stdin.close()
    # It has ended once there is nothing to read, and is not waited for yet.
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not is_running(known)
    child.stdin = None
    child.wait()
    assert is_running(known) is False


def test_a_number_that_was_given_again_is_another_process():
    assert not is_running(identity() | {"born": 1})


def test_a_clock_that_is_set_between_two_reads_changes_no_start(monkeypatch):
    """The system gives both as times of day, by the clock as it is."""
    before, clock, real = identity(), [0.0], psutil.boot_time()
    create_time, reads = psutil.Process.create_time, []

    def boot_time():
        reads.append(clock[0])
        if len(reads) == 2:
            clock[0] += 3600  # just before the second look
        return real + clock[0]

    def kept(self):
        if not hasattr(self, "_kept"):
            self._kept = create_time(self) + clock[0]
        return self._kept

    monkeypatch.setattr(psutil, "boot_time", boot_time)
    monkeypatch.setattr(psutil.Process, "create_time", kept)
    assert identity()["born"] == pytest.approx(before["born"], abs=1)
    assert len(reads) == 4


def test_of_another_machine_nothing_is_known():
    assert is_running(identity() | {"host": "elsewhere"}) is None


@pytest.mark.parametrize("key", ["boot", "pid_space"])
def test_a_name_of_a_machine_is_not_enough(key):
    """Containers and machines may share it, and their numbers of processes do not."""
    sign = identity() | {"born": 1}
    assert is_running(sign) is False
    assert is_running(sign | {key: "other"}) is None
    assert seems_alive(sign | {key: "other", "updated": time.time()})
    del sign[key]  # of an earlier version
    assert is_running(sign) is False


# 0 and -1 stand for groups of processes that live, True for process 1.
ODD = ["x", None, True, 1.5, [], {}, 0, -1, -(2**70), 2**70, 10**400]


@pytest.mark.parametrize("odd", ODD)
@pytest.mark.parametrize("key", ["pid", "born"])
def test_an_odd_record_of_this_machine_is_no_process(key, odd):
    sign = identity() | {"updated": time.time()}
    assert seems_alive(sign)
    assert not seems_alive(sign | {key: odd})
    assert is_running(sign | {key: odd}) is False


@pytest.mark.parametrize("odd", ODD)
def test_an_odd_record_of_another_machine_is_no_process(odd):
    sign = identity() | {"host": "elsewhere", "updated": time.time()}
    assert seems_alive(sign)
    assert not seems_alive(sign | {"updated": odd})
    if not isinstance(odd, str):
        assert not seems_alive(sign | {"host": odd})
    if not isinstance(odd, int) or isinstance(odd, bool) or odd < 1:
        assert not seems_alive(sign | {"pid": odd})


@pytest.mark.parametrize("lost", ["host", "pid", "born"])
def test_what_lacks_something_is_no_process(lost):
    sign = {key: value for key, value in identity().items() if key != lost}
    assert is_running(sign) is False
    assert not seems_alive(sign | {"updated": time.time()})
