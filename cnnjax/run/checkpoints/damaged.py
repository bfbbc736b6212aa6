"""Checkpoints that cannot be read: damaged ones are moved aside, never deleted.

Only what readers say of data counts as damage. Whatever else ends a reading, such as an
error of the system, a lack of threads or a module that cannot be imported, says nothing
of the checkpoint, and ends the start with a sentence.

Nothing that could not be read is deleted: it may be whole, and the fault elsewhere.
"""

import contextlib
import errno
import os
import re
import stat
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from cnnjax.devices import distributed
from cnnjax.errors import UserError
from cnnjax.files import UnfitFile, open_regular

_T = TypeVar("_T")
# Beside the checkpoints; no number, so that Orbax leaves it alone.
FOLDER = "damaged"
# Files that are not there, or are of another kind, are damage.
_MISSING = (FileNotFoundError, NotADirectoryError, IsADirectoryError)
# And what parsers and TensorStore say of what is in them: a wrong value (also of JSON,
# UTF-8 and Zarr), a field that is missing, JSON that is nested too deeply.
_WRONG_DATA = (ValueError, LookupError, RecursionError, EOFError, StopIteration)
# TensorStore begins some of its messages with a code; these are of data.
_CODE = re.compile(r"([A-Z]+(?:_[A-Z]+)*): ")
_CODES_OF_DATA = (
    *("DATA_LOSS", "NOT_FOUND", "INVALID_ARGUMENT", "FAILED_PRECONDITION"),
    *("OUT_OF_RANGE", "UNIMPLEMENTED"),
)
# TensorStore gives the system's error number in its message only; which way depends
# on its version.
_NUMBER = re.compile(r"\[(?:OS error |os_error_code=')(\d+)")
# Its database, and the list of its sources behind the sentence.
_DETAILS = re.compile(
    r' in OCDBT database at local file "(?:[^"\\]|\\.)*"| \[[\w ]+=.*', re.DOTALL
)
# The folders of a quoted path, in which it escapes what is not ASCII.
_ABOVE = re.compile(r'"/(?:[^"\\]|\\.)*/')
# Of arrays the wanted parts are read, and every other file as a whole.
_ARRAYS = "d"
_MOST_BYTES = 2**28
# Characters of a reason; a longer one hides the sentence around it.
MOST_TOLD = 240


_SEE_TO_LIMITS = (
    "see to the memory and the processes that this machine allows (ulimit -u), and "
    "start again"
)


class DamagedError(Exception):
    """A checkpoint that cannot be read whole."""


@contextlib.contextmanager
def opening(folder: Path, link: Path) -> Iterator[None]:
    """Turns the errors of opening a folder of checkpoints into one sentence.

    Args:
      folder: of the checkpoints.
      link: the path that Orbax was given for it.

    Raises:
      UserError: it cannot be opened: Orbax starts threads, and the system may refuse.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        raise UserError(
            f"cannot open the checkpoint folder {folder}: "
            f"{_in_short(error, folder, link)}; nothing was changed: {_SEE_TO_LIMITS}"
        ) from error


@contextlib.contextmanager
def reading(folder: Path, link: Path) -> Iterator[None]:
    """Turns the errors of reading a checkpoint into damage, or a refusal.

    Args:
      folder: of the checkpoint.
      link: the path that the readers were given for the folder.

    Raises:
      DamagedError: what is in the files is not what was written.
      UserError: something else ended the reading, such as the system.
    """
    try:
        yield
    except (MemoryError, DamagedError):
        raise
    except Exception as error:
        if (reason := _refusal(folder, error)) is not None:
            raise UserError(
                f"cannot read checkpoint {folder}: {reason}; nothing was changed: see "
                "to its permissions and its disk, and start again, or choose another "
                "--workdir"
            ) from error
        words = _in_short(error, folder, link)
        if not _is_damage(error):
            raise UserError(
                f"cannot read checkpoint {folder}: {words}; nothing was changed: "
                f"{_SEE_TO_LIMITS}; where it stays so, move the checkpoint away, or "
                "choose another --workdir"
            ) from error
        raise DamagedError(words) from error


def _is_damage(error: BaseException) -> bool:
    """Whether it, and all errors behind it, are of data."""
    for found in _chain(error):
        code = _CODE.match(str(found))
        if not isinstance(found, (DamagedError, *_MISSING, *_WRONG_DATA)) or (
            code is not None and code[1] not in _CODES_OF_DATA
        ):
            return False
    return True


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and those behind it; one that is raised again may be behind itself."""
    seen: list[BaseException] = []
    found: BaseException | None = error
    while found is not None and found not in seen:
        yield found
        seen.append(found)
        found = found.__cause__ or found.__context__


