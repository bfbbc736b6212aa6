"""The short form of the chaos tests: a small training whose calls fail one by one."""

import errno
import os
import random
import re
import time

import pytest

from cnnjax.errors import UserError
from cnnjax.run import loop
from tests.run.tiny import fit, tiny_run

FAULTS = [
    ("write", "ENOSPC"),
    ("mkdir", "ENOSPC"),
    ("fsync", "EIO"),
    ("replace", "EROFS"),
    ("rename", "EDQUOT"),
    ("open", "EACCES"),
]


@pytest.fixture(scope="module")
def run():
    return tiny_run(seeds__count=2, log__tensorboard=True)


@pytest.fixture(scope="module", autouse=True)
def compiled_once(run):
    """A run that is started many times is compiled once."""
    programs = loop.compile_programs(run, loop.saved_example(run)["state"], None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "compile_programs", lambda *_: programs)
        yield


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole") / "run"
    fit(run, folder)
    return numbers(folder)


def numbers(folder):
    """What is in the files of a run, but what depends on the time."""
    found = {}
    for path in sorted(folder.glob("seed-*/*.json*")):
        text = re.sub(r'"cost": \{[^}]*\}|"digest": "[^"]*"', "", path.read_text())
        found[str(path.relative_to(folder))] = text
    return found


class Failing:
    """Calls of `os` below a folder fail from the n-th on."""

    def __init__(self, monkeypatch, folder, call, name, first):
        self.real, self.number = getattr(os, call), getattr(errno, name)
        self.folder, self.first, self.seen = str(folder), first, 0
        monkeypatch.setattr(os, call, self)

    def __call__(self, *args, **more):
        if any(self._is_below(arg) for arg in args):
            self.seen += 1
            if self.seen > self.first:
                raise OSError(self.number, os.strerror(self.number), str(args[0]))
        return self.real(*args, **more)

    def _is_below(self, arg):
        if isinstance(arg, int) and arg > 2:
            try:
                arg = os.readlink(f"/proc/self/fd/{arg}")
            except OSError:
                return False
        # Its lock is removed by a process that ends, or is taken over; this one stays.
        is_path = isinstance(arg, str | os.PathLike) and ".lock" not in str(arg)
        return is_path and self.folder in str(arg)


def error_of(run, folder):
    """How a training ends; None if it does without what fails."""
    try:
        fit(run, folder)
    except (UserError, OSError) as error:
        return str(error)
    return None


@pytest.mark.parametrize(("call", "name"), FAULTS)
def test_any_call_may_fail(run, whole, tmp_path, monkeypatch, call, name):
    with monkeypatch.context() as patch:
        counting = Failing(patch, tmp_path / "all", call, name, first=10**9)
        fit(run, tmp_path / "all")
    assert counting.seen
    draw = random.Random(call)
    for first in (0, draw.randrange(counting.seen)):
        folder = tmp_path / str(first) / "run"
        start = time.monotonic()
        with monkeypatch.context() as patch:
            Failing(patch, folder, call, name, first)
            said = error_of(run, folder)
        assert said is None or os.strerror(getattr(errno, name)) in said
        assert time.monotonic() - start < 30
        fit(run, folder)
        assert numbers(folder) == whole
