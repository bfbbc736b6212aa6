"""Convolution and dense layers with explicit padding and declared initial values."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnnjax.errors import UserError
from cnnjax.layers.functional.channels import check_features, per_channel
from cnnjax.layers.functional.conv import check, convolution
from cnnjax.layers.functional.conv_geometry import Geometry
from cnnjax.layers.functional.window import Padding, Pair, as_padding, as_pair
from cnnjax.layers.init import Initializer, he_normal, lecun_normal, zeros


class Conv(nn.Module):
    """Two-dimensional convolution.

    Args:
      features: number of output channels.
      kernel_size: height and width of the filters.
      strides: step between outputs.
      padding: zeros around the image, one number or ((top, bottom), (left, right)).
      groups: number of groups; equal to the input channels for a depthwise layer.
      dilation: step between the taps of a filter.
      use_bias: adds one number per output channel.
      kernel_init: initial filters.
      bias_init: initial bias.
      dtype: type in which to compute; parameters are float32.
      impl: 'auto', 'xla', 'lax' or None, see `cnnjax.layers.functional.conv`.
      exact: refuse a map of which the last window would leave a rest.

    Raises:
      UserError: if channels do not divide by groups, there would be none, the output
        would vanish, or an exact convolution leaves a rest.

    Shapes:
      [N, H, W, C] -> [N, H', W', features]; params `kernel` [h, w, C / groups,
      features] and, with `use_bias`, `bias` [features].
    """

    features: int
    kernel_size: int | Pair
    strides: int | Pair = 1
    padding: Padding = 0
    groups: int = 1
    dilation: int | Pair = 1
    use_bias: bool = False
    kernel_init: Initializer = he_normal
    bias_init: Initializer = zeros
    dtype: jnp.dtype = jnp.float32
    impl: str | None = None
    exact: bool = False

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        layer = "/".join(self.path) or "convolution"
        if self.groups < 1:
            raise UserError(f"{layer}: groups must be at least 1, got {self.groups}")
        check_features(self.features, layer)
        shape = (
            *as_pair(self.kernel_size),
            x.shape[-1] // self.groups,
            self.features,
        )
        geometry = Geometry(
            as_pair(self.strides),
            as_padding(self.padding),
            as_pair(self.dilation),
            self.groups,
        )
        check(x.shape, shape, geometry, layer, exact=self.exact)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        # `init` asks for shapes alone, which the plain operation gives soonest.
        impl = "lax" if self.is_initializing() else self.impl
        y = convolution(
            x.astype(self.dtype),
            kernel.astype(self.dtype),
            strides=geometry.strides,
            padding=geometry.padding,
            dilation=geometry.dilation,
            groups=self.groups,
            impl=impl,
        )
        if not self.use_bias:
            return y
        bias = self.param("bias", self.bias_init, (self.features,), jnp.float32)
        return y + per_channel(bias, y).astype(self.dtype)


class Dense(nn.Module):
    """Linear map of the last axis.

    Args:
      features: number of outputs.
      use_bias: adds one number per output.
      kernel_init: initial weights.
      bias_init: initial bias.
      dtype: type in which to compute; parameters are float32.

    Raises:
      UserError: if there would be no output.

    Shapes:
      [..., C] -> [..., features]; params `kernel` [C, features], `bias` [features].
    """

    features: int
    use_bias: bool = True
    kernel_init: Initializer = lecun_normal
    bias_init: Initializer = zeros
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        check_features(self.features, "/".join(self.path) or "dense layer")
        shape = (x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, jnp.float32)
        y = x.astype(self.dtype) @ kernel.astype(self.dtype)
        if not self.use_bias:
            return y
        bias = self.param("bias", self.bias_init, (self.features,), jnp.float32)
        return y + per_channel(bias, y).astype(self.dtype)
