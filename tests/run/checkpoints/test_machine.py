"""Checkpoints on a machine that fails: its disk, its clock."""

import errno
import os
import threading
import time

import numpy as np
import orbax.checkpoint as ocp
import pytest

from cnnjax.errors import UserError
from cnnjax.run.checkpoints.manager import Checkpoints

TREE = {"a": np.arange(6.0)}


def alive(before):
    """Threads that would keep a program from its end."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        new = [t for t in threading.enumerate() if t not in before and not t.daemon]
        if not new:
            return []
        time.sleep(0.01)
    return new


@pytest.mark.parametrize("number", [0, 1, 2])
def test_no_thread_waits_for_a_folder_that_cannot_be_made(
    tmp_path, monkeypatch, number
):
    """As on a disk without inodes: the program ends with the sentence."""
    made, mkdir, before = [], os.mkdir, threading.enumerate()

    def full(path, *args, **more):
        made.append(path)
        if len(made) > number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
        return mkdir(path, *args, **more)

    checkpoints = Checkpoints(tmp_path / "checkpoints", keep_last=1)
    monkeypatch.setattr(os, "mkdir", full)
    with (
        pytest.raises(UserError, match=r"cannot write .*No space left"),
        checkpoints,
    ):
        checkpoints.save(1, TREE, {})
    assert len(made) > number
    assert alive(before) == []
    assert os.listdir(tmp_path / "checkpoints") == []


@pytest.mark.parametrize("jump", [1e5, -1e5])
def test_a_clock_that_jumps_ends_no_save(tmp_path, monkeypatch, jump):
    offset, now = [0.0], time.time

    def jumping():
        offset[0] += jump
        return now() + offset[0]

    monkeypatch.setattr(time, "time", jumping)
    with Checkpoints(tmp_path, keep_last=2) as checkpoints:
        for step in (1, 2, 3):
            checkpoints.save(step, TREE, {"step": step})
    with Checkpoints(tmp_path, keep_last=2, warn=pytest.fail) as checkpoints:
        assert checkpoints.steps() == [2, 3]
        step, tree, metadata = checkpoints.restore_latest(TREE)
    assert (step, metadata) == (3, {"step": 3})
    np.testing.assert_array_equal(tree["a"], TREE["a"])


MEANINGS = {
    "ENOSPC": "free space",
    "EDQUOT": "free space",
    "EACCES": "permit it",
    "EROFS": "permit it",
    "EMFILE": "ulimit -n",
    "EFBIG": "ulimit -f",
    "ENAMETOOLONG": "shorter",
    "EIO": "see to that disk",
    "ESTALE": "see to that disk",
    "ETIMEDOUT": "see to that disk",
}


@pytest.mark.parametrize("name", MEANINGS)
@pytest.mark.parametrize("of_library", [False, True])
def test_a_failed_save_says_what_the_system_says(
    tmp_path, monkeypatch, name, of_library
):
    number = getattr(errno, name)
    reason = os.strerror(number)
    error = OSError(number, reason)
    if of_library:
        error = ValueError(
            f"INTERNAL: Error writing: {reason} [os_error_code='{number}']"
        )

    def fail(*_, **__):
        raise error

    with Checkpoints(tmp_path, keep_last=1) as checkpoints:
        monkeypatch.setattr(ocp.CheckpointManager, "save", fail)
        with pytest.raises(UserError) as said:
            checkpoints.save(1, TREE, {})
    assert f"cannot write {tmp_path}: {reason}; " in str(said.value)
    for other in set(MEANINGS.values()):
        assert (other in str(said.value)) == (other == MEANINGS[name])


# What TensorStore says where the system says ENXIO or ENODEV.
MISSING = ValueError("NOT_FOUND: no such file")


def say_missing(monkeypatch, times):
    """Lets so many reads of checkpoints fail."""
    restore, left = ocp.CheckpointManager.restore, [MISSING] * times

    def missing(*args, **more):
        if left:
            raise left.pop()
        return restore(*args, **more)

    monkeypatch.setattr(ocp.CheckpointManager, "restore", missing)


@pytest.mark.parametrize("name", ["ENXIO", "ENODEV"])
def test_a_device_that_is_away_is_no_file_that_is_missing(tmp_path, monkeypatch, name):
    number, open_file = getattr(errno, name), os.open

    def away(path, *args, **more):
        if f"{tmp_path}/1/" in os.fspath(path):
            raise OSError(number, os.strerror(number), path)
        return open_file(path, *args, **more)

    with Checkpoints(tmp_path, keep_last=1, warn=pytest.fail) as checkpoints:
        checkpoints.save(1, TREE, {})
        checkpoints.wait()
        say_missing(monkeypatch, 9)
        monkeypatch.setattr(os, "open", away)
        with pytest.raises(UserError, match=f"{os.strerror(number)}; nothing was"):
            checkpoints.restore_latest(TREE)


def test_a_file_that_is_missing_once_is_read_again(tmp_path, monkeypatch):
    with Checkpoints(tmp_path, keep_last=1, warn=pytest.fail) as checkpoints:
        checkpoints.save(1, TREE, {})
        checkpoints.wait()
        say_missing(monkeypatch, 1)
        assert checkpoints.restore_latest(TREE)[0] == 1
