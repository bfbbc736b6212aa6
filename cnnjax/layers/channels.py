"""Numbers per channel next to arrays of any rank."""

import jax


def per_channel(values: jax.Array, x: jax.Array) -> jax.Array:
    """Gives [C] values the rank of x [..., C], as strict rank promotion demands."""
    return values.reshape((1,) * (x.ndim - 1) + values.shape)
