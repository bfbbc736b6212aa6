"""Downloads that resume where they broke off, verified by checksum."""

import hashlib
import http.client
import os
import ssl
import urllib.error
import urllib.request
from pathlib import Path

from rich.console import Console
from rich.progress import DownloadColumn, Progress, TransferSpeedColumn

from cnnjax.data.prepare.archive import Archive
from cnnjax.errors import UserError

ATTEMPTS = 3  # connections per call; each resumes where the one before broke off
TIMEOUT_SECONDS = 30.0
BLOCK = 1 << 16  # bytes
# What a connection that breaks raises; a full disk is not among them.
_BREAKS = (ConnectionError, TimeoutError, ssl.SSLError, http.client.HTTPException)


def download(url: str, archive: Archive, folder: Path) -> Path:
    """Downloads a file unless it is there, and verifies it.

    Until it is complete the file is called `<name>.part`; nothing is trusted before its
    checksum is right.

    Args:
      url: full address.
      archive: name, size and checksum of the file.
      folder: where to put it.

    Returns:
      Path of the verified file.

    Raises:
      UserError: no connection, a refusal, a break, or a wrong checksum; then the bad
        file is removed.
    """
    path = folder / archive.file
    if not path.exists():
        part = path.with_name(f"{path.name}.part")
        _fetch(url, archive, part)
        os.replace(part, path)
    _verify(url, archive, path)
    return path


def _fetch(url: str, archive: Archive, part: Path) -> None:
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns(), DownloadColumn(), TransferSpeedColumn())
    broken: Exception | None = None
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        if not console.is_terminal:
            console.print(f"downloading {url} ({archive.num_bytes / 1e6:.1f} MB)")
        task = bar.add_task(archive.file, total=archive.num_bytes)
        for _ in range(ATTEMPTS):
            try:
                _append(url, part, lambda done: bar.update(task, completed=done))
            except urllib.error.HTTPError as error:
                raise UserError(
                    f"{url} answered {error.code} {error.reason}: try again later, or "
                    "give a mirror with --base_url"
                ) from error
            except urllib.error.URLError as error:
                raise UserError(
                    f"cannot reach {url} ({error.reason}): preparing needs a network; "
                    "elsewhere prepared, the folder can be copied here"
                ) from error
            except _BREAKS as error:
                broken = error
            else:
                return
    done = part.stat().st_size if part.exists() else 0
    raise UserError(
        f"the download of {url} broke off {ATTEMPTS} times, {done:,} of "
        f"{archive.num_bytes:,} bytes are here ({broken}): the same command resumes "
        "from there"
    ) from broken


def _append(url: str, part: Path, show) -> None:
    """One connection: asks for the bytes that are not here yet, and appends them."""
    done = part.stat().st_size if part.exists() else 0
    headers = {"User-Agent": "cnnjax", "Accept-Encoding": "identity"}
    if done:
        headers["Range"] = f"bytes={done}-"
    request = urllib.request.Request(url, headers=headers)
    try:
        response = urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS)
    except urllib.error.HTTPError as error:
        # Nothing after the last byte: the file was complete, its checksum will tell.
        if done and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return
        raise
    with response:
        # A server that knows no ranges sends the whole file with status 200.
        resumed = response.status == http.HTTPStatus.PARTIAL_CONTENT
        done = done if resumed else 0
        expected = done + int(response.headers.get("Content-Length", 0))
        with part.open("ab" if resumed else "wb") as file:
            while block := response.read(BLOCK):
                file.write(block)
                done += len(block)
                show(done)
    if done < expected:
        raise ConnectionError(f"connection closed {expected - done:,} bytes early")


def _verify(url: str, archive: Archive, path: Path) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != archive.sha256:
        size = path.stat().st_size
        path.unlink()
        raise UserError(
            f"{url} has the wrong checksum (SHA-256 {found[:12]}..., {size:,} bytes; "
            f"expected {archive.sha256[:12]}..., {archive.num_bytes:,} bytes): the "
            "file was removed; try again, or give another mirror with --base_url"
        )
