"""A folder by a name without special characters, for libraries that interpret them.

Orbax looks for files by pattern and TensorStore takes names for addresses: in a folder
with brackets or a backslash in its path they write what they cannot read again.
"""

import contextlib
import fcntl
import os
import re
import tempfile
from pathlib import Path

from cnnjax.errors import UserError

# What a killed process leaves, the next one that needs a link removes.
_PREFIX = "cnnjax-link-"
# Processes that share a folder must call it alike at its end.
_NAME = "checkpoints"
# Letters of any script, digits, and what neither library interprets.
_PLAIN = re.compile(r"[\w ./-]*")


class PlainPath:
    """The folder itself, or a link to it where its path has other characters.

    Args:
      folder: absolute; may not exist yet.

    Raises:
      UserError: a link is needed and cannot be made.
    """

    def __init__(self, folder: Path):
        self.path = folder
        self._holder: str | None = None
        self._lock: int | None = None
        if _PLAIN.fullmatch(str(folder)):
            return
        try:
            _remove_dead()
            self.path = Path(self._hold(), _NAME)
            os.symlink(folder, self.path, target_is_directory=True)
        except OSError as error:
            self.close()
            raise _no_link(folder, error.strerror or str(error)) from error
        if not _PLAIN.fullmatch(str(self.path)):
            self.close()
            raise _no_link(folder, f"{self.path} has special characters too")

    def close(self) -> None:
        """Removes the link, if there is one; never what it leads to."""
        if self._holder is not None:
            _remove(self._holder)
            self._holder = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _hold(self) -> str:
        """Makes a folder for the link, and locks it for as long as it is in use."""
        # Made anew for each process: a name that others can guess could be theirs.
        self._holder = tempfile.mkdtemp(prefix=_PREFIX)
        self._lock = os.open(self._holder, os.O_RDONLY)
        # Where nothing can be locked, nothing is removed either.
        with contextlib.suppress(OSError):
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        return self._holder


def _remove_dead() -> None:
    """Removes the links of this user whose processes have ended, on any machine."""
    for holder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # Another process may be removing it, or have just made and not yet locked it;
        # an empty one has no link, and tells nothing of its process.
        with contextlib.suppress(OSError):
            if holder.lstat().st_uid != os.getuid() or not os.listdir(holder):
                continue
            lock = os.open(holder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                _remove(holder)
            finally:
                os.close(lock)


def _remove(holder: str | os.PathLike) -> None:
    """Removes a link and its folder; a folder that holds anything else stays."""
    with contextlib.suppress(OSError):
        os.unlink(Path(holder, _NAME))
    with contextlib.suppress(OSError):
        os.rmdir(holder)


def _no_link(folder: Path, reason: str) -> UserError:
    return UserError(
        f"the path {str(folder)!r} has characters that need a link in the folder for "
        f"temporary files ({reason}): choose another --workdir, or another folder with "
        "the environment variable TMPDIR"
    )
