"""Local response normalization, the competition between channels in AlexNet."""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from cnnjax.layers.functional.moments import statistics_dtype

# Windows of more channels are one operation: tracing each of their slices takes long.
_MOST_SLICES = 32


class LocalResponseNorm(nn.Module):
    """x / (k + alpha * sum of squares of the `size` channels around it) ** beta.

    Args:
      size: how many neighbouring channels, the channel itself in the middle; at the
        ends the window is cut off.
      alpha: factor of the sum, as in the paper. torch and Caffe divide it by `size`:
        the paper's 1e-4 with 5 channels is torch's 5e-4.
      beta: exponent.
      k: constant.

    Shapes:
      [N, ..., C] -> the same; no parameters.

    Source: Krizhevsky et al. 2012, NeurIPS 25, section 3.3.
    """

    size: int
    alpha: float
    beta: float
    k: float

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        wide = x.astype(statistics_dtype(x))
        squares = jnp.square(wide)
        total = _sum_of_neighbours(squares, self.size)
        y = wide * (self.k + self.alpha * total) ** -self.beta
        return y.astype(x.dtype)


def _sum_of_neighbours(values: jax.Array, size: int) -> jax.Array:
    """The sum over the `size` channels around each one, itself in the middle."""
    channels = values.shape[-1]
    # No neighbour is further away than the other end.
    below = min(size // 2, channels - 1)
    above = min(size - 1 - size // 2, channels - 1)
    count, whole = below + 1 + above, [(0, 0)] * (values.ndim - 1)
    if count > _MOST_SLICES:
        window, strides = (1,) * len(whole) + (count,), (1,) * values.ndim
        around = [*whole, (below, above)]
        return lax.reduce_window(
            values, np.zeros((), values.dtype), lax.add, window, strides, around
        )
    pads = [(0, 0, 0)] * len(whole) + [(below, above, 0)]
    padded = lax.pad(values, jnp.zeros((), values.dtype), pads)
    # Any: of no summands the sum would be an int.
    total: Any = sum(padded[..., i : i + channels] for i in range(count))
    return total
