"""Squeeze and excitation: channels weighted by what the whole map shows."""

from collections.abc import Callable

import jax
from flax import linen as nn

from cnnjax.layers.act import make_act


class SqueezeExcite(nn.Module):
    """x times a weight per channel, computed from the mean of every channel.

    Args:
      reduced: channels between the two 1 x 1 convolutions.
      conv: factory of convolutions, `functools.partial(Conv, ...)`.
      act: activation between the two.
      gate: name of the activation that gives the weights.

    Shapes: [N, H, W, C] -> the same; children `reduce_conv`, `expand_conv`.

    Source: Hu et al. 2017, arXiv 1709.01507, section 3.
    """

    reduced: int
    conv: Callable[..., nn.Module]
    act: Callable[[jax.Array], jax.Array]
    gate: str = "sigmoid"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = x.mean((1, 2), keepdims=True)  # [N, 1, 1, C]
        y = self.conv(self.reduced, 1, use_bias=True, name="reduce_conv")(y)
        y = self.conv(x.shape[-1], 1, use_bias=True, name="expand_conv")(self.act(y))
        return x * make_act(self.gate)(y)
