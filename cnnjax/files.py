"""Opens files that may be anything: pipes, devices, larger than any of their kind."""

import errno
import os
import stat
from io import BufferedReader

from cnnjax.errors import UserError, printable

_KINDS = {
    stat.S_ISDIR: "a folder",
    stat.S_ISFIFO: "a pipe",
    stat.S_ISCHR: "a device",
    stat.S_ISBLK: "a device",
    stat.S_ISSOCK: "a socket",
}


class UnfitFile(UserError):
    """What stands at the path is no regular file, or larger than such a file can be.

    Args:
      path: the path.
      reason: what stands there, in words that follow its name.
    """

    def __init__(self, path: str | os.PathLike, reason: str):
        super().__init__(f"{printable(path)} {reason}")
        self.reason = reason


def open_regular(
    path: str | os.PathLike, most: int, *, follow: bool = True
) -> BufferedReader:
    """Opens a regular file for reading.

    Never waits, as opening a pipe does, and never reads from a device.

    Args:
      path: of the file.
      most: bytes that a file of this kind can have.
      follow: whether a link to a file will do.

    Raises:
      UnfitFile: no regular file, or larger than `most`.
      OSError: it is missing, or cannot be opened now.
    """
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        handle = os.open(path, flags | (0 if follow else os.O_NOFOLLOW))
    except OSError as error:
        if error.errno == errno.ELOOP and not follow:
            raise UnfitFile(path, "is a link, not a file") from error
        # The way in which a socket cannot be opened, or a device that is not there.
        if error.errno in (errno.ENXIO, errno.ENODEV):
            _require_regular(path, os.stat(path))
        raise
    try:
        found = os.fstat(handle)
        _require_regular(path, found)
        if found.st_size > most:
            raise UnfitFile(
                path,
                f"has {found.st_size:,} bytes, and at most {most:,} are expected there",
            )
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def _require_regular(path: str | os.PathLike, found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        kind = next((k for test, k in _KINDS.items() if test(found.st_mode)), "odd")
        raise UnfitFile(path, f"is {kind}, not a file")


def read_regular(path: str | os.PathLike, most: int) -> bytes:
    """The content of a regular file; arguments and errors as of `open_regular`.

    A file that grows while it is read is cut at `most` bytes.
    """
    with open_regular(path, most) as file:
        return file.read(most)
