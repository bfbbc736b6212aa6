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
    """Where the iteration starts: a random vector like the parameters."""
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
    """The largest eigenvalue of a Hessian by the Lanczos iteration; pure.

    Without orthogonalising anew: rounding repeats eigenvalues that are found, and moves
    none. Negative ones of larger size do not disturb it, as they do power iteration.

    Args:
      loss: of parameters.
      params: where.
      start: of `first_vector`.
      units: what a vector is measured in, weight by weight, such as `filter_lengths`;
        None for the weights themselves.
      most: products.
      tolerance: it ends where the residual is below this share of the value.

    Returns:
      (value, residual, products), as of `Curvature`.

    Source: Golub & Van Loan 2013, "Matrix computations", section 10.1.
    """

    def at(change):
        if units is not None:
            change = jax.tree.map(jnp.multiply, units, change)
        return loss(jax.tree.map(jnp.add, params, change))

    here = jax.tree.map(jnp.zeros_like, params)

    def step(seen):
        before, vector, beside, diagonal, off, count, *_ = seen
        _, bent = jax.jvp(jax.grad(at), (here,), (vector,))
        along = _dot(vector, bent)
        rest = jax.tree.map(
            lambda h, v, u: h - along * v - beside * u, bent, vector, before
        )
        length = _norm(rest)
        diagonal, off = diagonal.at[count].set(along), off.at[count].set(length)
        count += 1
        value, last = _top(diagonal, off, count)
        residual = length * jnp.abs(last)
        ends = (residual <= tolerance * jnp.abs(value)) | (count >= most)
        following = jax.tree.map(lambda r: r / jnp.where(length > 0, length, 1), rest)
        return vector, following, length, diagonal, off, count, value, residual, ends

    length = _norm(jax.tree.map(jnp.asarray, start))
    first = jax.tree.map(lambda v: v / length, start)
    zero, none = 0 * length, jnp.zeros(most, length.dtype)
    begun = here, first, zero, none, none, jnp.array(0), zero, zero, jnp.array(False)
    ended = jax.lax.while_loop(lambda seen: ~seen[-1], step, begun)
    *_, count, value, residual, _ = ended
    return value, residual, count


def _top(
    diagonal: jax.Array, off: jax.Array, count: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """The largest eigenvalue of a tridiagonal matrix, its vector's last entry.

    Args:
      diagonal: [most], of which the first `count` are used.
      off: [most], what follows each of these in its row.
      count: at least 1.
    """
    places = jnp.arange(len(diagonal))
    used, inner = places < count, places[:-1] < count - 1
    # Below every eigenvalue, by Gershgorin's circles.
    below = -1 - jnp.abs(diagonal).sum() - 2 * jnp.abs(off).sum()
    beside = jnp.where(inner, off[:-1], 0)
    matrix = jnp.diag(jnp.where(used, diagonal, below))
    matrix += jnp.diag(beside, 1) + jnp.diag(beside, -1)
    values, vectors = jnp.linalg.eigh(matrix)
    return values[-1], vectors[count - 1, -1]


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
      most: products.
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
