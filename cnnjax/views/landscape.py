"""The loss around trained weights, along random directions.

Batch norm is that of an evaluation, with the running statistics of the trained weights,
as in the source; with `batch_statistics` it takes those of the given images instead.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cnnjax.devices.parallel import compile_program
from cnnjax.net.forward import forward_eval
from cnnjax.net.stacked import unscan


def directions(params: Any, seed: int, count: int = 2) -> list[Any]:
    """Random directions with the norm of each filter; biases and norms stay at 0.

    Args:
      params: stored separately per block; output channels come last.
      seed: the same numbers for every net with these shapes.
      count: how many.

    Source: Li et al. 2017, arXiv 1712.09913, section 4.
    """
    stream = np.random.Generator(np.random.PCG64(seed))

    def of_leaf(leaf):
        leaf = np.asarray(leaf)
        drawn = stream.standard_normal(leaf.shape)
        if leaf.ndim < 2:
            return np.zeros_like(leaf)
        axes = tuple(range(leaf.ndim - 1))
        wanted = np.sqrt((leaf.astype(float) ** 2).sum(axis=axes))
        length = np.sqrt((drawn**2).sum(axis=axes))
        return (drawn * wanted / length).astype(leaf.dtype)

    return [jax.tree.map(of_leaf, params) for _ in range(count)]


def loss_and_errors(
    network: nn.Module,
    params: Any,
    state: Any,
    images: jax.Array,
    labels: jax.Array,
    batch_statistics: bool = False,
) -> tuple[jax.Array, jax.Array]:
    """(mean cross entropy, share of wrong guesses) in an evaluation."""
    logits = forward_eval(network, params, state, images, batch_statistics)
    logits = logits.astype(images.dtype)
    picked = jnp.take_along_axis(logits, labels[:, None], axis=1)[:, 0]
    losses = jax.nn.logsumexp(logits, axis=1) - picked
    return losses.mean(), (logits.argmax(axis=1) != labels).mean()


@dataclasses.dataclass(frozen=True)
class Surface:
    """Loss and error over a plane of weights.

    Attributes:
      xs: [n], along the first direction, in lengths of it.
      ys: [m], along the second; [0] for a line.
      losses: [m, n].
      errors: [m, n], in percent.
    """

    xs: np.ndarray
    ys: np.ndarray
    losses: np.ndarray
    errors: np.ndarray


Point = Callable[[float, float], tuple[float, float]]


def around(
    network: nn.Module,
    variables: Any,
    images: jax.Array,
    labels: Any,
    along: list[Any],
    *,
    batch_statistics: bool = False,
) -> Point:
    """Loss and error in percent at weights + x * direction + y * direction.

    Args:
      network: a net of `create_model`.
      variables: {'params': ..., other collections}.
      images: float [N, H, W, C], all in one batch.
      labels: int [N].
      along: one or two trees like the parameters, stored separately per block.
      batch_statistics: whether batch norm takes those of the images.

    Returns:
      A function of x and y.
    """
    network, variables = unscan(network, variables, images.shape[1:])
    state = dict(variables)
    params = state.pop("params")
    axes = [along[0], along[-1]]

    def at(params, state, axes, images, labels, x, y):
        moved = jax.tree.map(lambda p, a, b: p + x * a + y * b, params, *axes)
        given = (network, moved, state, images, labels, batch_statistics)
        return loss_and_errors(*given)

    fixed = jax.tree.map(
        jnp.asarray, (params, state, axes, images, jnp.asarray(labels))
    )
    zero = jnp.zeros((), images.dtype)
    program = compile_program(at, (*fixed, zero, zero))

    def point(x: float, y: float) -> tuple[float, float]:
        place = (jnp.asarray(each, images.dtype) for each in (x, y))
        loss, error = program(*fixed, *place)
        return float(loss), 100 * float(error)

    return point


def surface(point: Point, xs: np.ndarray, ys: np.ndarray | None = None) -> Surface:
    """Loss and error over a grid, or along a line.

    Args:
      point: of `around`.
      xs: [n].
      ys: [m]; None for a line.
    """
    rows = np.zeros(1) if ys is None else np.asarray(ys)
    found = np.array([[point(x, y) for x in xs] for y in rows])
    return Surface(np.asarray(xs), rows, found[..., 0], found[..., 1])


def projected(params: Any, centre: Any, along: list[Any]) -> np.ndarray:
    """Where weights lie in the plane of two directions, by least squares: (x, y).

    Args:
      params: of another moment of the same training.
      centre: the weights in the middle of the plane.
      along: of `surface`.
    """
    moved = _vector(jax.tree.map(lambda p, c: np.asarray(p) - c, params, centre))
    axes = np.stack([_vector(each) for each in along], axis=1)
    return np.linalg.lstsq(axes, moved, rcond=None)[0]


def _vector(tree: Any) -> np.ndarray:
    leaves = [np.ravel(leaf).astype(float) for leaf in jax.tree.leaves(tree)]
    return np.concatenate(leaves)
