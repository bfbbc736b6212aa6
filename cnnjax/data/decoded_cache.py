"""Decoded images kept on disk: decoding is the longest part of a start."""

import hashlib
import os
from collections.abc import Callable, Iterable

import numpy as np
import PIL

from cnnjax.data import array_cache
from cnnjax.data.images import DECODING

# Oldest entries go first beyond this; sets that would fill half of it are not kept.
MOST_BYTES = 4 * 2**30
KIND = "decoded"

Decoded = tuple[np.ndarray, np.ndarray]


def decoded_once(
    files: Iterable[str | os.PathLike], what: object, decode: Callable[[], Decoded]
) -> Decoded:
    """Images and labels that `decode` gives, or gave the last time.

    Args:
      files: what the images are read from; if one of them changes, `decode` is called.
      what: which images, and how they are decoded; told apart by its `repr`.
      decode: reads images uint8 and labels int32.

    Returns:
      (images, labels).
    """
    # Pillow's releases may decode JPEG to other pixels.
    key = key_of(files, (PIL.__version__, DECODING, what))
    found = array_cache.find(KIND, key, ("images", "labels"))
    if found is not None:
        return found[0], found[1]
    images, labels = decode()
    array_cache.keep(KIND, key, MOST_BYTES, images=images, labels=labels)
    return images, labels


def key_of(files: Iterable[str | os.PathLike], what: object) -> str:
    """A name for what was made of files, which changes when one of them does.

    A copy may be given the time of what it replaces (`cp -p`); the time of the change
    itself, and the number of the file, cannot be chosen.
    """
    digest = hashlib.sha256(repr(what).encode())
    for file in sorted(map(os.path.abspath, files)):
        stat = os.stat(file)
        times = f"{stat.st_mtime_ns} {stat.st_ctime_ns}"
        digest.update(os.fsencode(f"\n{file} {stat.st_size} {times} {stat.st_ino}"))
    return digest.hexdigest()[:32]
