"""Where a layer speaks for a class: Grad-CAM and Grad-CAM++ at any layer."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnjax.views.passes import DoesNotApply, chosen, map_and_logits


def _map_and_gradient(network, variables, images, targets, layer):
    """A layer's output [N, h, w, c] and the gradient of the chosen logits there."""
    shape, rest = map_and_logits(network, variables, images, layer)
    if len(shape) != 4:
        raise DoesNotApply(
            f"Grad-CAM needs a layer with positions, and {layer!r} gives vectors: "
            "choose a convolution or a block (--layer)"
        )

    def score(change):
        logits, output = rest(change)
        return chosen(logits, targets).sum(), output

    change = jnp.zeros(shape, images.dtype)
    slope, output = jax.grad(score, has_aux=True)(change)
    return output, slope


def grad_cam(
    network: nn.Module,
    variables: Any,
    images: jax.Array,
    targets: jax.Array,
    layer: str,
) -> jax.Array:
    """Channels of a layer, added up with the mean of their gradients as weights.

    Args:
      network: a net of `create_model`.
      variables: {'params': ..., other collections}.
      images: float [N, H, W, C], as the net takes them.
      targets: int [N], the class of each image.
      layer: path of a module whose output is a map.

    Returns:
      [N, h, w], not negative, in the size of the layer's map.

    Raises:
      DoesNotApply: the layer has no positions.

    Source: Selvaraju et al. 2016, arXiv 1610.02391, equations 1 and 2.
    """
    output, slope = _map_and_gradient(network, variables, images, targets, layer)
    weights = slope.mean(axis=(1, 2), keepdims=True)
    return jax.nn.relu((weights * output).sum(axis=-1))


def grad_cam_plus_plus(
    network: nn.Module,
    variables: Any,
    images: jax.Array,
    targets: jax.Array,
    layer: str,
) -> jax.Array:
    """Grad-CAM with weights that count each position where a channel speaks.

    The score is the exponential of the logit, as in the paper, so that second and third
    derivatives are powers of the first. Arguments and result as of `grad_cam`.

    Source: Chattopadhay et al. 2017, arXiv 1710.11063, equations 5, 11 and 19.
    """
    output, slope = _map_and_gradient(network, variables, images, targets, layer)
    squared = slope**2
    total = output.sum(axis=(1, 2), keepdims=True)
    below = 2 * squared + total * slope**3
    alpha = jnp.where(below != 0, squared / jnp.where(below != 0, below, 1), 0)
    # A positive factor, the exponential itself, is left out: it scales the whole map.
    weights = (alpha * jax.nn.relu(slope)).sum(axis=(1, 2), keepdims=True)
    return jax.nn.relu((weights * output).sum(axis=-1))
