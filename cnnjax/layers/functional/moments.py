"""What all normalizations share: moments, and the scale and bias after them."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.layers.functional.channels import per_channel


def statistics_dtype(x: jax.Array) -> jnp.dtype:
    """At least float32, so that bfloat16 inputs lose nothing in long sums."""
    return jnp.promote_types(x.dtype, jnp.float32)


def moments(
    x: jax.Array,
    axes: tuple[int, ...],
    across: Callable[[jax.Array], jax.Array] = lambda mean: mean,
) -> tuple[jax.Array, jax.Array]:
    """Mean and biased variance over the axes, kept as axes of size 1.

    Two passes: the difference of mean square and squared mean cancels badly in float32
    where the mean is large, and the second pass costs nothing measurable.

    Args:
      x: the values.
      axes: over which the moments are taken.
      across: mean over further values of the same number, which are elsewhere.
    """
    x = x.astype(statistics_dtype(x))
    mean = across(x.mean(axes, keepdims=True))
    return mean, across(jnp.square(x - mean).mean(axes, keepdims=True))


def normalize(
    x: jax.Array, mean: jax.Array, variance: jax.Array, epsilon: float
) -> jax.Array:
    """(x - mean) / sqrt(variance + epsilon), in the wider of the two types."""
    wider = jnp.promote_types(x.dtype, mean.dtype)
    return (x.astype(wider) - mean) * lax.rsqrt(variance.astype(wider) + epsilon)


def affine(y: jax.Array, scale: jax.Array, bias: jax.Array) -> jax.Array:
    """y * scale + bias, one number of each per channel."""
    return y * per_channel(scale, y) + per_channel(bias, y)
