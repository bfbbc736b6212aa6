"""Normalizations whose statistics never leave one example."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnnjax.errors import UserError
from cnnjax.layers.functional.moments import affine, moments, normalize
from cnnjax.layers.init import Initializer, ones, zeros

# Wu & He 2018, section 3.2: "By default, we set the group number as 32".
MOST_GROUPS = 32


def default_groups(channels: int, num_positions: int) -> int:
    """The largest divisor of the channels up to 32.

    On a map of one position groups have at least two channels, if there are two: one
    value has no variance.
    """
    smallest = 2 if num_positions == 1 and channels > 1 else 1
    most = min(MOST_GROUPS, channels // smallest)
    return max(n for n in range(1, most + 1) if channels % n == 0)


class GroupNorm(nn.Module):
    """Normalizes each example over positions and groups of neighbouring channels.

    One group is layer norm (over H, W and C); one channel per group is instance norm,
    and so are the default groups of a layer with at most 32 channels.

    Args:
      num_groups: number of groups; or
      channels_per_group: channels in each; None for both is `default_groups`.
      epsilon: added to the variance.
      scale_init: initial scale.

    Raises:
      UserError: if the channels do not divide, or a statistic would be taken over a
        single value.

    Shapes:
      [N, ..., C] -> the same; params `scale`, `bias` [C].

    Source: Wu & He 2018, arXiv 1803.08494, eq. 7; layer: Ba et al. 2016, arXiv
    1607.06450; instance: Ulyanov et al. 2016, arXiv 1607.08022.
    """

    num_groups: int | None = None
    channels_per_group: int | None = None
    epsilon: float = 1e-5
    scale_init: Initializer = ones

    @property
    def chooses(self) -> bool:
        """Whether the number of groups follows from the channels."""
        return self.num_groups is None and self.channels_per_group is None

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        channels = x.shape[-1]
        scale = self.param("scale", self.scale_init, (channels,), jnp.float32)
        bias = self.param("bias", zeros, (channels,), jnp.float32)
        # [N, positions, groups, channels per group]
        num_positions = math.prod(x.shape[1:-1])
        grouped = x.reshape(x.shape[0], -1, *self._split(channels, num_positions))
        if grouped.shape[1] * grouped.shape[3] == 1:
            layer = "/".join(self.path) or "group norm"
            fits = [n for n in range(1, channels) if channels % n == 0]
            raise UserError(
                f"layer {layer} would take the variance of a single value, one of its "
                f"{channels} channels on a map of one position: numbers of groups that "
                f"fit are {fits} (config.norm.num_groups, "
                "config.norm.channels_per_group), or take larger images"
            )
        mean, variance = moments(grouped, (1, 3))
        y = normalize(grouped, mean, variance, self.epsilon).reshape(x.shape)
        return affine(y, scale, bias).astype(x.dtype)

    def _split(self, channels: int, num_positions: int) -> tuple[int, int]:
        if self.num_groups is not None:
            key, given = "num_groups", self.num_groups
        elif self.channels_per_group is not None:
            key, given = "channels_per_group", self.channels_per_group
        else:
            chosen = default_groups(channels, num_positions)
            return chosen, channels // chosen
        if channels % given:
            divisors = [d for d in range(1, channels + 1) if channels % d == 0]
            raise UserError(
                f"config.norm.{key} = {given} does not divide the {channels} channels "
                f"of layer {'/'.join(self.path)}: allowed there are {divisors}"
            )
        other = channels // given
        return (given, other) if key == "num_groups" else (other, given)


class ChannelNorm(nn.Module):
    """Normalizes over the channels at each position of each example.

    Args:
      epsilon: added to the variance.
      scale_init: initial scale.

    Shapes:
      [N, ..., C] -> the same; params `scale`, `bias` [C].

    Source: Liu et al. 2022, arXiv 2201.03545, section 2.6 ("LN" of ConvNeXt).
    """

    epsilon: float = 1e-5
    scale_init: Initializer = ones

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        channels = x.shape[-1:]
        scale = self.param("scale", self.scale_init, channels, jnp.float32)
        bias = self.param("bias", zeros, channels, jnp.float32)
        mean, variance = moments(x, (-1,))
        y = normalize(x, mean, variance, self.epsilon)
        return affine(y, scale, bias).astype(x.dtype)
