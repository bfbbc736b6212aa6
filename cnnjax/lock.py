"""One lock for everything that one process at a time may write: a file that names it.

    with locked(folder / LOCK, f"{folder} is being trained", say=warn) as lock:
        lock.check()  # now and then: raises if it was lost

The file appears whole, by link(2), which network file systems do atomically too; flock
is not needed. Who is killed leaves it, and the next takes it over: a process of this
machine is known by its number and its start, one of another, or of another container,
by how long its file has not been touched. To take over an instance of the file, one
must hold a guard, a lock that bears the name of that instance. So nobody removes what
another has just made.
"""

import contextlib
import dataclasses
import errno
import glob
import hashlib
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from cnnjax.errors import UserError, printable, shown
from cnnjax.files import UnfitFile, open_regular, write_failure
from cnnjax.process import (
    QUIET_SECONDS,
    identity,
    is_running,
    seems_alive,
    slurm_start,
)
from cnnjax.records import from_line, to_line, unreadable
from cnnjax.screen import say

LOCK = ".lock"  # in the folder that it locks; no arm can have this name
TOUCH_SECONDS = 30.0  # how often a holder shows that it lives
CHECK_SECONDS = 2.0  # least time between two looks of `Lock.check`
_MOST_BYTES = 10_000
# A file that names nobody may be one that is just being written, where link(2) is not
# to be had.
_WRITING_SECONDS = 10.0
_GUARD_SECONDS = 10.0  # a guard is held for milliseconds
_NO_LINKS = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV)


class TakenError(UserError):
    """Another process holds the lock."""


class LostError(UserError):
    """The file is no longer there, or another's."""


@contextlib.contextmanager
def locked(
    path: Path,
    busy: str,
    *,
    otherwise: str = "",
    say: Callable[[str], None] = say,
) -> Iterator["Lock"]:
    """Holds a lock, which the same thread may take again meanwhile.

    Args:
      path: of the lock file, `folder / LOCK` as a rule; its folder is made.
      busy: start of the sentence if another has it, as 'runs/x is being trained'.
      otherwise: what else a person can do, as 'choose another --workdir'.
      say: is told when the lock of a dead process is taken over.

    Yields:
      The lock; its `check` finds out whether it was lost.

    Raises:
      TakenError: another process, or another thread of this one, has it.
      UserError: it cannot be written, or something else stands there.
    """
    given, path = path, path.absolute()
    again = _HELD.get(path)
    if again is not None and again.is_of_this_thread():
        yield again
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        ours, before = _take(path, _Words(busy, otherwise))
    except OSError as error:
        what = given.parent if given.name == LOCK else given
        raise write_failure(what, error) from error
    lock = _HELD[path] = Lock(path, ours)
    try:
        if before is not None:
            say(f"{_who(before)}, which has ended, left {printable(path)}: taken over")
        _clean(path, ours.touched)
        yield lock
    finally:
        del _HELD[path]
        lock.release()


def holder(path: Path) -> dict[str, Any] | None:
    """The record (`identity`) of the living process that has a lock, or None.

    Raises:
      UserError: what stands there is no regular file.
      OSError: it cannot be read.
    """
    found = _read(path)
    return found.record if found and found.seems_held(time.time()) else None


def held(path: Path) -> "Lock | None":
    """The lock at a path if this process holds it."""
    lock = _HELD.get(path.absolute())
    return lock if lock is not None and lock.is_of_this_process() else None


class Lock:
    """A lock that this process holds; made by `locked`."""

    def __init__(self, path: Path, found: "_Found"):
        self.path, self._key = path, found.key
        self._owner = os.getpid(), threading.get_ident()
        self._checked, self._released = time.monotonic(), threading.Event()
        threading.Thread(target=self._keep_touching, daemon=True).start()

    def check(self, every: float = CHECK_SECONDS) -> None:
        """Raises if the lock was lost; looks at most once in `every` seconds.

        Raises:
          LostError: the file was removed, with its folder or alone, or is another's.
        """
        if time.monotonic() - self._checked < every:
            return
        self._checked = time.monotonic()
        if not self._is_ours(if_unknown=True):
            folder = printable(self.path.parent)
            what = "the folder was moved or removed"
            if self.path.parent.is_dir():
                what = "the lock in it was moved, removed or taken over by another"
            raise LostError(
                f"{folder} was in use by this process, and {what}: nothing more is "
                "written; start the command again, with the --workdir where the files "
                "are now"
            )

    def release(self) -> None:
        """Removes the file if it is still ours; not in a fork of the process."""
        self._released.set()
        if self.is_of_this_process() and self._is_ours(if_unknown=False):
            with contextlib.suppress(OSError):
                self.path.unlink(missing_ok=True)

    def is_of_this_process(self) -> bool:
        """Whether it was not this process's parent that took it."""
        return self._owner[0] == os.getpid()

    def is_of_this_thread(self) -> bool:
        """Whether this thread of this process took it."""
        return self.is_of_this_process() and self._owner[1] == threading.get_ident()

    def _is_ours(self, if_unknown: bool) -> bool:
        try:
            found = _read(self.path)
        except UserError:
            return False
        except OSError:  # which says nothing of who has it
            return if_unknown
        return found is not None and found.key == self._key

    def _keep_touching(self) -> None:
        """Compiling and evaluating may take longer than a lock may be silent."""
        while not self._released.wait(TOUCH_SECONDS):
            if self._is_ours(if_unknown=False):
                with contextlib.suppress(OSError):
                    os.utime(self.path, follow_symlinks=False)


