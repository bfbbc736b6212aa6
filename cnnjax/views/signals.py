"""Where signals and gradients go: sizes along the depth, and the field that is used."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cnnjax.net.parts import layers_of
from cnnjax.net.stacked import unscan
from cnnjax.views.landscape import loss_and_errors
from cnnjax.views.passes import map_and_logits

# Of the largest value: a pixel counts above it, as in Luo et al. 2016, section 4.
COUNTS = 1 - 0.9545


def effective_field(
    network: nn.Module, variables: Any, images: jax.Array, layer: str
) -> jax.Array:
    """How much the middle of a layer's map depends on each pixel: [H, W].

    The gradient of the sum of the channels at the middle position, its size summed over
    the channels of the image and averaged over images.

    Args:
      network: a net of `create_model`.
      variables: {'params': ..., other collections}.
      images: float [N, H, W, C].
      layer: path of a module that gives maps.

    Source: Luo et al. 2016, arXiv 1701.04128.
    """
    shape, _ = map_and_logits(network, variables, images, layer)
    row, column = shape[1] // 2, shape[2] // 2

    def middle(x):
        _, rest = map_and_logits(network, variables, x, layer)
        _, output = rest(jnp.zeros(shape, x.dtype))
        return output[:, row, column].sum()

    return jnp.abs(jax.grad(middle)(images)).sum(axis=-1).mean(axis=0)


def effective_side(field: np.ndarray) -> float:
    """Side of the square with as many pixels as count in an effective field."""
    largest = field.max()
    return float(np.sqrt((field > COUNTS * largest).sum())) if largest > 0 else 0.0


def along_depth(
    network: nn.Module, variables: Any, images: jax.Array, labels: jax.Array
) -> dict[str, tuple[jax.Array, jax.Array]]:
    """Response and gradient of each convolution, in an evaluation; pure.

    Args:
      network: a net of `create_model`.
      variables: {'params': ..., other collections}.
      images: float [N, H, W, C].
      labels: int [N].

    Returns:
      Path -> (standard deviation of the output, after the norm behind it if there is
      one; norm of the gradient of its kernel). jit sorts it by path.

    Source: as of the probes `layer_responses` and `gradient_norms`.
    """
    network, variables = unscan(network, variables, images.shape[1:])
    state = dict(variables)
    params = state.pop("params")

    def loss(params):
        return loss_and_errors(network, params, state, images, labels)[0]

    slopes = jax.grad(loss)(params)
    found = {}
    for layer in layers_of(network, params, state, images):
        response = layer.output if layer.normed is None else layer.normed
        slope: Any = slopes
        for name in layer.path.split("/"):
            slope = slope[name]
        norm = jnp.sqrt((slope["kernel"] ** 2).sum())
        found[layer.path] = response.std(), norm
    return found
