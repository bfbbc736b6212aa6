"""Statistics for standardisation, measured on the training images."""

import contextlib
import dataclasses
import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import PIL

from cnnjax.data import array_cache
from cnnjax.data.split import Split, StreamedSplit
from cnnjax.data.streaming import EvalStream, num_cores
from cnnjax.errors import UserError, shown, unknown_name

# Images summed at once: 1,000 squares of a byte fit in 32 bits.
BLOCK = 1000
STREAMED_BLOCK = 256  # the same for images that are read for it, to take less memory
_STREAM = 0x73616D706C65  # tells these draws from others that have the same key
# Sums on disk: oldest entries go first beyond this.
MOST_BYTES = 2**28


@dataclasses.dataclass(frozen=True)
class Sample:
    """Of which images statistics are, and how sure that makes them.

    Args:
      images: how many were measured.
      of: so many.
      mean_error: standard error of the mean of each channel, where white is 1; of
        'pixel_mean' that of the least sure pixel.
      std_error: likewise of the standard deviation; () where nothing is divided by it.

    Source: Cochran 1977, Sampling Techniques, section 2.6 (sampling without
    replacement); images are the units, and errors of the deviation are linearised.
    """

    images: int
    of: int
    mean_error: tuple[float, ...]
    std_error: tuple[float, ...]

    def words(self) -> str:
        """A sentence for the user."""
        errors = f"standard error {_four(self.mean_error)} of the mean"
        if self.std_error:
            errors += f", {_four(self.std_error)} of the deviation"
        return (
            f"standardised by {self.images:,} of {self.of:,} training images: "
            f"{errors}, where white is 1 (config.data.measured_images; 0 = all)"
        )

    def record(self) -> dict[str, Any]:
        """As JSON."""
        errors = list(self.mean_error), list(self.std_error)
        keys = ("mean_error", "std_error")
        return dataclasses.asdict(self) | dict(zip(keys, errors, strict=True))


def _four(values: Sequence[float]) -> str:
    return f"({', '.join(f'{value:.4f}' for value in values)})"


@dataclasses.dataclass(frozen=True)
class Statistics:
    """What is subtracted and divided by, on the scale where white is 1.

    Args:
      mean: float32, [1, 1, 1, C], or [1, H, W, C] for 'pixel_mean', or a scalar 0.
      std: float32, [1, 1, 1, C] or a scalar 1.
      per_image: each image also gets mean 0 and standard deviation 1 of its own.
      sample: of which images, where these are not all.
    """

    mean: np.ndarray | np.float32
    std: np.ndarray | np.float32
    per_image: bool = False
    sample: Sample | None = None


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


def _constant(mean: Sequence[float], std: Sequence[float]) -> Statistics:
    shape = (1, 1, 1, len(mean))
    return Statistics(
        np.array(mean, np.float32).reshape(shape),
        np.array(std, np.float32).reshape(shape),
    )


