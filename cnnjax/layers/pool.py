"""Pooling over explicit windows: functions, and modules that give them a name.

XLA on CPU runs the gradient of `lax.reduce_window` slowly; windows of up to
`MAX_SLICES` taps are therefore written as a maximum or sum of shifted slices.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax import lax

from cnnjax.errors import unknown_name
from cnnjax.layers.functional.implementation import chosen
from cnnjax.layers.functional.max_windows import max_of_slices
from cnnjax.layers.functional.sum_windows import sum_of_slices
from cnnjax.layers.functional.window import (
    Padding,
    Pair,
    as_padding,
    as_pair,
    output_size,
)
from cnnjax.layers.functional.windows import Windows

MAX_SLICES = 9


def max_pool(
    x: jax.Array,
    window: int | Pair,
    strides: int | Pair,
    padding: Padding = 0,
    *,
    ceil_mode: bool = False,
    layer: str = "max_pool",
    impl: str | None = None,
) -> jax.Array:
    """Largest value under each window; padding never wins.

    Where values tie, the gradient goes to the first of them in reading order, as in
    torch.

    Args:
      x: images.
      window: height and width of the window.
      strides: step between windows.
      padding: one number or ((top, bottom), (left, right)).
      ceil_mode: keep a last window that reaches over the end.
      layer: what to call the layer in the error.
      impl: 'auto', 'xla', 'lax' or None, see `implementation`.

    Raises:
      UserError: if the output would vanish.

    Shapes:
      [N, H, W, C] -> [N, H', W', C].
    """
    window, strides = as_pair(window), as_pair(strides)
    out, pads = _fit(x, window, strides, as_padding(padding), ceil_mode, layer)
    if window[0] * window[1] <= MAX_SLICES and chosen(impl) != "lax":
        return max_of_slices(Windows(window, strides, pads, out, chosen(impl)), x)
    return lax.reduce_window(
        x,
        -jnp.inf,
        lax.max,
        (1, *window, 1),
        (1, *strides, 1),
        ((0, 0), *pads, (0, 0)),
    )


def avg_pool(
    x: jax.Array,
    window: int | Pair,
    strides: int | Pair,
    padding: Padding = 0,
    *,
    count_include_pad: bool = True,
    ceil_mode: bool = False,
    layer: str = "avg_pool",
    impl: str | None = None,
) -> jax.Array:
    """Mean under each window.

    Args:
      x: images.
      window: height and width of the window.
      strides: step between windows.
      padding: one number or ((top, bottom), (left, right)).
      count_include_pad: divide by all places of the window within the padded image;
        otherwise by those within the image.
      ceil_mode: keep a last window that reaches over the end (what lies beyond the
        padding is never counted).
      layer: what to call the layer in the error.
      impl: 'auto', 'xla', 'lax' or None, see `implementation`.

    Raises:
      UserError: if the output would vanish.

    Shapes:
      [N, H, W, C] -> [N, H', W', C].
    """
    window, strides, padding = as_pair(window), as_pair(strides), as_padding(padding)
    out, pads = _fit(x, window, strides, padding, ceil_mode, layer)
    if window[0] * window[1] <= MAX_SLICES and chosen(impl) != "lax":
        total = sum_of_slices(Windows(window, strides, pads, out, chosen(impl)), x)
    else:
        total = lax.reduce_window(
            x,
            0.0,
            lax.add,
            (1, *window, 1),
            (1, *strides, 1),
            ((0, 0), *pads, (0, 0)),
        )
    counts = [
        _counts(
            x.shape[1 + a], window[a], strides[a], padding[a], out[a], count_include_pad
        )
        for a in (0, 1)
    ]
    places = np.outer(*counts)[None, :, :, None]
    return total / jnp.asarray(places, x.dtype)


def global_avg_pool(x: jax.Array) -> jax.Array:
    """Mean over all positions: [N, H, W, C] -> [N, C]."""
    return x.mean((1, 2))


def adaptive_avg_pool(x: jax.Array, size: Pair) -> jax.Array:
    """Mean over a grid of (height, width) windows that covers any map.

    Window i of n along an axis of length L reaches from floor(i L / n) to
    ceil((i + 1) L / n), as in torch: windows overlap or repeat where n does not divide
    L. A map of the right size is returned as it is.

    Shapes:
      [N, H, W, C] -> [N, *size, C].
    """
    for axis, count in ((1, size[0]), (2, size[1])):
        length = x.shape[axis]
        if length == count:
            continue
        windows = [
            lax.slice_in_dim(
                x, i * length // count, -(-(i + 1) * length // count), axis=axis
            ).mean(axis, keepdims=True)
            for i in range(count)
        ]
        x = jnp.concatenate(windows, axis)
    return x


class MaxPool(nn.Module):
    """`max_pool` as a layer with a name."""

    window: int | Pair
    strides: int | Pair
    padding: Padding = 0
    ceil_mode: bool = False

    def __call__(self, x: jax.Array) -> jax.Array:
        return max_pool(
            x,
            self.window,
            self.strides,
            self.padding,
            ceil_mode=self.ceil_mode,
            layer="/".join(self.path) or "max_pool",
        )


class AvgPool(nn.Module):
    """`avg_pool` as a layer with a name."""

    window: int | Pair
    strides: int | Pair
    padding: Padding = 0
    count_include_pad: bool = True
    ceil_mode: bool = False

    def __call__(self, x: jax.Array) -> jax.Array:
        return avg_pool(
            x,
            self.window,
            self.strides,
            self.padding,
            count_include_pad=self.count_include_pad,
            ceil_mode=self.ceil_mode,
            layer="/".join(self.path) or "avg_pool",
        )


# The kinds that a net can take as its argument `pool`.
POOLS = {"max": MaxPool, "avg": AvgPool}


def pool_of(kind: str) -> type[nn.Module]:
    """The pooling layer of that name.

    Raises:
      UserError: for a name that is not in `POOLS`.
    """
    if kind not in POOLS:
        raise unknown_name("pooling", kind, POOLS, "config.model.pool")
    return POOLS[kind]


class GlobalAvgPool(nn.Module):
    """`global_avg_pool` as a layer with a name."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return global_avg_pool(x)


class AdaptiveAvgPool(nn.Module):
    """`adaptive_avg_pool` as a layer with a name."""

    size: Pair

    def __call__(self, x: jax.Array) -> jax.Array:
        return adaptive_avg_pool(x, self.size)


def _fit(x, window, strides, padding, ceil_mode, layer):
    """Output size, and the padding that makes the last windows fit exactly."""
    size = x.shape[1:3]
    out = output_size(size, window, strides, padding, ceil_mode=ceil_mode, layer=layer)
    pads = []
    for axis in (0, 1):
        low, high = padding[axis]
        reach = (out[axis] - 1) * strides[axis] + window[axis]
        pads.append((low, max(high, reach - size[axis] - low)))
    return out, tuple(pads)


def _counts(size, window, stride, padding, out, include_pad):
    """How many places each window counts along one axis."""
    low, high = padding
    begin = np.arange(out) * stride - low
    first, end = (-low, size + high) if include_pad else (0, size)
    return np.minimum(begin + window, end) - np.maximum(begin, first)
