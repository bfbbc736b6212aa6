"""Reads streamed images before training that are first used after hours of it.

Those of the training split need no such pass: the first epoch reads them, if not what
measures the standardisation has done so.
"""

import functools
import hashlib
import time
from collections.abc import Iterable

import numpy as np
import PIL

from cnnjax.data import array_cache
from cnnjax.data.cutting.geometry import draw
from cnnjax.data.split import Split, StreamedSplit
from cnnjax.data.streaming import PIECE, ReadAhead, num_cores

KIND = "readable"
MOST_BYTES = 2**22  # an entry is one number
# Images that are read to find out how fast that is, and those of one call.
MEASURED, SMALL_PIECE = 512, 16


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


def _discard(split: StreamedSplit, places: np.ndarray, *draws: np.ndarray) -> None:
    split.read(places, *draws)


def reading_rate(split: StreamedSplit) -> float:
    """Images per second of a split that is streamed, read as training does.

    With a thread on each core; at most `MEASURED` images from all over the split, the
    first piece of which is read before, so that what a first look costs is not counted.

    Raises:
      UserError: an image that cannot be read.
    """
    num = min(MEASURED, len(split))
    places = np.linspace(0, len(split) - 1, num).astype(int)
    pieces = np.array_split(places, max(1, num // SMALL_PIECE))
    calls = []
    for piece in pieces:
        drawn = (draw(0, np.zeros_like(piece), piece),) if split.drawn else ()
        calls.append(functools.partial(_discard, split, piece, *drawn))
    calls[0]()
    start = time.perf_counter()
    reading = ReadAhead(iter(calls), len(calls), 0)
    try:
        for _ in calls:
            reading.next()
    finally:
        reading.close()
    return num / (time.perf_counter() - start)
