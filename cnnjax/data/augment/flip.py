"""Mirror images, each with probability 1/2."""

import jax
import jax.numpy as jnp

from cnnjax.data.augment.given import Given, chosen


def random_flip(given: Given, images: jax.Array) -> jax.Array:
    """Mirrors left and right."""
    mirrored = chosen(given.key("flip"), len(images), 0.5)
    return jnp.where(mirrored, images[:, :, ::-1], images)


def random_flip_vertical(given: Given, images: jax.Array) -> jax.Array:
    """Mirrors top and bottom."""
    mirrored = chosen(given.key("flip_vertical"), len(images), 0.5)
    return jnp.where(mirrored, images[:, ::-1], images)
