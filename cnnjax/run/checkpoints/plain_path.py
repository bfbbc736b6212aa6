"""A folder by a name without special characters, for libraries that interpret them.

Orbax looks for files by pattern and TensorStore takes names for addresses: in a folder
with brackets or a backslash in its path they write what they cannot read again.
"""

import contextlib
import os
import re
import tempfile
from pathlib import Path

from cnnjax.errors import UserError
from cnnjax.lock import LOCK, locked

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
        self._lock = contextlib.ExitStack()
        if _PLAIN.fullmatch(str(folder)):
            return
        try:
            _remove_dead()
            self.path = Path(self._hold(), _NAME)
            os.symlink(folder, self.path, target_is_directory=True)
        except (OSError, UserError) as error:
            self.close()
            raise _no_link(
                folder, getattr(error, "strerror", "") or f"{error}"
            ) from error
        if not _PLAIN.fullmatch(str(self.path)):
            self.close()
            raise _no_link(folder, f"{self.path} has special characters too")

    def close(self) -> None:
        """Removes the link, if there is one; never what it leads to."""
        if self._holder is not None:
            _remove_link(self._holder)
            self._lock.close()
            _remove_folder(self._holder)
            self._holder = None

    def _hold(self) -> str:
        """Makes a folder for the link, and locks it for as long as it is in use."""
        # Made anew for each process: a name that others can guess could be theirs.
        self._holder = tempfile.mkdtemp(prefix=_PREFIX)
        self._lock.enter_context(_alone(self._holder))
        return self._holder


def _remove_dead() -> None:
    """Removes the links of this user whose processes have ended, on any machine."""
    for holder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        # Another process may be removing it, or have just made and not yet locked it;
        # one without a lock tells nothing of its process.
        with contextlib.suppress(OSError, UserError):
            is_ours = holder.lstat().st_uid == os.getuid() and not holder.is_symlink()
            if is_ours and os.path.lexists(holder / LOCK):
                with _alone(holder):
                    _remove_link(holder)
                _remove_folder(holder)


def _alone(holder: str | os.PathLike) -> contextlib.AbstractContextManager[object]:
    """The lock of a folder for a link."""
    return locked(Path(holder, LOCK), f"{holder} is in use", say=lambda sentence: None)


def _remove_link(holder: str | os.PathLike) -> None:
    with contextlib.suppress(OSError):
        os.unlink(Path(holder, _NAME))


def _remove_folder(holder: str | os.PathLike) -> None:
    """Removes an empty folder; one that holds anything else stays."""
    with contextlib.suppress(OSError):
        os.rmdir(holder)


def _no_link(folder: Path, reason: str) -> UserError:
    return UserError(
        f"the path {str(folder)!r} has characters that need a link in the folder for "
        f"temporary files ({reason}): choose another --workdir, or another folder with "
        "the environment variable TMPDIR"
    )
