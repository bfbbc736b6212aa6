"""Seeded random images with a signal per class, for tests and benchmarks."""

import math

import numpy as np

from cnnjax.data.request import Request
from cnnjax.data.sources.source import Pool, Source

DEFAULT_SIZE = 32  # pixels
DEFAULT_CLASSES = 10
DEFAULT_TRAIN = 1024
DEFAULT_TEST = 256
CHANNELS = 3
# Cells of the coarse pattern of a class: coarse enough to survive a shifted crop.
GRID = 4
# Streams of the counter-based generator.
_PATTERN, _TRAIN, _TEST = 0, 1, 2


def random_bytes(seed: int, stream: int, index: int, count: int) -> np.ndarray:
    """The first `count` bytes of the stream of (seed, stream, index), uint8.

    Raw output of Philox is specified, so the bytes are the same for every NumPy.
    """
    generator = np.random.Philox(key=[seed, stream], counter=[0, 0, 0, index])
    return generator.random_raw(-(-count // 8)).astype("<u8").view(np.uint8)[:count]


def class_patterns(seed: int, num_classes: int, size: int) -> np.ndarray:
    """One blocky pattern a class, uint8 [num_classes, size, size, CHANNELS]."""
    cells = np.arange(size) * GRID // size  # [size], which cell a pixel belongs to
    grids = [
        random_bytes(seed, _PATTERN, c, GRID * GRID * CHANNELS)
        for c in range(num_classes)
    ]
    coarse = np.stack(grids).reshape(num_classes, GRID, GRID, CHANNELS)
    return coarse[:, cells][:, :, cells]


def open_source(request: Request) -> Source:
    """Images that are half pattern of their class, half noise.

    Image i does not depend on how many are asked for. Labels take turns, so classes are
    balanced.

    Args:
      request: pools grow with `num_train`, `num_validation` and `num_test`;
        `split_seed` is the seed of the images; `image_size` and `num_classes` have
        defaults above.
    """
    size = request.image_size or DEFAULT_SIZE
    num_classes = request.num_classes or DEFAULT_CLASSES
    shape = (size, size, CHANNELS)
    patterns = class_patterns(request.split_seed, num_classes, size)

    def read(pool: str, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        stream = _TRAIN if pool == "train" else _TEST
        labels = (indices % num_classes).astype(np.int32)
        images = np.empty((len(indices), *shape), np.uint8)
        for row, index in enumerate(indices):
            noise = random_bytes(
                request.split_seed, stream, int(index), math.prod(shape)
            )
            images[row] = noise.reshape(shape) // 2
            images[row] += patterns[labels[row]] // 2
        return images, labels

    num_train = (request.num_train or DEFAULT_TRAIN) + max(request.num_validation, 0)
    num_test = request.num_test if request.num_test > 0 else DEFAULT_TEST
    sizes = {"train": num_train, "test": num_test}
    pools = {
        name: Pool(size, (np.arange(size) % num_classes).astype(np.int32))
        for name, size in sizes.items()
    }
    names = tuple(f"class {c}" for c in range(num_classes))
    note = "synthetic: random images, for tests only"
    return Source(pools, names, shape, read, note)
