"""Sources whose images are files: how their bytes are found, and decoded."""

import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from cnnjax.data.cutting.cuts import cutting
from cnnjax.data.images import decode_all, decoded_shape
from cnnjax.data.request import Request
from cnnjax.data.sources.archives.tar import Members
from cnnjax.data.sources.source import Encoded, Read, reading
from cnnjax.errors import printable
from cnnjax.files import read_regular

# As many pixels as Pillow decodes, uncompressed and with 16 bits a channel, are larger.
MOST_FILE_BYTES = 2**30


def decoding(
    encoded: Encoded,
    labels: dict[str, np.ndarray],
    request: Request,
    channels: int = 0,
) -> tuple[tuple[int, int, int], Read]:
    """How the images of a source are read.

    Args:
      encoded: gives their bytes.
      labels: pool -> integers [size].
      request: what size and channels are wanted.
      channels: of all images, where they are known; 0 = those of the first one.

    Returns:
      (shape (H, W, C) of the first training image, `Source.read`).

    Raises:
      UserError: the first image is broken.
    """
    size, convert = request.image_size, request.channels == 1
    geometry = request.geometry
    name, first = next(encoded("train", np.array([0])))
    shape = decoded_shape(first, name, size, request.channels or channels)

    def read(
        pool: str,
        indices: np.ndarray,
        draws: np.ndarray | None = None,
        views: bool = False,
    ) -> tuple[np.ndarray, np.ndarray]:
        files, num = encoded(pool, indices), len(indices)
        cut = cutting(geometry, size, draws, views)
        pixels = decode_all(files, num, shape[2], size, convert, cut)
        return pixels, labels[pool][indices].astype(np.int32)

    return shape, read


def in_files(root: str, paths: Mapping[str, Sequence[str]]) -> Encoded:
    """Images that are files of their own.

    Args:
      root: of the set.
      paths: pool -> of its images below the root.
    """

    def encoded(pool: str, indices: np.ndarray) -> Iterator[tuple[str, bytes]]:
        for index in indices:
            path = os.path.join(root, paths[pool][index])
            with reading(path):
                content = read_regular(path, MOST_FILE_BYTES)
            yield printable(path), content

    return encoded


def in_archives(chosen: dict[str, tuple[Members, np.ndarray]]) -> Encoded:
    """Images in archives.

    Args:
      chosen: pool -> (what is in its archives, numbers of the images among that).
    """

    def encoded(pool: str, indices: np.ndarray) -> Iterator[tuple[str, bytes]]:
        members, images = chosen[pool]
        for index in images[indices]:
            yield members.name(index), members.content(index)

    return encoded
