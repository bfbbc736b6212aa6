"""Statistics for standardisation, measured on the training images."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import PIL

from cnnjax.data import array_cache
from cnnjax.data.split import Split, StreamedSplit
from cnnjax.data.streaming import EvalStream, num_cores
from cnnjax.errors import unknown_name

# Images summed at once: 1,000 squares of a byte fit in 32 bits.
BLOCK = 1000
STREAMED_BLOCK = 256  # the same for images that are read for it, to take less memory
# Sums on disk: oldest entries go first beyond this.
MOST_BYTES = 2**28


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What is subtracted and divided by, on the scale where white is 1.

    Args:
      mean: float32, [1, 1, 1, C], or [1, H, W, C] for 'pixel_mean', or a scalar 0.
      std: float32, [1, 1, 1, C] or a scalar 1.
      per_image: each image also gets mean 0 and standard deviation 1 of its own.
    """

    mean: np.ndarray | np.float32
    std: np.ndarray | np.float32
    per_image: bool = False


@dataclasses.dataclass(frozen=True)
class Sums:
    """Over images, per pixel and channel; exact, whatever the order of the images.

    Args:
      count: number of images.
      total: grey levels, int64 [H, W, C].
      squares: their squares, int64 [H, W, C].
    """

    count: int
    total: np.ndarray
    squares: np.ndarray


def _channel(sums: Sums) -> Statistics:
    """Mean and standard deviation of each channel over all images and pixels."""
    height, width, channels = sums.total.shape
    count = sums.count * height * width
    mean = sums.total.sum(axis=(0, 1)) / count
    variance = sums.squares.sum(axis=(0, 1)) / count - mean**2
    # A channel that is constant over the whole set is left at 0.
    std = np.where(variance > 1e-6, np.sqrt(np.maximum(variance, 0)), 255)
    shape = (1, 1, 1, channels)
    return Statistics(
        (mean / 255).astype(np.float32).reshape(shape),
        (std / 255).astype(np.float32).reshape(shape),
    )


def _pixel_mean(sums: Sums) -> Statistics:
    """The mean image; He et al. 2015, arXiv 1512.03385, section 4.2; no division."""
    mean = sums.total[None] / sums.count / 255
    return Statistics(mean.astype(np.float32), np.float32(1))


# Legal values of config.augment.standardize; what needs no image, or a function of the
# sums over all of them.
STANDARDIZE: dict[str, Statistics | Callable[[Sums], Statistics]] = {
    "none": Statistics(np.float32(0), np.float32(1)),
    "channel": _channel,
    "pixel_mean": _pixel_mean,
    "image": Statistics(np.float32(0), np.float32(1), per_image=True),
}


def check_standardize(standardize: str) -> None:
    """Raises a UserError unless there is such a standardisation."""
    if standardize not in STANDARDIZE:
        raise unknown_name(
            "standardisation", standardize, STANDARDIZE, "config.augment.standardize"
        )


def measure(standardize: str, images: np.ndarray) -> Statistics:
    """Statistics of the training images, on the host.

    Args:
      standardize: 'none' (white is 1, black is 0), 'channel' (mean and standard
        deviation per channel), 'pixel_mean' (mean image subtracted) or 'image' (each
        image by itself).
      images: uint8 [N, H, W, C], the training split only.

    Returns:
      Statistics for `make_augment`.

    Raises:
      UserError: an unknown kind.
    """
    check_standardize(standardize)
    of_kind = STANDARDIZE[standardize]
    if isinstance(of_kind, Statistics):
        return of_kind
    blocks = (images[i : i + BLOCK] for i in range(0, len(images), BLOCK))
    return of_kind(Sums(len(images), *add_up(blocks, images.shape[1:])))


def measure_split(
    standardize: str,
    split: Split | StreamedSplit,
    fingerprint: str,
    *,
    process: int = 0,
    num_processes: int = 1,
    over_processes: Callable[[np.ndarray], np.ndarray] = lambda array: array,
) -> Statistics:
    """As `measure`, for a split that may have to be read for it.

    A streamed split is read once, by each process its local slice of the batches; the
    sums are kept in the user's cache folder.

    Args:
      standardize: as for `measure`.
      split: the training split.
      fingerprint: of the data set.
      process: number of this process, from 0.
      num_processes: how many there are; all of them call this function.
      over_processes: the sum of an int64 array over all processes, exactly; called by
        all of them equally often.

    Raises:
      UserError: an unknown kind; an image that cannot be read.
    """
    if not split.streamed:
        return measure(standardize, split.images)
    check_standardize(standardize)
    of_kind = STANDARDIZE[standardize]
    if isinstance(of_kind, Statistics):
        return of_kind
    # Pillow's releases may decode JPEG to other pixels.
    words = f"{fingerprint} {split.stamp} {PIL.__version__}"
    key = hashlib.sha256(words.encode()).hexdigest()[:32]
    found: Any = array_cache.find("statistics", key, ("total", "squares"))
    found_by = over_processes(np.array([found is not None], np.int64))
    if found_by[0] < num_processes:
        own = _add_up_streamed(split, process, num_processes)
        found = over_processes(own)
        array_cache.keep(
            "statistics", key, MOST_BYTES, total=found[0], squares=found[1]
        )
    return of_kind(Sums(len(split), *found))


def add_up(blocks: Iterable[np.ndarray], shape: tuple[int, int, int]) -> np.ndarray:
    """Sums of grey levels and of their squares, int64 [2, H, W, C].

    Args:
      blocks: uint8 [n, H, W, C], n up to 1000.
      shape: (H, W, C).
    """
    sums = np.zeros((2, *shape), np.int64)
    for block in blocks:
        sums[0] += block.sum(axis=0, dtype=np.uint32)
        squares = np.square(block, dtype=np.uint16)
        sums[1] += squares.sum(axis=0, dtype=np.uint32)
    return sums


def _add_up_streamed(
    split: StreamedSplit, process: int, num_processes: int
) -> np.ndarray:
    """Sums over the local slices of a process: a stretch of each batch."""
    batch = STREAMED_BLOCK * num_processes
    start = STREAMED_BLOCK * process
    with EvalStream(
        split,
        batch_size=batch,
        positions=np.arange(start, start + STREAMED_BLOCK),
        ahead=max(2, num_cores() // 4),
    ) as batches:
        # Black images, which fill up the last batch, add nothing.
        return add_up((images for images, _, _ in batches), split.image_shape)