def twice(read: Callable[..., _T], *args: Any) -> _T:
    """Reads again what seems damaged: a disk may have been away for a moment.

    TensorStore takes some errors of the system for files that are missing.

    Raises:
      DamagedError: it seems so both times.
    """
    try:
        return read(*args)
    except DamagedError:
        if distributed.num_processes() > 1:  # which read together
            raise
        return read(*args)


def _in_short(error: Exception, folder: Path, link: Path) -> str:
    """The message of a library, without its source files and the folder.

    Args:
      error: of the library.
      folder: of the checkpoint.
      link: the path that the library was given for the folder.
    """
    words = next(iter(_DETAILS.sub("", str(error)).splitlines()), "")
    words = _ABOVE.sub('"', words)
    for path in (link, folder):
        words = words.replace(f"{path}/", "").replace(str(path), folder.name)
    words = textwrap.shorten(words, MOST_TOLD, placeholder=" ...")
    return f"{type(error).__name__}: {words}" if words else type(error).__name__


def set_aside(folder: Path) -> Path:
    """Moves a checkpoint into the folder of damaged ones; returns the new path."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    place = folder.parent / FOLDER / f"{folder.name}-{stamp}"
    more = 1
    while place.exists():
        more += 1
        place = place.with_name(f"{folder.name}-{stamp}-{more}")
    place.parent.mkdir(exist_ok=True)
    folder.rename(place)
    return place


def system_error(error: BaseException, but: tuple = ()) -> OSError | None:
    """The error of the system behind one of a library.

    Args:
      error: of the library.
      but: kinds of errors of the system that are passed over.

    Returns:
      The error, or None if there is none.
    """
    for found in _chain(error):
        if match := _NUMBER.search(str(found)):
            found = OSError(int(match[1]), os.strerror(int(match[1])))
        if isinstance(found, OSError) and not isinstance(found, but):
            return found
    return None


def _refusal(folder: Path, error: Exception) -> str | None:
    """Why the system refuses to read the files; None if it does not."""
    refused = system_error(error, but=_MISSING)
    if refused is None:
        try:
            _read_all(folder)
        except _MISSING:
            return None
        except OSError as found:
            refused = found
    return None if refused is None else refused.strerror or str(refused)


def check_files(folder: Path, depth: int = 6) -> None:
    """Looks at what is in a checkpoint, without opening it: a pipe would never open.

    Args:
      folder: of the checkpoint; links to files and folders are followed.
      depth: of folders; those of a checkpoint are not as deep.

    Raises:
      DamagedError: something else than files and folders, or too large.
      OSError: the system refuses to show it.
    """
    if not depth:
        raise DamagedError(f"{folder.name} is too deep")
    for path in folder.iterdir():
        try:
            found = path.stat()
        except FileNotFoundError:  # for those who need it to tell
            continue
        if stat.S_ISDIR(found.st_mode):
            check_files(path, depth - 1)
        elif not stat.S_ISREG(found.st_mode):
            raise DamagedError(f"{path.name} is no file")
        elif folder.name != _ARRAYS and found.st_size > _MOST_BYTES:
            raise DamagedError(f"{path.name} is too large")


def _read_all(folder: Path) -> None:
    def stop(error: OSError) -> None:
        raise error

    for root, _, files in os.walk(folder, onerror=stop):
        for name in files:
            path = os.path.join(root, name)
            with contextlib.suppress(UnfitFile), open_regular(path, sys.maxsize) as f:
                _read_data(f.fileno())


def _read_data(file: int) -> None:
    """Reads what is in a file, without its holes, of which there may be terabytes."""
    place = len(os.pread(file, 1 << 24, 0))
    while True:
        try:
            place = os.lseek(file, place, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # there is no more
                return
            raise
        place += len(os.pread(file, 1 << 24, place))
