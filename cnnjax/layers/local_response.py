"""Local response normalization, the competition between channels in AlexNet."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.layers.moments import statistics_dtype


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
        below = self.size // 2
        pads = [(0, 0, 0)] * (x.ndim - 1) + [(below, self.size - 1 - below, 0)]
        padded = lax.pad(squares, jnp.zeros((), wide.dtype), pads)
        channels = x.shape[-1]
        total = sum(padded[..., i : i + channels] for i in range(self.size))
        y = wide * (self.k + self.alpha * total) ** -self.beta
        return y.astype(x.dtype)