# Of sets and nets in common use, one number a channel: red, green, blue.
CONSTANTS = {
    # Of the training images of ILSVRC 2012; torchvision's and most published nets.
    "imagenet": _constant((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    # Black is -1 and white 1: Inception and MobileNet, by their authors' code.
    "inception": _constant((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
}
# Legal values of config.augment.standardize beside numbers; what needs no image, or a
# function of the sums over all of them.
STANDARDIZE: dict[str, Statistics | Callable[[Sums], Statistics]] = {
    "none": Statistics(np.float32(0), np.float32(1)),
    "channel": _channel,
    "pixel_mean": _pixel_mean,
    "image": Statistics(np.float32(0), np.float32(1), per_image=True),
    **CONSTANTS,
}


def standardisation(
    standardize: str, channels: int
) -> Statistics | Callable[[Sums], Statistics]:
    """What a value of `config.augment.standardize` stands for.

    Args:
      standardize: a key of `STANDARDIZE`, or numbers of one's own, the mean and the
        standard deviation of each channel where white is 1: '0.5,0.4,0.3/0.2,0.2,0.2'.
      channels: of the images.

    Raises:
      UserError: there is no such standardisation, or not for so many channels.
    """
    mean, slash, std = str(standardize).partition("/")
    if not slash and standardize not in STANDARDIZE:
        raise unknown_name(
            "standardisation", standardize, STANDARDIZE, "config.augment.standardize"
        )
    found = _given(standardize, mean, std) if slash else STANDARDIZE[standardize]
    if not isinstance(found, Statistics) or not np.ndim(found.mean):
        return found
    if np.size(found.mean) != channels:
        raise UserError(
            f"config.augment.standardize={standardize!r} has {np.size(found.mean)} "
            f"channels and the images have {channels}: give one number a channel, or "
            f"set config.data.channels to {np.size(found.mean)}"
        )
    return found


def _given(standardize: str, *parts: str) -> Statistics:
    """Of numbers in text."""
    with contextlib.suppress(ValueError):
        mean, std = ([float(number) for number in part.split(",")] for part in parts)
        fits = all(0 <= m <= 1 for m in mean) and all(1e-6 <= s <= 1 for s in std)
        if fits and len(mean) == len(std):
            return _constant(mean, std)
    raise UserError(
        f"config.augment.standardize={shown(standardize)} is no mean and standard "
        "deviation of each channel: give numbers from 0 to 1 as "
        "'0.485,0.456,0.406/0.229,0.224,0.225'"
    )


def measure(standardize: str, images: np.ndarray) -> Statistics:
    """Statistics of the training images, on the host.

    Args:
      standardize: 'none' (white is 1, black is 0), 'channel' (mean and standard
        deviation per channel), 'pixel_mean' (mean image subtracted), 'image' (each
        image by itself), or constants: see `standardisation`.
      images: uint8 [N, H, W, C], the training split only.

    Returns:
      Statistics for `make_augment`.

    Raises:
      UserError: an unknown kind.
    """
    of_kind = standardisation(standardize, images.shape[-1])
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

    A streamed split, or its sample, is read once, by each process its local slice of
    the batches; the sums are kept in the user's cache folder.

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
    of_kind = standardisation(standardize, split.image_shape[-1])
    if isinstance(of_kind, Statistics):
        return of_kind
    sampled = split.sample is not None
    chosen = split.sampled() if sampled else split
    # Pillow's releases may decode JPEG to other pixels.
    words = f"{fingerprint} {split.stamp} {PIL.__version__}"
    words += f" {len(chosen)} of {len(split)}" * sampled
    key = hashlib.sha256(words.encode()).hexdigest()[:32]
    names = ("total", "squares", *(["each"] if sampled else []))
    found: Any = array_cache.find("statistics", key, names)
    found_by = over_processes(np.array([found is not None], np.int64))
    if found_by[0] < num_processes:
        each = np.zeros((len(chosen), 2, split.image_shape[-1]), np.int64)
        own = _add_up_streamed(
            chosen, process, num_processes, each if sampled else None
        )
        found = [*over_processes(own), *([over_processes(each)] if sampled else [])]
        kept = dict(zip(names, found, strict=True))
        array_cache.keep("statistics", key, MOST_BYTES, **kept)
    sums = Sums(len(chosen), *found[:2])
    statistics = of_kind(sums)
    if not sampled:
        return statistics
    sample = _sample(sums, found[2], len(split), of_pixels=standardize == "pixel_mean")
    return dataclasses.replace(statistics, sample=sample)


def _sample(sums: Sums, each: np.ndarray, of: int, of_pixels: bool) -> Sample:
    """Args: `each` has grey levels and squares added up by image, [n, 2, C]."""
    num, (height, width, _) = len(each), sums.total.shape
    share = (1 - num / of) / max(num - 1, 1)
    if of_pixels:
        mean = sums.total / num
        variance = np.maximum(sums.squares / num - mean**2, 0) * share
        errors = np.sqrt(variance.max(axis=(0, 1))) / 255
        return Sample(num, of, tuple(errors.tolist()), ())
    means, squares = np.moveaxis(each / (height * width), 1, 0)
    mean = means.mean(axis=0)
    variance = squares.mean(axis=0) - mean**2
    of_mean = np.sqrt(means.var(axis=0) * share)
    of_variance = np.sqrt((squares - 2 * mean * means).var(axis=0) * share)
    # A channel that is constant has no deviation.
    of_std = of_variance / (2 * np.sqrt(np.where(variance > 1e-6, variance, np.inf)))
    errors = (of_mean / 255).tolist(), (of_std / 255).tolist()
    return Sample(num, of, *map(tuple, errors))


def sample_of(num: int, wanted: int, seed: int) -> np.ndarray | None:
    """Positions of a sample without replacement, in rising order; None for all.

    Philox in counter mode gives each position a number; those with the lowest are
    taken. So the sample is a function of the arguments on any machine.

    Args:
      num: images of the split.
      wanted: images of the sample; 0 = all.
      seed: 0 to 2**32 - 1.
    """
    if not 0 < wanted < num:
        return None
    numbers = np.random.Philox(key=[seed, _STREAM]).random_raw(num)
    return np.sort(np.argsort(numbers, kind="stable")[:wanted])


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
    split: StreamedSplit,
    process: int,
    num_processes: int,
    each: np.ndarray | None = None,
) -> np.ndarray:
    """Sums over the local slices of a process: a stretch of each batch.

    Args:
      split: read from.
      process: number of this one.
      num_processes: how many there are.
      each: [n, 2, C], takes the sums of each image.
    """
    batch = STREAMED_BLOCK * num_processes
    start = STREAMED_BLOCK * process
    with EvalStream(
        split,
        batch_size=batch,
        positions=np.arange(start, start + STREAMED_BLOCK),
        ahead=max(2, num_cores() // 4),
    ) as batches:

        def blocks() -> Iterator[np.ndarray]:
            for number, (images, _, mask) in enumerate(batches):
                if each is not None:
                    first = number * batch + start
                    own = images[mask > 0]
                    each[first : first + len(own)] = _of_each(own)
                # Black images, which fill up the last batch, add nothing.
                yield images

        return add_up(blocks(), split.image_shape)


def _of_each(images: np.ndarray) -> np.ndarray:
    """Grey levels and their squares added up over the pixels of each, [n, 2, C]."""
    levels = images.sum(axis=(1, 2), dtype=np.int64)
    squares = np.square(images, dtype=np.uint16).sum(axis=(1, 2), dtype=np.int64)
    return np.stack([levels, squares], axis=1)
