"""Preparing image sets on a machine with a network: download, verify, write records."""

import contextlib
import errno
import functools
import importlib.util
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from cnnjax.data.prepare import cifar, mnist
from cnnjax.data.prepare.archive import ImageSet
from cnnjax.data.prepare.connection import check_address
from cnnjax.data.prepare.download import download
from cnnjax.data.prepare.write import (
    check_known,
    folder_of,
    write_images,
    write_with_tensorflow,
)
from cnnjax.data.sources.description import require_utf8
from cnnjax.data.sources.source import (
    MissingData,
    check_directory,
    data_folder,
    reading,
)
from cnnjax.data.sources.tfds import PREFIX, check_prepared, find_prepared
from cnnjax.errors import UserError, shown
from cnnjax.lock import locked
from cnnjax.screen import say

# Prepared without TensorFlow. Add a set: its file, and one line here.
SETS: dict[str, ImageSet] = {**cifar.SETS, **mnist.SETS}

# Free space wanted, in multiples of the archives: archive, unpacked pixels, records.
SPACE_FACTOR = 4


def prepare(name: str, data_dir: str, *, base_url: str | None = None) -> Path:
    """Makes a set readable for `load_dataset` and for `tfds.data_source`.

    CIFAR-10, CIFAR-100, MNIST and Fashion-MNIST need no TensorFlow: the official
    archive is downloaded (a broken download resumes where it broke off), compared with
    its checksum, and written as PNG in ArrayRecord files under TFDS's name and version.
    A set is complete or not there at all: files are written aside and renamed.

    Args:
      name: a key of `SETS`, or any other name that TFDS knows, which then needs the
        extra `prepare` (TensorFlow).
      data_dir: folder to prepare into; made if it is not there.
      base_url: folder of a mirror to download from, and no other server is asked;
        None = the official address, and where that leads to.

    Returns:
      The folder with the records; at once if the set is there already.

    Raises:
      UserError: no network, a wrong checksum, no permission, no space, no TensorFlow; a
        set that is there and broken; an address for a set that TFDS downloads.
    """
    name = name.removeprefix(PREFIX)
    if not data_dir:
        raise UserError("--data_dir is empty: give the folder to prepare the set in")
    if name not in SETS:
        check_known(name)
    given = base_url is not None
    base_url = _address(name, base_url)
    root = data_folder(data_dir).absolute()
    require_utf8(root)
    with contextlib.suppress(MissingData):
        return _ready(name, root)
    busy, more = f"{name} is being prepared in {root}", "choose another --data_dir"
    lock = root / f".prepare-{name.replace('/', '-')}.lock"
    with (
        _writable(root),
        locked(
            lock, busy, otherwise=more, say=functools.partial(say, stream=sys.stderr)
        ),
    ):
        # Another process may just have done it.
        with contextlib.suppress(MissingData):
            return _ready(name, root)
        return _prepare(name, root, base_url, given)


def _ready(name: str, root: Path) -> Path:
    """The folder of a set that is there, and whole."""
    with reading(root):
        directory = find_prepared(name, str(root))
        check_prepared(directory)
        return directory


def _address(name: str, base_url: str | None) -> str | None:
    """The address to ask."""
    if base_url is None:
        return SETS[name].base_url if name in SETS else None
    if name not in SETS:
        raise UserError(
            f"--base_url={shown(base_url)} cannot be used for {name}, which TFDS "
            f"downloads from its own addresses: leave it out; {', '.join(SETS)} come "
            "from the address that is given"
        )
    return check_address(base_url)


def _prepare(name: str, root: Path, base_url: str | None, given: bool) -> Path:
    if base_url is None:
        _prepare_other(name, root)
        return _ready(name, root)
    image_set, downloads = SETS[name], root / "downloads" / name
    folder_of(name, root)
    _check_space(image_set, root)
    downloads.mkdir(parents=True, exist_ok=True)
    files = {
        archive.file: download(
            f"{base_url}/{archive.file}", archive, downloads, one_host=given
        )
        for archive in image_set.archives
    }
    # A preparation that was killed leaves its unfinished folder; with the lock held, no
    # other process is writing there.
    for stale in (root / name).glob("incomplete.??????_*"):
        if stale.is_dir() and not stale.is_symlink():
            shutil.rmtree(stale)
    write_images(name, root, downloads, image_set.read(files))
    directory = _ready(name, root)
    for path in files.values():
        path.unlink()
    # TFDS leaves one that is empty; other sets may still have theirs beside it.
    for folder in (downloads / "extracted", downloads, downloads.parent):
        with contextlib.suppress(OSError):
            folder.rmdir()
    return directory


def _prepare_other(name: str, root: Path) -> None:
    if importlib.util.find_spec("tensorflow") is None:
        raise UserError(
            f"preparing {name} needs TensorFlow, which is not installed: install the "
            f"extra with pip install -e '.[prepare]'; without it {', '.join(SETS)} can "
            "be prepared"
        )
    write_with_tensorflow(name, root)


def _check_space(image_set: ImageSet, root: Path) -> None:
    wanted = SPACE_FACTOR * sum(archive.num_bytes for archive in image_set.archives)
    free = shutil.disk_usage(root).free
    if free < wanted:
        raise UserError(
            f"{root} has {free / 1e6:.0f} MB free, preparing takes "
            f"{wanted / 1e6:.0f} MB: make room or choose another --data_dir"
        )


@contextlib.contextmanager
def _writable(root: Path) -> Iterator[None]:
    """Turns errors of the file system into one sentence."""
    try:
        root.mkdir(parents=True, exist_ok=True)
        check_directory(root)
        if not os.access(root, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(root))
        yield
    except OSError as error:
        raise UserError(
            f"cannot write to {error.filename or root} ({error.strerror or error}): "
            "change --data_dir or its permissions, or make room"
        ) from error
