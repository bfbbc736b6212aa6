"""Batch normalization as one function with its gradient in closed form.

Differentiating the forward pass line by line gives twice as many small operations: the
closed form makes the training step of a narrow residual net on CPU about a fifth faster
and shorter to compile. It forbids forward-mode derivatives of the training pass, for
which the plain implementation is there.
"""

import functools
from typing import NamedTuple

import jax
from jax import lax

from cnnjax.layers.functional.channels import per_channel
from cnnjax.layers.functional.implementation import chosen
from cnnjax.layers.functional.moments import moments
from cnnjax.layers.functional.varying import equally_varying
from cnnjax.shard import Shard, shard


def batch_normalize(
    x: jax.Array,
    scale: jax.Array,
    bias: jax.Array,
    epsilon: float,
    num_shards: int = 1,
    impl: str | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Normalizes each channel of each group by the group's own mean and variance.

    Args:
      x: images in groups that share their statistics.
      scale: one number per channel.
      bias: one number per channel.
      epsilon: added to the biased variance.
      num_shards: over how many neighbouring shards (`cnnjax.shard`) of the batch each
        group extends; with more than one there is a single group.
      impl: 'auto', 'xla', 'lax' or None, see `implementation`.

    Returns:
      y = (x - mean) / sqrt(var + epsilon) * scale + bias in the type of the statistics,
      and mean and biased variance, through which no gradient flows.

    Shapes: x [groups, N, ..., C], scale and bias [C] -> y as x, mean and var
    [groups, 1, ..., 1, C].

    Source: Ioffe & Szegedy 2015, arXiv 1502.03167, section 3.
    """
    over = Over(shard(), num_shards)
    if chosen(impl) == "lax":
        y, mean, var = _forward(epsilon, over, x, scale, bias)[0]
        return y, lax.stop_gradient(mean), lax.stop_gradient(var)
    return _batch_normalize(epsilon, over, *equally_varying(x, scale, bias))


class Over(NamedTuple):
    """The neighbouring shards of a batch that share their statistics."""

    shard: Shard
    num: int

    def sum(self, x: jax.Array) -> jax.Array:
        return x if self.num == 1 else self.shard.sum_of_neighbours(x, self.num)

    def mean(self, x: jax.Array) -> jax.Array:
        return x if self.num == 1 else self.sum(x) / self.num


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _batch_normalize(epsilon, over, x, scale, bias):
    return _forward(epsilon, over, x, scale, bias)[0]


def _forward(epsilon, over, x, scale, bias):
    mean, var = moments(x, _within_group(x), over.mean)
    inverse = lax.rsqrt(var + epsilon)
    centred = x.astype(mean.dtype) - mean
    y = centred * (inverse * per_channel(scale, x)) + per_channel(bias, x)
    return (y, mean, var), (x, scale, mean, inverse)


def _backward(epsilon, over, residuals, cotangents):
    x, scale, mean, inverse = residuals
    dy = cotangents[0]
    axes = _within_group(x)
    centred = x.astype(mean.dtype) - mean
    sum_dy = dy.sum(axes, keepdims=True)
    # The sum of dy times the normalized x, which is the gradient of the scale.
    sum_dy_y = (dy * centred).sum(axes, keepdims=True) * inverse
    num_values = over.num * x.size // sum_dy.size
    slope = inverse * per_channel(scale, x)
    dx = slope * (dy - over.sum(sum_dy) / num_values) - centred * (
        slope * inverse * over.sum(sum_dy_y) / num_values
    )
    all_but_channel = tuple(range(x.ndim - 1))
    return (
        dx.astype(x.dtype),
        sum_dy_y.sum(all_but_channel).astype(scale.dtype),
        sum_dy.sum(all_but_channel).astype(scale.dtype),
    )


_batch_normalize.defvjp(_forward, _backward)


def _within_group(x: jax.Array) -> tuple[int, ...]:
    return tuple(range(1, x.ndim - 1))
