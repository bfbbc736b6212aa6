"""Images that a unit likes best: activation maximisation."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnjax.views.passes import map_and_logits


def maximise(
    network: nn.Module,
    variables: Any,
    bounds: tuple[jax.Array, jax.Array],
    layer: str,
    units: jax.Array,
    seed: int = 0,
    *,
    steps: int = 96,
    rate: float = 0.1,
    decay: float = 0.01,
    blur: float = 0.1,
    jitter: int = 2,
) -> tuple[jax.Array, jax.Array]:
    """An image for each unit that makes its mean output large; the same for a seed.

    Each step moves the image at random (jitter), goes along the gradient, draws pixels
    towards the middle of their range (decay) and towards their neighbours (blur).

    Args:
      network: a net of `create_model`.
      variables: {'params': ..., other collections}.
      bounds: (smallest, largest) value of each pixel, arrays [H, W, C], finite.
      layer: path of a module that gives maps [N, h, w, units] or vectors [N, units].
      units: int [N], channels of that output.
      seed: of the first image and of the jitter.
      steps: of the ascent.
      rate: root mean square of the first step, as a share of half the range of a
        pixel; it falls to a fifth of that.
      decay: share of its distance from the middle that a pixel loses in a step.
      blur: share of its distance from the mean of its four neighbours, likewise.
      jitter: pixels that the image is moved by at most.

    Returns:
      (images [N, H, W, C], mean output of each [N]).

    Source: Erhan et al. 2009, technical report 1341, Montreal; decay and blur as by
    Yosinski et al. 2015, arXiv 1506.06579; jitter as by Mordvintsev et al. 2015.
    """
    low, high = (bound[None] for bound in bounds)
    middle, reach = (low + high) / 2, (high - low) / 2
    first, moving = jax.random.split(jax.random.key(seed))
    shape = (len(units), *low.shape[1:])
    start = middle + 0.3 * reach * jax.random.normal(first, shape, low.dtype)
    size, _ = map_and_logits(network, variables, start, layer)

    def outputs(x):
        _, rest = map_and_logits(network, variables, x, layer)
        _, output = rest(jnp.zeros(size, x.dtype))
        flat = output.reshape(len(x), -1, output.shape[-1])
        return jnp.take_along_axis(flat, units[:, None, None], axis=-1).mean((1, 2))

    def step(i, x):
        key = jax.random.fold_in(moving, i)
        shift = jax.random.randint(key, (2,), -jitter, jitter + 1)
        x = jnp.roll(x, shift, axis=(1, 2))
        rise = jax.grad(lambda x: outputs(x).sum())(x) * reach
        x += rate * (1 - 0.8 * i / steps) * reach * _of_size_one(rise)
        x = middle + (1 - decay) * (x - middle)
        x += blur * (_neighbours(x) - x)
        return jnp.clip(jnp.roll(x, -shift, axis=(1, 2)), low, high)

    images = jax.lax.fori_loop(0, steps, step, start)
    return images, outputs(images)


def _of_size_one(x: jax.Array) -> jax.Array:
    """Each image divided by its root mean square; 0 stays 0."""
    size = jnp.sqrt((x**2).mean(axis=(1, 2, 3), keepdims=True))
    return x / jnp.where(size > 0, size, 1)


def _neighbours(x: jax.Array) -> jax.Array:
    """The mean of the four neighbours of each pixel; at the border it is its own."""
    wide = jnp.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="edge")
    vertical = wide[:, :-2, 1:-1] + wide[:, 2:, 1:-1]
    return (vertical + wide[:, 1:-1, :-2] + wide[:, 1:-1, 2:]) / 4
