"""What an operation is given beside images: random streams, amounts, measurements."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.data.standardize import Statistics
from cnnjax.shard import shard

# Number of the random stream of each key of the config; never reused.
STREAMS = {
    "crop_pad": 0,
    "flip": 1,
    "cutout": 2,
    "mixup_alpha": 3,
    "flip_vertical": 4,
    "resized_crop": 5,
    "rotation": 6,
    "translation": 7,
    "scale": 8,
    "shear": 9,
    "brightness": 10,
    "contrast": 11,
    "saturation": 12,
    "hue": 13,
    "grey": 14,
    "noise": 15,
    "pca_colour": 16,
    "erase": 17,
    "cutmix_alpha": 18,
    "randaugment": 19,
    "mixup or cutmix": 20,
}


@dataclasses.dataclass(frozen=True)
class Given:
    """Of one step.

    Args:
      base: key of the step.
      amounts: key of config.augment -> value.
      statistics: of the standardisation.
      colour_axes: of `pca.colour_axes`, where it is measured.
    """

    base: jax.Array
    amounts: Mapping[str, Any]
    statistics: Statistics
    colour_axes: np.ndarray | None = None

    def __getitem__(self, name: str) -> Any:
        """The amount of an operation."""
        return self.amounts[name]

    def key(self, name: str) -> jax.Array:
        """The key of an operation, which no other one uses."""
        return jax.random.fold_in(self.base, STREAMS[name])

    def zero(self, images: jax.Array) -> jax.Array:
        """What becomes 0 when it is standardised: [1 or B, 1 or H, 1 or W, C or 1].

        Args:
          images: float32 [B, H, W, C], white is 1.
        """
        mean = jnp.asarray(self.statistics.mean)
        mean = mean if mean.ndim else mean.reshape(1, 1, 1, 1)
        if self.statistics.per_image:
            return mean + images.mean(axis=(1, 2, 3), keepdims=True)
        return mean


def own(num_images: int, draw: Callable[[int], jax.Array]) -> jax.Array:
    """What `draw` gives for the whole batch, for the images of this shard of it."""
    return shard().local(draw(num_images * shard().num_shards))


def uniform(
    key: jax.Array, num_images: int, *shape: int, low: float = 0, high: float = 1
) -> jax.Array:
    """Uniform draws for each image by itself: float32 [num_images, *shape]."""
    return own(
        num_images,
        lambda n: jax.random.uniform(key, (n, *shape), jnp.float32, low, high),
    )


def factors(key: jax.Array, num_images: int, strength: float) -> jax.Array:
    """Factors from 1 - strength to 1 + strength: float32 [num_images, 1, 1, 1]."""
    return uniform(key, num_images, 1, 1, 1, low=1 - strength, high=1 + strength)


def chosen(key: jax.Array, num_images: int, probability: float) -> jax.Array:
    """Which images an operation is for: bool [num_images, 1, 1, 1]."""
    return own(
        num_images,
        lambda n: jax.random.bernoulli(key, jnp.float32(probability), (n, 1, 1, 1)),
    )
