"""Convolution, normalization and activation, the unit of most nets."""

import dataclasses
from collections.abc import Callable

import jax
from flax import linen as nn

from cnnjax.layers.functional.window import Padding, Pair
from cnnjax.layers.norm import Norm


class ConvNormAct(nn.Module):
    """A convolution, then a norm, then an activation.

    Args:
      features: number of output channels.
      kernel_size: height and width of the filters.
      strides: step between outputs.
      padding: zeros around the image.
      groups: number of groups.
      conv: factory of convolutions, `functools.partial(Conv, ...)`.
      norm: normalization.
      act: activation function; `layers.act.identity` for none.

    Shapes: [N, H, W, C] -> [N, H', W', features]; children `conv`, `norm`.
    """

    features: int
    kernel_size: int | Pair
    strides: int | Pair = 1
    padding: Padding = 0
    groups: int = 1
    _: dataclasses.KW_ONLY
    conv: Callable[..., nn.Module]
    norm: Norm
    act: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        x = self.conv(
            self.features,
            self.kernel_size,
            strides=self.strides,
            padding=self.padding,
            groups=self.groups,
            name="conv",
        )(x)
        return self.act(self.norm(name="norm")(x, train=train))
