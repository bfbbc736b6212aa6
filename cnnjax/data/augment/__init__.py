"""Standardisation and augmentation, in pure JAX, inside the compiled step.

Order: standardise, pad and crop, flip, cutout, mixup. Padding and cutout write zeros
into the *standardised* image, that is the mean of the data, as He et al. 2015 (arXiv
1512.03385, section 4.2) pad the image after subtracting the mean; with
standardize='none' a zero is black.

Each random operation draws from its own stream, `fold_in(key, stream)`: switching one
on or off changes nothing for the others. Every draw names its type, so that x64 mode
draws the same. Draws are made for the whole batch, of which each program takes its
shard (`cnnjax.shard`): they are small, and do not depend on how the batch is divided.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.data.standardize import Statistics, measure
from cnnjax.errors import UserError, unknown_name
from cnnjax.shard import shard

# (key, images float32 [B, H, W, C], targets float32 [B, classes], amount) -> the same
Apply = Callable[..., tuple[jax.Array, jax.Array]]

# An image whose own standard deviation is below that of one grey level in one of its
# values is constant, and what is left after its mean is rounding.
MIN_STD = 1e-6


def _own(num_images: int, draw: Callable[[int], jax.Array]) -> jax.Array:
    """What `draw` gives for the whole batch, for the images of this shard of it."""
    return shard().local(draw(num_images * shard().num_shards))


def random_crop(key, images, targets, pad: int):
    """Pads each side by `pad` zeros and cuts the original size at a random place.

    All (2 pad + 1)^2 places are equally likely, for each image by itself.

    Source: He et al. 2015, arXiv 1512.03385, section 4.2 (pad 4).
    """
    num, height, width, _ = images.shape
    padded = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    corner = _own(
        num, lambda n: jax.random.randint(key, (n, 2), 0, 2 * pad + 1, jnp.int32)
    )
    rows = corner[:, :1] + jnp.arange(height)[None]  # [B, H]
    columns = corner[:, 1:] + jnp.arange(width)[None]  # [B, W]
    # One gather of pixels is fast with and without a flip after it, in a scan or not;
    # a dynamic slice per image loses a factor of 7 when XLA fuses a flip into it.
    place = (jnp.arange(num)[:, None, None], rows[:, :, None], columns[:, None, :])
    return padded.at[place].get(mode="promise_in_bounds"), targets


def random_flip(key, images, targets, flip: bool):
    """Mirrors left and right with probability 1/2, for each image by itself."""
    mirrored = _own(
        len(images),
        lambda n: jax.random.bernoulli(key, jnp.float32(0.5), (n, 1, 1, 1)),
    )
    return jnp.where(mirrored, images[:, :, ::-1], images), targets


def cutout(key, images, targets, size: int):
    """Zeros a square whose centre is a random pixel; it may stick out of the image.

    Source: DeVries and Taylor 2017, arXiv 1708.04552, section 3.2.
    """
    num, height, width, _ = images.shape
    key_row, key_column = jax.random.split(key)

    def corner(key: jax.Array, side: int) -> jax.Array:
        centre = _own(
            num, lambda n: jax.random.randint(key, (n, 1), 0, side, jnp.int32)
        )
        return centre - size // 2

    row, column = corner(key_row, height), corner(key_column, width)
    rows, columns = jnp.arange(height)[None], jnp.arange(width)[None]
    in_rows = (rows >= row) & (rows < row + size)  # [B, H]
    in_columns = (columns >= column) & (columns < column + size)  # [B, W]
    hole = in_rows[:, :, None, None] & in_columns[:, None, :, None]
    return jnp.where(hole, 0, images), targets


def mixup(key, images, targets, alpha: float):
    """Mixes each example with another of the batch; one share for the whole batch.

    The share is Beta(alpha, alpha), the partner is given by a random permutation.

    Source: Zhang et al. 2018, arXiv 1710.09412, section 2 and the authors' code.
    """
    key_share, key_partner = jax.random.split(key)
    share = jax.random.beta(key_share, alpha, alpha, dtype=jnp.float32)
    partner = _own(len(images), lambda n: jax.random.permutation(key_partner, n))

    def mix(x: jax.Array) -> jax.Array:
        return share * x + (1 - share) * shard().gather(x)[partner]

    return mix(images), mix(targets)


@dataclasses.dataclass(frozen=True)
class Operation:
    """A random operation; its name in `OPERATIONS` is its key in the config.

    Args:
      apply: (key, images, targets, amount) -> (images, targets).
      stream: number of its random stream; never reused.
      limit: (height, width) -> largest legal amount; the smallest is 0 = off.
      unit: of the amount, for messages.
    """

    apply: Apply
    stream: int
    limit: Callable[[int, int], float]
    unit: str


# In order of application. Add an augmentation: its function, and one line here.
OPERATIONS: dict[str, Operation] = {
    "crop_pad": Operation(random_crop, 0, lambda h, w: min(h, w), "pixels"),
    "flip": Operation(random_flip, 1, lambda h, w: 1, "(False or True)"),
    "cutout": Operation(cutout, 2, lambda h, w: 2 * max(h, w), "pixels"),
    "mixup_alpha": Operation(mixup, 3, lambda h, w: 100.0, "(alpha of a Beta)"),
}


@dataclasses.dataclass(frozen=True)
class Augment:
    """The two ways from stored images to what the model sees.

    Args:
      train: (key, images uint8 [B, H, W, C], labels int32 [B]) -> (images float32
        [B, H, W, C], targets float32 [B, classes], rows sum to 1).
      preprocess: images uint8 [B, H, W, C] -> float32; for evaluation.
    """

    train: Callable[[jax.Array, jax.Array, jax.Array], tuple[jax.Array, jax.Array]]
    preprocess: Callable[[jax.Array], jax.Array]


def make_augment(
    statistics: Statistics,
    *,
    image_shape: tuple[int, int, int],
    num_classes: int,
    standardize: str,
    **amounts: float,
) -> Augment:
    """Builds the training and the evaluation path.

    Args:
      statistics: from `measure(standardize, training images)`.
      image_shape: (H, W, C) of the images.
      num_classes: width of the targets.
      standardize: the kind that the statistics were measured for.
      **amounts: for every name in `OPERATIONS` its amount; 0 or False = off: `crop_pad`
        (pixels, up to the image side), `flip` (bool), `cutout` (side in pixels, up to
        twice the image side), `mixup_alpha` (up to 100).

    Returns:
      Pure functions; `train` is a function of its arguments only.

    Raises:
      UserError: an amount out of range, or a key of config.augment that is unknown or
        missing.
    """
    measure(standardize, np.zeros((1, *image_shape), np.uint8))  # checks the name
    _check(amounts, image_shape)
    active = [(op, amounts[name]) for name, op in OPERATIONS.items() if amounts[name]]

    def preprocess(images: jax.Array) -> jax.Array:
        return apply_statistics(statistics, images)

    def train(key, images, labels):
        images = preprocess(images)
        targets = jax.nn.one_hot(labels, num_classes, dtype=jnp.float32)
        for operation, amount in active:
            stream = jax.random.fold_in(key, operation.stream)
            images, targets = operation.apply(stream, images, targets, amount)
        return images, targets

    return Augment(train, preprocess)


def apply_statistics(statistics: Statistics, images: jax.Array) -> jax.Array:
    """Stored uint8 [B, H, W, C] to standardised float32 of the same shape."""
    images = images.astype(jnp.float32) / 255
    images = (images - statistics.mean) / statistics.std
    if not statistics.per_image:
        return images
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    std = images.std(axis=(1, 2, 3), keepdims=True)
    return jnp.where(std < MIN_STD, 0, (images - mean) / jnp.maximum(std, MIN_STD))


def _check(amounts: dict[str, float], image_shape: tuple[int, int, int]) -> None:
    for name in amounts:
        if name not in OPERATIONS:
            raise unknown_name(
                "augmentation", name, OPERATIONS, f"config.augment.{name}"
            )
    for name, operation in OPERATIONS.items():
        if name not in amounts:
            raise UserError(f"config.augment.{name} is missing: give 0 to leave it off")
        largest = operation.limit(*image_shape[:2])
        if not 0 <= amounts[name] <= largest:
            raise UserError(
                f"config.augment.{name}={amounts[name]} is out of range for images of "
                f"{image_shape[0]}x{image_shape[1]}: give 0 (off) to {largest:g} "
                f"{operation.unit}"
            )
