"""Standardisation and augmentation, in pure JAX, inside the compiled step.

Order: what changes pixels on the scale where white is 1 (`ON_PIXELS`); standardise; pad
and crop, flip, cutout, erasing; mixup or cutmix. Padding, warps, cutout and erasing put
zeros into the *standardised* image, that is the mean of the data, as He et al. 2015
(arXiv 1512.03385, section 4.2) pad the image after subtracting the mean; with
standardize='none' a zero is black.

Each random operation draws from its own stream, `fold_in(key, stream)`: switching one
on or off changes nothing for the others. Every draw names its type, so that x64 mode
draws the same. Draws are made for the whole batch, of which each program takes its
shard (`cnnjax.shard`): they are small, and do not depend on how the batch is divided.

Add an operation: its function in the file of its family, a stream in `given.py`, a line
in `OPERATIONS` and one in the list of its place.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.data.augment import affine, colour, crop, erase, flip, mix, noise, pca
from cnnjax.data.augment.given import Given
from cnnjax.data.augment.randaugment import HIGHEST, random_operations
from cnnjax.data.standardize import Statistics, measure
from cnnjax.errors import UserError, in_range, unknown_name

# An image whose own standard deviation is below that of one grey level in one of its
# values is constant, and what is left after its mean is rounding.
MIN_STD = 1e-6

# (given, images float32 [B, H, W, C]) -> images
Apply = Callable[[Given, jax.Array], jax.Array]


@dataclasses.dataclass(frozen=True)
class Operation:
    """A random operation; its name in `OPERATIONS` is its key in the config.

    Args:
      limit: (height, width) -> largest legal amount; the smallest is 0 = off.
      unit: of the amount, for messages.
      of_colours: whether a grey image has nothing that it could change.
    """

    limit: Callable[[int, int], float]
    unit: str
    of_colours: bool = False


def _at_most(largest: float, unit: str, of_colours: bool = False) -> Operation:
    return Operation(lambda height, width: largest, unit, of_colours)


OPERATIONS: dict[str, Operation] = {
    "crop_pad": Operation(lambda h, w: min(h, w), "pixels"),
    "flip": _at_most(1, "(False or True)"),
    "cutout": Operation(lambda h, w: 2 * max(h, w), "pixels"),
    "mixup_alpha": _at_most(100.0, "(alpha of a Beta)"),
    "flip_vertical": _at_most(1, "(False or True)"),
    "resized_crop": _at_most(1.0, "(smallest share of the area)"),
    "rotation": _at_most(180.0, "degrees"),
    "translation": _at_most(1.0, "(share of the side)"),
    "scale": _at_most(0.9, "(change of size)"),
    "shear": _at_most(80.0, "degrees"),
    "brightness": _at_most(1.0, "(change of a factor)"),
    "contrast": _at_most(1.0, "(change of a factor)"),
    "saturation": _at_most(1.0, "(change of a factor)", of_colours=True),
    "hue": _at_most(0.5, "(share of the circle of colours)", of_colours=True),
    "grey": _at_most(1.0, "(probability)", of_colours=True),
    "noise": _at_most(1.0, "(standard deviation, white is 1)"),
    "pca_colour": _at_most(10.0, "(standard deviation of the factors)"),
    "erase": _at_most(1.0, "(probability)"),
    "cutmix_alpha": _at_most(100.0, "(alpha of a Beta)"),
    "randaugment": _at_most(10, "operations"),
}
# Keys of the config that say how an operation works: smallest and largest value, unit.
OPTIONS = {
    "resized_crop_aspect": (1.0, 10.0, "(largest width / height)"),
    "randaugment_magnitude": (0, HIGHEST, "(strength)"),
}

# In order of application: keys, one of which must be on, and the function.
Place = tuple[tuple[tuple[str, ...], Apply], ...]
ON_PIXELS: Place = (
    (("resized_crop",), crop.random_resized_crop),
    (affine.NAMES, affine.random_affine),
    (("randaugment",), random_operations),
    (("brightness",), colour.random_brightness),
    (("contrast",), colour.random_contrast),
    (("saturation",), colour.random_saturation),
    (("hue",), colour.random_hue),
    (("grey",), colour.random_grey),
    (("pca_colour",), pca.random_pca_colour),
    (("noise",), noise.random_noise),
)
ON_STANDARDIZED: Place = (
    (("crop_pad",), crop.random_crop),
    (("flip",), flip.random_flip),
    (("flip_vertical",), flip.random_flip_vertical),
    (("cutout",), erase.cutout),
    (("erase",), erase.random_erasing),
)


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
    colour_axes: np.ndarray | None = None,
    **amounts: float,
) -> Augment:
    """Builds the training and the evaluation path.

    Args:
      statistics: from `measure(standardize, training images)`.
      image_shape: (H, W, C) of the images.
      num_classes: width of the targets.
      standardize: the kind that the statistics were measured for.
      colour_axes: of `pca.colour_axes`; only `pca_colour` needs them.
      **amounts: for every name in `OPERATIONS` its amount (0 or False = off), and for
        every name in `OPTIONS` its value; `configs/base.py` says what they mean.

    Returns:
      Pure functions; `train` is a function of its arguments only.

    Raises:
      UserError: an amount out of range, or a key of config.augment that is unknown or
        missing.
    """
    measure(standardize, np.zeros((1, *image_shape), np.uint8))  # checks the name
    _check(amounts, image_shape)
    on_pixels, on_standardized = (
        [apply for names, apply in place if any(amounts[name] for name in names)]
        for place in (ON_PIXELS, ON_STANDARDIZED)
    )
    mixes = any(amounts[name] for name in mix.NAMES)

    def preprocess(images: jax.Array) -> jax.Array:
        return apply_statistics(statistics, images)

    def train(key, images, labels):
        given = Given(key, amounts, statistics, colour_axes)
        images = images.astype(jnp.float32) / 255
        for apply in on_pixels:
            images = apply(given, images)
        images = _standardized(statistics, images)
        for apply in on_standardized:
            images = apply(given, images)
        targets = jax.nn.one_hot(labels, num_classes, dtype=jnp.float32)
        return mix.mix(given, images, targets) if mixes else (images, targets)

    return Augment(train, preprocess)


def apply_statistics(statistics: Statistics, images: jax.Array) -> jax.Array:
    """Stored uint8 [B, H, W, C] to standardised float32 of the same shape."""
    return _standardized(statistics, images.astype(jnp.float32) / 255)


def _standardized(statistics: Statistics, images: jax.Array) -> jax.Array:
    images = (images - statistics.mean) / statistics.std
    if not statistics.per_image:
        return images
    mean = images.mean(axis=(1, 2, 3), keepdims=True)
    std = images.std(axis=(1, 2, 3), keepdims=True)
    return jnp.where(std < MIN_STD, 0, (images - mean) / jnp.maximum(std, MIN_STD))


def _check(amounts: Mapping[str, Any], image_shape: tuple[int, int, int]) -> None:
    for name in amounts:
        if name not in OPERATIONS and name not in OPTIONS:
            known = [*OPERATIONS, *OPTIONS]
            raise unknown_name("augmentation", name, known, f"config.augment.{name}")
    for name, (least, most, unit) in OPTIONS.items():
        if name not in amounts:
            raise UserError(
                f"config.augment.{name} is missing: configs/base.py says what it means"
            )
        in_range(f"augment.{name}", amounts[name], least, most, unit)
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
        if operation.of_colours and amounts[name] and image_shape[2] == 1:
            raise UserError(
                f"config.augment.{name}={amounts[name]} changes colours and these "
                "images are grey: set it to 0 (off)"
            )
