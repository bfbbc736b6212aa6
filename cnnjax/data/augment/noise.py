"""Gaussian noise."""

import jax
import jax.numpy as jnp

from cnnjax.data.augment.given import Given, own


def random_noise(given: Given, images: jax.Array) -> jax.Array:
    """Adds noise to every value of every pixel, within 0 to 1 (white).

    The amount is its standard deviation. Each image has a key of its own, so that a
    shard of the batch draws no more than its own noise.

    Source: torchvision's GaussianNoise.
    """
    keys = own(len(images), lambda n: jax.random.split(given.key("noise"), n))

    def draw(key: jax.Array) -> jax.Array:
        return jax.random.normal(key, images.shape[1:], jnp.float32)

    return jnp.clip(images + given["noise"] * jax.vmap(draw)(keys), 0, 1)
