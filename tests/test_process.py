"""Whether a process that was met before still lives."""

import os
import subprocess
import sys

import pytest

from cnnjax.process import identity, lives


@pytest.fixture
def child():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    yield process
    process.communicate()


def test_this_process_lives():
    assert lives(identity())
    assert identity()["pid"] == os.getpid()


def test_a_process_lives_until_it_ends(child):
    known = identity(child.pid)
    assert lives(known)
    child.stdin.close()
    # It has ended once there is nothing to read, and is not waited for yet.
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not lives(known)
    child.stdin = None
    child.wait()
    assert lives(known) is False


def test_a_number_that_was_given_again_is_another_process():
    assert not lives(identity() | {"born": 1})


def test_of_another_machine_nothing_is_known():
    assert lives(identity() | {"host": "elsewhere"}) is None
