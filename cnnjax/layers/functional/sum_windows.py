"""The sum under each window, as slices: faster on CPU than a reduction."""

import dataclasses

import jax
import jax.numpy as jnp

from cnnjax.layers.functional.operation import apply
from cnnjax.layers.functional.windows import Windows


def sum_of_slices(windows: Windows, x: jax.Array) -> jax.Array:
    """The sum under each window; padding counts as zeros.

    Shapes: x [N, H, W, C] -> [N, H', W', C].
    """
    return apply(_Sum(windows), x)[0]


@dataclasses.dataclass(frozen=True)
class _Sum:
    """x -> sums."""

    windows: Windows

    def plain(self, x):
        return (sum(self.windows.slices(x, 0.0)),)

    on_cpu = plain

    def tangents(self, args, results, tangents):
        return apply(self, *tangents)

    def transposed(self, args, cotangents):
        return apply(_Spread(self.windows, args[0].aval.shape), *cotangents)


@dataclasses.dataclass(frozen=True)
class _Spread:
    """Map of sums -> a map in which each place has what the windows over it have."""

    windows: Windows
    x_shape: tuple[int, ...]

    def plain(self, cotangent):
        x = jnp.full(self.x_shape, cotangent[0, 0, 0, 0])
        return jax.vjp(lambda x: sum(self.windows.slices(x, 0.0)), x)[1](cotangent)

    def on_cpu(self, cotangent):
        if not self.windows.are_for_onednn(self.x_shape, cotangent.dtype):
            return self.plain(cotangent)
        # That of the mean, times the number of values.
        scaled = cotangent * self.windows.num_taps
        return (self.windows.by_onednn("average_gradient", self.x_shape, scaled),)

    def tangents(self, args, results, tangents):
        return apply(self, *tangents)

    def transposed(self, args, cotangents):
        return apply(_Sum(self.windows), *cotangents)
