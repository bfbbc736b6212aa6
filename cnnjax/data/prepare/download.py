"""Downloads that resume where they broke off, verified by checksum."""

import contextlib
import hashlib
import http
import os
import re
import stat
import sys
import urllib.error
from pathlib import Path
from typing import BinaryIO

from rich.console import Console
from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

from cnnjax.data.prepare.archive import Archive
from cnnjax.data.prepare.connection import Broken, Connection
from cnnjax.errors import UserError
from cnnjax.files import open_regular
from cnnjax.texts import sentence

ATTEMPTS = 3  # connections per call; each resumes where the one before broke off
BLOCK = 1 << 16  # bytes
MOST_SHOWN = 100  # characters of what a server says
_LENGTH = re.compile(r"(\d{1,18})")
_RANGE = re.compile(r"bytes (\d{1,18})-.*")


def download(
    url: str, archive: Archive, folder: Path, *, one_host: bool = False
) -> Path:
    """Downloads a file unless it is there, and verifies it.

    Until it is complete the file is called `<name>.part`; nothing is trusted before its
    checksum is right. No byte beyond its known size is written, and no link is
    followed.

    Args:
      url: full address.
      archive: name, size and checksum of the file.
      folder: where to put it.
      one_host: whether a redirection to another host is refused.

    Returns:
      Path of the verified file.

    Raises:
      UserError: no connection, a refusal, a break, or a wrong checksum; then the bad
        file is removed.
    """
    path = folder / archive.file
    if not path.exists():
        part = path.with_name(f"{path.name}.part")
        _fetch(url, archive, part, one_host)
        os.replace(part, path)
    _verify(url, archive, path)
    return path


def _fetch(url: str, archive: Archive, part: Path, one_host: bool) -> None:
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    broken: Exception | None = None
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        if not console.is_terminal:
            console.print(f"downloading {url} ({archive.num_bytes / 1e6:.1f} MB)")
        task = bar.add_task(archive.file, total=archive.num_bytes)
        for _ in range(ATTEMPTS):
            try:
                _append(
                    url,
                    archive,
                    part,
                    one_host,
                    lambda done: bar.update(task, completed=done),
                )
            except urllib.error.HTTPError as error:
                error.close()
                reason = sentence(error.reason, MOST_SHOWN)
                raise UserError(
                    f"{url} answered {error.code} {reason}: try again "
                    "later, or give a mirror with --base_url"
                ) from error
            except urllib.error.URLError as error:
                reason = sentence(error.reason, MOST_SHOWN)
                raise UserError(
                    f"cannot reach {url} ({reason}): preparing needs a "
                    "network; elsewhere prepared, the folder can be copied here"
                ) from error
            except Broken as error:
                broken = error
            else:
                return
    raise UserError(
        f"the download of {url} broke off {ATTEMPTS} times, "
        f"{_held(part, archive):,} of {archive.num_bytes:,} bytes are here "
        f"({sentence(broken, MOST_SHOWN)}): the same command resumes from there"
    ) from broken


def _append(url: str, archive: Archive, part: Path, one_host: bool, show) -> None:
    """One connection: asks for the bytes that are not here yet, and appends them."""
    done = _held(part, archive)
    if done == archive.num_bytes:  # its checksum will tell
        return
    headers = {"User-Agent": "cnnjax", "Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    try:
        connection = Connection(url, headers, archive.num_bytes, one_host)
    except urllib.error.HTTPError as error:
        if done and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            part.unlink()
            raise Broken("its file is shorter than what is here of it") from error
        raise
    with contextlib.closing(connection):
        # A server that knows no ranges sends the whole file with status 200.
        partial = connection.response.status == http.HTTPStatus.PARTIAL_CONTENT
        if partial and connection.number("Content-Range", _RANGE) not in (None, done):
            raise Broken("it sent another part of the file than was asked for")
        resumed = partial and done > 0
        done = done if resumed else 0
        length = connection.number("Content-Length", _LENGTH)
        if length is not None and done + length != archive.num_bytes:
            raise UserError(
                f"{url} has {done + length:,} bytes, and {archive.num_bytes:,} were "
                "expected: it is another file; give another mirror with --base_url"
            )
        with _open_part(part, resumed) as file:
            while done < archive.num_bytes:
                block = connection.read(min(BLOCK, archive.num_bytes - done))
                if not block:
                    missing = archive.num_bytes - done
                    raise Broken(f"connection closed {missing:,} bytes early")
                file.write(block)
                done += len(block)
                show(done)


def _held(part: Path, archive: Archive) -> int:
    """Bytes to go on from; what is no part of the file is taken out of the way.

    A link is removed, and not what it leads to.
    """
    try:
        found = os.lstat(part)
    except FileNotFoundError:
        return 0
    ours = stat.S_ISREG(found.st_mode) and found.st_nlink == 1
    if ours and found.st_size <= archive.num_bytes:
        return found.st_size
    part.unlink()
    return 0


def _open_part(part: Path, resumed: bool) -> BinaryIO:
    """Opens a file to append to or, where it is not to be resumed, a new one."""
    how = os.O_APPEND if resumed else os.O_CREAT | os.O_EXCL
    if not resumed:
        part.unlink(missing_ok=True)
    never = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    return os.fdopen(os.open(part, os.O_WRONLY | how | never, 0o666), "ab")


def _verify(url: str, archive: Archive, path: Path) -> None:
    with open_regular(path, sys.maxsize) as file:
        size = os.fstat(file.fileno()).st_size
        if size == archive.num_bytes:
            found = hashlib.file_digest(file, "sha256").hexdigest()
            if found == archive.sha256:
                return
            words = f"SHA-256 {found[:12]}..., {size:,} bytes"
        else:
            words = f"{size:,} bytes"
    path.unlink()
    raise UserError(
        f"{url} has the wrong checksum ({words}; expected {archive.sha256[:12]}..., "
        f"{archive.num_bytes:,} bytes): the file was removed; try again, or give "
        "another mirror with --base_url"
    )
