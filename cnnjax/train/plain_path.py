"""A folder by a name without special characters, for libraries that interpret them.

Orbax looks for files by pattern and TensorStore takes names for addresses: in a folder
with brackets or a backslash in its path they write what they cannot read again.
"""

import os
import re
import tempfile
from pathlib import Path

from cnnjax.errors import UserError

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
        self.path, self._holder = folder, None
        if _PLAIN.fullmatch(str(folder)):
            return
        try:
            # Made anew for each process: a name that others can guess could be theirs.
            self._holder = tempfile.TemporaryDirectory(prefix="cnnjax-")
            # Processes that share a folder must call it alike at its end.
            self.path = Path(self._holder.name, "checkpoints")
            os.symlink(folder, self.path, target_is_directory=True)
        except OSError as error:
            raise _no_link(folder, error.strerror or str(error)) from error
        if not _PLAIN.fullmatch(str(self.path)):
            self.close()
            raise _no_link(folder, f"{self.path} has special characters too")

    def close(self) -> None:
        """Removes the link, if there is one; never what it leads to."""
        if self._holder is not None:
            self._holder.cleanup()


def _no_link(folder: Path, reason: str) -> UserError:
    return UserError(
        f"the path {str(folder)!r} has characters that need a link in the folder for "
        f"temporary files ({reason}): choose another --workdir, or another folder with "
        "the environment variable TMPDIR"
    )
