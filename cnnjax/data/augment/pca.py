"""Colour along the principal axes of the pixels of the training set."""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import PIL

from cnnjax.data import array_cache
from cnnjax.data.augment.given import Given, own
from cnnjax.data.split import Split, StreamedSplit
from cnnjax.data.streaming import EvalStream, num_cores

# The axes are those of so many images at most, evenly spread over the training split.
MOST_IMAGES = 10_000
BLOCK = 256
MOST_BYTES = 2**24  # of the sums that are kept on disk


def random_pca_colour(given: Given, images: jax.Array) -> jax.Array:
    """Adds to each image a multiple of every principal axis of the colours.

    It is the eigenvalue of the axis, on the scale where white is 1, times a normal draw
    whose standard deviation is the amount. Results are not cut off.

    Source: Krizhevsky et al. 2012, NeurIPS, section 4.1 (0.1).
    """
    key, channels = given.key("pca_colour"), images.shape[-1]
    draws = own(
        len(images), lambda n: jax.random.normal(key, (n, channels), jnp.float32)
    )
    return images + shift(given["pca_colour"] * draws, given.colour_axes)


def shift(weights: jax.Array, axes: Any) -> jax.Array:
    """What is added to all pixels: [B, C] times axes [C, C] -> [B, 1, 1, C]."""
    added = jnp.matmul(weights, axes.T, precision=jax.lax.Precision.HIGHEST)
    return added[:, None, None, :]


def colour_axes(
    split: Split | StreamedSplit,
    fingerprint: str,
    *,
    process: int = 0,
    num_processes: int = 1,
    over_processes: Callable[[np.ndarray], np.ndarray] = lambda array: array,
) -> np.ndarray:
    """Principal axes of the pixels of a split, each as long as its eigenvalue.

    Args:
      split: of training; of many images evenly spread ones are read.
      fingerprint: of the data set.
      process: number of this process, from 0.
      num_processes: how many there are; all of them call this function.
      over_processes: the sum of an int64 array over all processes.

    Returns:
      float32 [C, C], axes in columns, eigenvalues falling, on the scale where white is
      1; the largest component of each axis is positive.

    Raises:
      UserError: an image that cannot be read.
    """
    split = _sample(split)
    if not split.streamed:
        blocks = (split.images[i : i + BLOCK] for i in range(0, len(split), BLOCK))
        return _axes(_sums(blocks, split.image_shape[-1]))
    words = f"colours {fingerprint} {split.stamp} {PIL.__version__}"
    key = hashlib.sha256(words.encode()).hexdigest()[:32]
    found: Any = array_cache.find("statistics", key, ("sums",))
    found_by = over_processes(np.array([found is not None], np.int64))
    if found_by[0] < num_processes:
        sums = over_processes(_streamed_sums(split, process, num_processes))
        array_cache.keep("statistics", key, MOST_BYTES, sums=sums)
        return _axes(sums)
    return _axes(found[0])


def _sample(split: Any) -> Any:
    """At most `MOST_IMAGES` of a split, evenly spread."""
    if len(split) <= MOST_IMAGES:
        return split
    places = np.arange(MOST_IMAGES) * len(split) // MOST_IMAGES
    if split.streamed:
        return dataclasses.replace(split, indices=split.indices[places])
    return Split(split.images[places], split.labels[places])


def _streamed_sums(
    split: StreamedSplit, process: int, num_processes: int
) -> np.ndarray:
    """The sums of the images that a process reads: a stretch of each batch."""
    places = BLOCK * process + np.arange(BLOCK)
    with EvalStream(
        split,
        batch_size=BLOCK * num_processes,
        positions=places,
        ahead=max(2, num_cores() // 4),
    ) as batches:
        blocks = (images[mask > 0] for images, _, mask in batches)
        return _sums(blocks, split.image_shape[-1])


def _sums(blocks: Iterable[np.ndarray], channels: int) -> np.ndarray:
    """Sums over pixels of the products of (1, channels): int64 [C + 1, C + 1].

    Whole numbers below 2^53 are exact in double precision, in any order.
    """
    sums = np.zeros((channels + 1, channels + 1), np.int64)
    for block in blocks:
        pixels = block.reshape(-1, channels).astype(np.float64)
        pixels = np.concatenate([np.ones((len(pixels), 1)), pixels], axis=1)
        sums += (pixels.T @ pixels).astype(np.int64)
    return sums


def _axes(sums: np.ndarray) -> np.ndarray:
    count = sums[0, 0]
    mean = sums[0, 1:] / count
    covariance = (sums[1:, 1:] / count - np.outer(mean, mean)) / 255**2
    values, vectors = np.linalg.eigh(covariance)
    values, vectors = np.maximum(values[::-1], 0), vectors[:, ::-1]
    largest = np.abs(vectors).argmax(axis=0)
    signs = np.sign(vectors[largest, np.arange(len(values))])
    return (vectors * signs * values).astype(np.float32)
