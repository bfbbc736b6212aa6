"""Files of records of a prepared TFDS set: how many, and how large when unpacked.

ArrayRecord is Riegeli's format with an index at the end. What a chunk unpacks to stands
in its header, and its decoder holds to that; so sizes are known without unpacking
(google/riegeli, doc/riegeli_records_file_format.md).
"""

import contextlib
import errno
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from PIL import Image

from cnnjax.data.sources.description import MOST_SHARD_BYTES, check_shard
from cnnjax.errors import UserError, printable
from cnnjax.files import open_regular
from cnnjax.texts import sentence

MOST_SHOWN = 200  # characters of what a library says
BLOCK = 1024  # records read at once, at most
BLOCK_BYTES = 2**26  # of which they unpack to; one record may be larger
# Of the chunk that a record lies in, which is unpacked as a whole.
MOST_CHUNK = 2**30
BESIDE = 2**24  # bytes of a record that are not its image
# Errors of the system that say nothing of what is in a file.
_REFUSED = tuple(
    os.strerror(number)
    for number in (
        *(errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENXIO, errno.ENODEV),
        *(errno.EACCES, errno.EPERM, errno.EMFILE, errno.ENFILE, errno.ENOMEM),
    )
)
# Riegeli: blocks with a header of their own, within which chunks have theirs.
_BLOCK, _BLOCK_HEADER, _USABLE = 2**16, 24, 2**16 - 24
# Hash, bytes of data, hash, type and number of records, bytes of records.
_CHUNK = struct.Struct("<8xQ8xQQ")
_KINDS, _WITH_RECORDS = b"smprt", b"rt"


def most_of_record(feature: Any) -> int:
    """Bytes that a record of a set may unpack to.

    A file of an image is smaller than its pixels, but for noise that is stored badly;
    so twice the pixels, and `BESIDE` for labels, boxes and the like.

    Args:
      feature: TFDS's of the image. Without a shape, its images are at most what Pillow
        decodes.
    """
    *sides, channels = feature.shape
    pixels = 2 * (Image.MAX_IMAGE_PIXELS or 2**27)
    if None not in sides:
        pixels = int(np.prod(sides))
    bytes_each = (channels or 4) * np.dtype(feature.np_dtype).itemsize
    return 2 * pixels * bytes_each + BESIDE


def record_sizes(directory: Path, path: os.PathLike, most: int) -> np.ndarray:
    """What each record of a file takes in memory, from headers alone.

    Args:
      directory: of the set.
      path: of a file of ArrayRecord in it.
      most: bytes of a record.

    Returns:
      int64 [records]; of records that are packed together, the bytes of all of them.

    Raises:
      UserError: larger ones; a file that lies elsewhere.
      ValueError: no file of ArrayRecord.
    """
    found: list[tuple[int, int]] = []
    if check_shard(directory, path) is None:
        return np.zeros(0, np.int64)  # its reader says it
    with open_regular(path, MOST_SHARD_BYTES) as file:
        for kind, records, size in _chunks(file):
            if kind not in _KINDS:
                raise ValueError("no file of records, or a damaged one")
            if kind not in _WITH_RECORDS:
                continue
            if size > min(most * records, MOST_CHUNK):
                what = f"{records:,} records packed together" * (records > 1)
                raise UserError(
                    f"{printable(path)} has {what or 'a record'} that would take "
                    f"{size / 1e6:,.0f} MB of memory: with an image of this set one "
                    f"takes at most {most / 1e6:,.0f} MB, and those packed together "
                    f"{MOST_CHUNK / 1e6:,.0f} MB; choose another config.data.name"
                )
            found.append((size, records))
    # The last two have the index and the place of the index.
    sizes, times = np.array(found[:-2], np.int64).reshape(-1, 2).T
    return np.repeat(sizes, times)


def _chunks(file: BinaryIO) -> Iterator[tuple[int, int, int]]:
    """(kind, number of records, bytes when unpacked) of each chunk."""
    begin, end = 0, os.fstat(file.fileno()).st_size
    while begin < end:
        file.seek(begin)
        raw = file.read(_CHUNK.size + _BLOCK_HEADER)
        to_block = -begin % _BLOCK
        raw = raw[:to_block] + raw[to_block + _BLOCK_HEADER :]
        if len(raw) < _CHUNK.size:
            return
        data, kind, size = _CHUNK.unpack_from(raw)
        kind, records = kind & 255, kind >> 8
        yield kind, records, size
        length = _CHUNK.size + data
        blocks = (length + (begin + _USABLE - 1) % _BLOCK) // _USABLE
        # A chunk is as long as it has records, and ends where one may begin.
        least = begin + records
        least += max(0, -least % _BLOCK - (_USABLE - 1))
        begin = max(begin + length + blocks * _BLOCK_HEADER, least)


def blocks(indices: np.ndarray, sizes: np.ndarray) -> Iterator[np.ndarray]:
    """Indices in blocks, each of at most `BLOCK` and about `BLOCK_BYTES` bytes.

    Args:
      indices: of records, int [n].
      sizes: of all records, as `record_sizes`.
    """
    for start in range(0, len(indices), BLOCK):
        block = indices[start : start + BLOCK]
        full = np.cumsum(sizes[block]) // BLOCK_BYTES
        yield from np.split(block, np.flatnonzero(np.diff(full)) + 1)


def require_records(directory: Path, info: Any, pools: tuple[str, ...]) -> None:
    """Refuses a set of which a file holds more or fewer records than it says.

    The same of a file that two splits have, or one split twice.

    Args:
      directory: of the set.
      info: TFDS's, of the set.
      pools: the splits that are read, where there are such.
    """
    from array_record.python.array_record_module import ArrayRecordReader

    found: dict[tuple[int, int], str] = {}  # file -> pool
    for pool in pools:
        if pool not in info.splits:
            continue
        for part in info.splits[pool].file_instructions:
            file = check_shard(directory, part.filename)
            if file in found:
                raise UserError(
                    f"{printable(part.filename)} of split {pool!r} is a file of split "
                    f"{found[file]!r} as well: delete that folder and prepare it again"
                )
            if file:
                found[file] = pool
            with readable(directory, pool):
                reader = ArrayRecordReader(os.fspath(part.filename))
                held = reader.num_records()
                reader.close()
            if held != part.examples_in_shard:
                raise UserError(
                    f"{printable(part.filename)} holds {held:,} records, but "
                    f"dataset_info.json says {part.examples_in_shard:,}: delete that "
                    "folder and prepare it again"
                )


@contextlib.contextmanager
def readable(directory: Path, split: str) -> Iterator[None]:
    """Says in one sentence what keeps records from being read."""
    from google.protobuf.message import DecodeError

    what = f"the records of split {split!r} in {directory}"
    try:
        yield
    except MemoryError as error:
        raise UserError(
            f"{what} take more memory than is free: close other programs, or choose "
            "another config.data.name"
        ) from error
    except (RuntimeError, ValueError, IndexError, DecodeError) as error:
        reason = sentence(error, MOST_SHOWN)
        if any(words in str(error) for words in _REFUSED):
            raise UserError(
                f"{what} cannot be read now ({reason}): look after the disk or its "
                "network, or permit reading, and run the command again"
            ) from error
        raise UserError(
            f"{what} are missing, cut short or corrupt ({reason}): delete that folder "
            "and prepare it again"
        ) from error
