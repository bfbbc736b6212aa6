"""Reads streamed images before training that are first used after hours of it.

Those of the training split need no such pass: the first epoch reads them, if not what
measures the standardisation has done so.
"""

import functools
import hashlib
from collections.abc import Iterable

import numpy as np
import PIL

from cnnjax.data import array_cache
from cnnjax.data.split import Split, StreamedSplit
from cnnjax.data.streaming import PIECE, ReadAhead, num_cores

KIND = "readable"
MOST_BYTES = 2**22  # an entry is one number


def require_readable(
    splits: Iterable[Split | StreamedSplit],
    fingerprint: str,
    *,
    process: int = 0,
    num_processes: int = 1,
    stop: object = None,
) -> None:
    """Decodes each streamed image once; what could be read is kept in the cache.

    Args:
      splits: those that come from files are read.
      fingerprint: of the data set.
      process: number of this process, from 0, which reads its local slice.
      num_processes: how many there are.
      stop: ends the pass, without a result, once it is true.

    Raises:
      UserError: an image that cannot be read, or that has not the shape of the others.
    """
    for split in splits:
        if not (split.streamed and split.from_files):
            continue
        shard = np.arange(process, len(split), num_processes)
        # Pillow's releases may differ in what they read.
        known = (fingerprint, split.stamp, PIL.__version__)
        words = (*known, split.name, process, num_processes)
        key = hashlib.sha256(repr(words).encode()).hexdigest()[:32]
        if array_cache.find(KIND, key, ("count",)) is not None:
            continue
        if not _read(split, shard, stop):
            return
        array_cache.keep(KIND, key, MOST_BYTES, count=np.array(len(shard)))


def _read(split: StreamedSplit, shard: np.ndarray, stop: object) -> bool:
    """Whether all was read before `stop`."""
    pieces = [shard[start : start + PIECE] for start in range(0, len(shard), PIECE)]
    calls = (functools.partial(_discard, split, piece) for piece in pieces)
    reading = ReadAhead(calls, 2 * num_cores(), 0)
    try:
        for _ in pieces:
            if stop:
                return False
            reading.next()
    finally:
        reading.close()
    return True


def _discard(split: StreamedSplit, places: np.ndarray) -> None:
    split.read(places)
