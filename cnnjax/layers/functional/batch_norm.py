"""Batch normalization as one operation with its derivatives in closed form.

Differentiating the forward pass line by line gives twice as many small operations: the
closed form makes the training step of a narrow residual net on CPU about a fifth faster
and shorter to compile.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.layers.functional.channels import per_channel
from cnnjax.layers.functional.implementation import chosen
from cnnjax.layers.functional.moments import moments
from cnnjax.layers.functional.operation import apply, is_unknown
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
        y, mean, var = _forward(epsilon, over, x, scale, bias)
    else:
        args = equally_varying(x, scale, bias)
        y, mean, var = apply(_Normalize(epsilon, over), *args)
    return y, lax.stop_gradient(mean), lax.stop_gradient(var)


class Over(NamedTuple):
    """The neighbouring shards of a batch that share their statistics."""

    shard: Shard
    num: int

    def sum(self, x: jax.Array) -> jax.Array:
        return x if self.num == 1 else self.shard.sum_of_neighbours(x, self.num)

    def mean(self, x: jax.Array) -> jax.Array:
        return x if self.num == 1 else self.sum(x) / self.num


def _forward(epsilon, over, x, scale, bias):
    mean, var = moments(x, _within_group(x), over.mean)
    inverse = lax.rsqrt(var + epsilon)
    centred = x.astype(mean.dtype) - mean
    y = centred * (inverse * per_channel(scale, x)) + per_channel(bias, x)
    return y, mean, var


@dataclasses.dataclass(frozen=True)
class _Normalize:
    """(x, scale, bias) -> (y, mean, var)."""

    epsilon: float
    over: Over

    def plain(self, x, scale, bias):
        return _forward(self.epsilon, self.over, x, scale, bias)

    on_cpu = plain

    def tangents(self, args, results, tangents):
        (x, scale, _), (_, mean, var) = args, results
        moving = _zeros_for_none(args, tangents)
        return apply(_Tangent(self.epsilon, self.over), x, scale, mean, var, *moving)


@dataclasses.dataclass(frozen=True)
class _Tangent:
    """(x, scale, mean, var, dx, dscale, dbias) -> (dy, dmean, dvar).

    It is linear in the last three arguments.
    """

    epsilon: float
    over: Over

    def plain(self, x, scale, mean, var, dx, dscale, dbias):
        inverse = lax.rsqrt(var + self.epsilon)
        centred = x.astype(mean.dtype) - mean
        dx = dx.astype(mean.dtype)
        axes = _within_group(x)
        dmean = self.over.mean(dx.mean(axes, keepdims=True))
        half = self.over.mean((centred * dx).mean(axes, keepdims=True))
        slope = inverse * per_channel(scale, x)
        dy = slope * (dx - dmean - centred * (half * inverse * inverse))
        dy = dy + centred * (inverse * per_channel(dscale, x)) + per_channel(dbias, x)
        return dy, dmean, 2 * half

    on_cpu = plain

    def tangents(self, args, results, tangents):
        return _tangents(self, args, tangents)

    def transposed(self, args, cotangents):
        x, scale, *_ = known = args[:4]
        of_y, *of_moments = cotangents
        if of_y is not None and of_moments == [None, None]:
            found = apply(_Gradient(self.epsilon, self.over), *known, of_y)
        else:  # of a second derivative, for which plain code will do
            zeros = [jnp.zeros_like(like) for like in (x, scale, scale)]
            results, pull_back = jax.vjp(functools.partial(self.plain, *known), *zeros)
            found = pull_back(_zeros_for_none(results, cotangents))
        pairs = zip(args[4:], found, strict=True)
        return [None] * 4 + [of if is_unknown(arg) else None for arg, of in pairs]


@dataclasses.dataclass(frozen=True)
class _Gradient:
    """(x, scale, mean, var, cotangent of y) -> cotangents of x, scale and bias."""

    epsilon: float
    over: Over

    def plain(self, x, scale, mean, var, dy):
        inverse = lax.rsqrt(var + self.epsilon)
        axes = _within_group(x)
        centred = x.astype(mean.dtype) - mean
        sum_dy = dy.sum(axes, keepdims=True)
        # The sum of dy times the normalized x, which is the gradient of the scale.
        sum_dy_y = (dy * centred).sum(axes, keepdims=True) * inverse
        num_values = self.over.num * x.size // sum_dy.size
        slope = inverse * per_channel(scale, x)
        dx = slope * (dy - self.over.sum(sum_dy) / num_values) - centred * (
            slope * inverse * self.over.sum(sum_dy_y) / num_values
        )
        all_but_channel = tuple(range(x.ndim - 1))
        return (
            dx.astype(x.dtype),
            sum_dy_y.sum(all_but_channel).astype(scale.dtype),
            sum_dy.sum(all_but_channel).astype(scale.dtype),
        )

    on_cpu = plain

    def tangents(self, args, results, tangents):
        return _tangents(self, args, tangents)

    def transposed(self, args, cotangents):
        x, scale, *_ = args
        given = _zeros_for_none((x, scale, scale), cotangents)
        (dy, *_) = apply(_Tangent(self.epsilon, self.over), *args[:4], *given)
        return [None] * 4 + [dy]


def _tangents(operation, args, tangents):
    """Of an operation that is linear in all but the first four arguments.

    What it is linear in goes through the operation; the rest is a second derivative,
    for which plain code will do.
    """
    known, linear = args[:4], args[4:]
    terms = []
    if any(t is not None for t in tangents[4:]):
        moving = _zeros_for_none(linear, tangents[4:])
        terms.append(apply(operation, *known, *moving))
    if any(t is not None for t in tangents[:4]):
        moving = _zeros_for_none(known, tangents[:4])
        second = jax.jvp(lambda *known: operation.plain(*known, *linear), known, moving)
        terms.append(second[1])
    return [sum(parts[1:], parts[0]) for parts in zip(*terms, strict=True)]


def _zeros_for_none(args, tangents):
    return tuple(
        jnp.zeros_like(arg) if tangent is None else tangent
        for arg, tangent in zip(args, tangents, strict=True)
    )


def _within_group(x: jax.Array) -> tuple[int, ...]:
    return tuple(range(1, x.ndim - 1))
