"""Windows that lie on a map, for pooling."""

import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from cnnjax.layers.functional.window import Pair, pad_map, slices
from cnnjax.onednn import calls
from cnnjax.onednn.pooling import PoolingSpec

# Taps of all windows together, below which XLA's gradient is as fast as a call.
SMALLEST_WORK = 250_000


@dataclasses.dataclass(frozen=True)
class Windows:
    """Where the windows lie.

    Attributes:
      window: height and width.
      strides: steps between windows.
      pads: ((top, bottom), (left, right)), so that the last windows fit exactly.
      out: number of windows along each axis.
      impl: 'auto', where oneDNN may compute gradients, or 'xla'.
    """

    window: Pair
    strides: Pair
    pads: tuple[Pair, Pair]
    out: Pair
    impl: str

    @property
    def num_taps(self) -> int:
        return self.window[0] * self.window[1]

    def slices(self, x: jax.Array, value: float) -> Iterator[jax.Array]:
        """What each tap of the windows sees, in reading order."""
        padded = pad_map(x, self.pads, value)
        return slices(padded, self.window, self.strides, self.out)

    def are_for_onednn(self, x_shape: tuple[int, ...], dtype: Any) -> bool:
        """Whether oneDNN is there, and computes the gradient of these images faster."""
        fits = all(max(pad) < k for pad, k in zip(self.pads, self.window, strict=True))
        work = x_shape[0] * self.out[0] * self.out[1] * x_shape[3] * self.num_taps
        fits = fits and dtype == jnp.float32 and work >= SMALLEST_WORK
        return fits and self.impl == "auto" and calls.available()

    def by_onednn(self, kind: str, x_shape, *arrays: jax.Array) -> jax.Array:
        """The gradient of the images, see `onednn.pooling`."""
        (top, bottom), (left, right) = self.pads
        padding = (top, bottom, left, right)
        spec = PoolingSpec(
            kind, tuple(x_shape), self.out, self.window, self.strides, padding
        )
        return calls.call(spec, tuple(x_shape), *arrays)