_HELD: dict[Path, Lock] = {}


@dataclasses.dataclass(frozen=True)
class _Words:
    """What is said of a lock: see `locked`."""

    busy: str
    otherwise: str


@dataclasses.dataclass(frozen=True)
class _Found:
    """A lock file as it was read.

    Attributes:
      key: tells this instance from every other one at the same path.
      record: of `identity`; None if it names nobody.
      touched: time by the clock of the file system.
    """

    key: str
    record: dict[str, Any] | None
    touched: float

    def seems_held(self, now: float) -> bool:
        """Whether its process lives, as far as can be known from here."""
        silent = abs(now - self.touched)
        if self.record is None:
            return silent < _WRITING_SECONDS
        return seems_alive(self.record | {"updated": time.time() - silent})


def _take(path: Path, words: _Words) -> tuple[_Found, _Found | None]:
    """Puts our record at the path, unless a living process has its own there.

    Returns:
      Ours, and that of the dead process which was there before, or None.
    """
    record = identity() | slurm_start() | {"key": secrets.token_hex(8)}
    new = path.with_name(f"{path.name}-{record['key']}.new")
    before, latest = None, time.monotonic() + _GUARD_SECONDS
    try:
        now = _write_new(new, to_line(record).encode() + b"\n")
        while True:
            found = _seen(path)
            if found is None:
                # Of a network, this may be what it knew some seconds ago.
                if not _put(new, path) and time.monotonic() > latest:
                    raise TakenError(f"{words.busy} by another process: wait for it")
            elif found.record is not None and found.record.get("key") == record["key"]:
                return found, before
            elif found.seems_held(now) or time.monotonic() > latest:
                raise TakenError(_sentence(path, found, now, words))
            elif _replace(new, path, found):
                before = found
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)


def _write_new(path: Path, content: bytes) -> float:
    """Makes a file; returns the time by the clock of the file system."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, 0o666), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
        return os.fstat(file.fileno()).st_mtime


def _put(new: Path, path: Path) -> bool:
    """Gives our record its name; False if another has it, or so the network says.

    Which is true is seen by reading it: that the name exists may be a second answer, to
    a call whose first one was lost.
    """
    try:
        try:
            os.link(new, path)
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            _write_new(path, new.read_bytes())
    except FileExistsError:
        time.sleep(0.01)
        return False
    return True


def _replace(new: Path, path: Path, dead: _Found) -> bool:
    """Replaces the record of a dead process by ours; whether this was done."""
    guard = path.with_name(f"{path.name}.{dead.key}")
    try:
        _take(guard, _Words("", ""))
    except TakenError:
        time.sleep(0.01)  # another takes it over in this moment
        return False
    try:
        found = _seen(path)
        if found is None or found.key != dead.key:
            return False
        os.replace(new, path)
        return True
    finally:
        guard.unlink(missing_ok=True)


def _seen(path: Path) -> _Found | None:
    """As `_read`; a file that cannot be read is not one that cannot be written."""
    try:
        return _read(path)
    except OSError as error:
        raise unreadable(path, error) from error


def _read(path: Path) -> _Found | None:
    """What stands at the path; never through a link, never waiting."""
    try:
        with open_regular(path, _MOST_BYTES, follow=False) as file:
            content, stat = file.read(_MOST_BYTES), os.fstat(file.fileno())
    except FileNotFoundError:
        return None
    except UnfitFile as error:
        raise UserError(f"{error}: remove it, for a lock is to be there") from error
    record = _record(content)
    # Ours are told apart by what is in them, others by their place on the disk as well.
    place = b"" if record else str(stat.st_ino).encode()
    key = hashlib.sha256(content + place).hexdigest()[:16]
    return _Found(key, record, stat.st_mtime)


def _record(content: bytes) -> dict[str, Any] | None:
    """The record in a lock file; None if there is none, or it names no process."""
    try:
        record = from_line(content.decode())
    except (ValueError, RecursionError):
        return None
    whole = isinstance(record, dict) and {"host", "pid", "born"} <= record.keys()
    return record if whole else None


def _clean(path: Path, now: float) -> None:
    """Removes what killed starters left beside a lock that this process holds."""
    for left in path.parent.glob(f"{glob.escape(path.name)}[-.]*"):
        with contextlib.suppress(OSError):
            if now - left.lstat().st_mtime > QUIET_SECONDS:
                left.unlink()


def _sentence(path: Path, found: _Found, now: float, words: _Words) -> str:
    """Who has the lock, and what can be done."""
    who, ways = _who(found), ["wait for it", "end it"]
    if found.record is not None and is_running(found.record) is None:
        silent = abs(now - found.touched)
        who += f", last heard of {silent:.0f} s ago"
        ways += [
            f"if it has died, delete {printable(path)}",
            f"start again in {max(QUIET_SECONDS - silent, 1):.0f} s",
        ]
    ways += [words.otherwise] * bool(words.otherwise)
    return f"{words.busy} by {who}: {', '.join(ways[:-1])}, or {ways[-1]}"


def _who(found: _Found) -> str:
    known = found.record
    if known is None:
        return "a process that its lock does not name"
    if known["pid"] == os.getpid() and is_running(known):
        return "this process"
    return f"process {shown(known['pid'])} on {printable(known['host'])}"
