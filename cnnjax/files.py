"""Opens files that may be anything: pipes, devices, larger than any of their kind.

And writes them so that they are never half written.
"""

import errno
import os
import stat
import tempfile
from io import BufferedReader
from pathlib import Path

from cnnjax.errors import UserError, printable, remedy

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


def write_whole(path: Path, content: bytes) -> None:
    """Writes a file that is, at any moment and after any kill, the old or the new one.

    Temporary file, fsync, rename; the folder is created if missing.

    Raises:
      OSError: no permission, disk full.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        # mkstemp makes files private; results are to be read by colleagues.
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_failure(path: str | os.PathLike, error: OSError) -> UserError:
    """The error for a file or folder that cannot be written, to be raised."""
    reason = error.strerror or str(error)
    files = [above for above in Path(path).parents if os.path.isfile(above)]
    if files:
        return UserError(
            f"cannot write {path}: {files[0]} is a file, not a folder; choose another "
            "folder with --workdir"
        )
    return UserError(f"cannot write {path}: {reason}; {remedy(error)}")


def _umask() -> int:
    """The process's umask; the only way to read it is to set it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask
