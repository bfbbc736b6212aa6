"""How sharp the loss is at trained weights: the largest eigenvalue of its Hessian."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cnnjax.devices.parallel import compile_program
from cnnjax.net.stacked import unscan
from cnnjax.views.landscape import loss_and_errors


@dataclasses.dataclass(frozen=True)
class Curvature:
    """The largest eigenvalue of the Hessian.

    Attributes:
      value: of the loss, on the given images.
      residual: ||H v - value v||, for the unit vector v that was found.
      products: of the Hessian with a vector that were taken.
    """

    value: float
    residual: float
    products: int


def filter_lengths(params: Any) -> Any:
    """The norm of each filter at each of its weights; 0 for biases and norms.

    A Hessian in these units does not see the scale of filters, which means nothing
    where a norm follows.

    Args:
      params: stored separately per block; output channels come last.

    Source: Li et al. 2017, arXiv 1712.09913, section 4.
    """

    def of_leaf(leaf):
        if leaf.ndim < 2:
            return jnp.zeros_like(leaf)
        axes = tuple(range(leaf.ndim - 1))
        length = jnp.sqrt((leaf**2).sum(axis=axes, keepdims=True))
        return jnp.broadcast_to(length, leaf.shape)

    return jax.tree.map(of_leaf, params)


def first_vector(params: Any, seed: int) -> Any:
    """Where a power iteration starts: a random vector like the parameters."""
    stream = np.random.Generator(np.random.PCG64(seed))
    return jax.tree.map(
        lambda p: stream.standard_normal(np.shape(p)).astype(p.dtype), params
    )


def largest_eigenvalue(
    loss: Callable[[Any], jax.Array],
    params: Any,
    start: Any,
    *,
    units: Any = None,
    most: int = 60,
    tolerance: float = 1e-3,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The largest eigenvalue of a Hessian by power iteration; pure.

    Where the eigenvalue of largest size is negative, a second iteration on the Hessian
    minus that value finds the largest.

    Args:
      loss: of parameters.
      params: where.
      start: of `first_vector`.
      units: what a vector is measured in, weight by weight, such as `filter_lengths`;
        None for the weights themselves.
      most: products of each iteration.
      tolerance: it ends where the residual is below this share of the value.

    Returns:
      (value, residual, products), as of `Curvature`.
    """

    def at(change):
        if units is not None:
            change = jax.tree.map(jnp.multiply, units, change)
        return loss(jax.tree.map(jnp.add, params, change))

    here = jax.tree.map(jnp.zeros_like, params)
    start = jax.tree.map(jnp.asarray, start)

    def step(seen):
        # One body for both iterations: it is what takes long to compile.
        vector, shift, limit, count, *_ = seen
        length = _norm(vector)
        vector = jax.tree.map(lambda v: v / length, vector)
        _, bent = jax.jvp(jax.grad(at), (here,), (vector,))
        value = _dot(vector, bent)
        residual = _norm(jax.tree.map(lambda b, v: b - value * v, bent, vector))
        moved = jax.tree.map(lambda b, v: b - shift * v, bent, vector)
        count += 1
        ends = (residual <= tolerance * jnp.abs(value)) | (count >= limit)
        again = ends & (value < 0) & (shift == 0)
        moved = jax.tree.map(lambda s, m: jnp.where(again, s, m), start, moved)
        shift = jnp.where(again, value, shift)
        limit = jnp.where(again, count + most, limit)
        return moved, shift, limit, count, value, residual, ends & ~again

    zero = 0 * _norm(start)
    begun = start, zero, jnp.array(most), jnp.array(0), zero, zero, jnp.array(False)
    ended = jax.lax.while_loop(lambda seen: ~seen[-1], step, begun)
    _, _, _, count, value, residual, _ = ended
    return value, residual, count


def sharpness(
    network: nn.Module,
    variables: Any,
    images: jax.Array,
    labels: Any,
    *,
    seed: int = 0,
    most: int = 60,
    tolerance: float = 1e-3,
    batch_statistics: bool = False,
    by_filter: bool = False,
) -> Curvature:
    """The largest eigenvalue of the Hessian of the loss; see `largest_eigenvalue`.

    Args:
      network: a net of `create_model`.
      variables: {'params': ..., other collections}.
      images: float [N, H, W, C], all in one batch.
      labels: int [N].
      seed: of the first vector.
      most: products of each iteration.
      tolerance: it ends where the residual is below this share of the value.
      batch_statistics: whether batch norm takes those of the images.
      by_filter: whether directions are measured in `filter_lengths`.
    """
    network, variables = unscan(network, variables, images.shape[1:])
    state = dict(variables)
    params = jax.tree.map(jnp.asarray, state.pop("params"))

    def find(params, state, images, labels, start):
        def loss(params):
            given = (network, params, state, images, labels, batch_statistics)
            return loss_and_errors(*given)[0]

        units = filter_lengths(params) if by_filter else None
        options: dict[str, Any] = {"most": most, "tolerance": tolerance}
        return largest_eigenvalue(loss, params, start, units=units, **options)

    given = params, state, images, jnp.asarray(labels), first_vector(params, seed)
    value, residual, products = compile_program(find, given)(*given)
    return Curvature(float(value), float(residual), int(products))


def _dot(first: Any, second: Any) -> jax.Array:
    parts = jax.tree.map(lambda a, b: (a * b).sum(), first, second)
    return jnp.stack(jax.tree.leaves(parts)).sum()


def _norm(tree: Any) -> jax.Array:
    return jnp.sqrt(_dot(tree, tree))
