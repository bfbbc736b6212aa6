"""Decoded images kept on disk: decoding CIFAR-10 takes longer than all else at a start.

Entries are zip files, whose checksums tell a damaged one.
"""

import contextlib
import hashlib
import os
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import PIL

from cnnjax.cache import cache_folder, remove_oldest

# Oldest entries go first beyond this; sets that would fill half of it are not kept.
MOST_BYTES = 4 * 2**30
_DAMAGED = (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile)

Decoded = tuple[np.ndarray, np.ndarray]


def decoded_once(
    files: Iterable[Path], what: object, decode: Callable[[], Decoded]
) -> Decoded:
    """Images and labels as `decode` gives them, or as it gave them the last time.

    Args:
      files: what the images are read from; if one of them changes, `decode` is called.
      what: which images, and how they are decoded; told apart by its `repr`.
      decode: reads images uint8 and labels int32.

    Returns:
      (images, labels).
    """
    folder = cache_folder("decoded")
    if folder is None:
        return decode()
    path = folder / f"{_key(files, what)}.npz"
    # np.load leaves files open where it is given a name and finds damage.
    with contextlib.suppress(*_DAMAGED), open(path, "rb") as file:
        entry = np.load(file)
        return entry["images"], entry["labels"]
    images, labels = decode()
    if 2 * images.nbytes <= MOST_BYTES:
        # A folder that cannot be written costs the cache and nothing else.
        with contextlib.suppress(OSError):
            _store(path, images, labels)
    return images, labels


def _key(files: Iterable[Path], what: object) -> str:
    # Pillow's releases may decode JPEG to other pixels.
    parts = [PIL.__version__, repr(what)]
    for file in sorted(files):
        stat = file.stat()
        parts.append(f"{file.resolve()} {stat.st_size} {stat.st_mtime_ns}")
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def _store(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    try:
        with open(handle, "wb") as file:
            np.savez(file, images=images, labels=labels)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    remove_oldest(path.parent.iterdir(), MOST_BYTES)
