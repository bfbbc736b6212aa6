"""Parallel paths over one map, described by tables: the modules of Inception nets.

A branch is a tuple of steps, each a `Unit`, a `Pool`, or a tuple of units that look at
the same map side by side. A module is a tuple of branches.
"""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnjax.layers.conv_norm_act import ConvNormAct
from cnnjax.layers.functional.window import Padding, Pair, as_pair
from cnnjax.layers.norm import Norm
from cnnjax.layers.pool import AvgPool, MaxPool


@dataclasses.dataclass(frozen=True)
class Unit:
    """Convolution, norm and activation; see `same` and `valid`."""

    features: int
    kernel_size: int | Pair
    strides: int
    padding: Padding


@dataclasses.dataclass(frozen=True)
class Pool:
    """Pooling over 3 x 3 windows.

    Args:
      kind: 'max' or 'avg'.
      strides: step between windows.
      padding: around the map.
      count_include_pad: whether a mean counts the padding.
    """

    kind: str
    strides: int = 1
    padding: int = 1
    count_include_pad: bool = True


Step = Unit | Pool | tuple[Unit, ...]
Branch = tuple[Step, ...]


def same(features: int, kernel_size: int | Pair = 1) -> Unit:
    """A unit of stride 1 that keeps the size of the map."""
    height, width = as_pair(kernel_size)
    padding = ((height // 2, height // 2), (width // 2, width // 2))
    return Unit(features, kernel_size, 1, padding)


def valid(features: int, kernel_size: int = 3, strides: int = 1) -> Unit:
    """A unit without padding, marked V in the figures of arXiv 1602.07261."""
    return Unit(features, kernel_size, strides, 0)


HALVE = Pool("max", strides=2, padding=0)


def follow(
    steps: Branch,
    name: str,
    x: jax.Array,
    *,
    conv: Callable[..., nn.Module],
    norm: Norm,
    act: Callable[[jax.Array], jax.Array],
    train: bool,
) -> jax.Array:
    """Applies steps one after another; call it inside a compact `__call__`.

    Args:
      steps: of the branch.
      name: start of the children's names: `<name>_conv1`, `<name>_pool1` and so on;
        `<name>_conv2a` and `<name>_conv2b` for units side by side.
      x: the map.
      conv: factory of convolutions, `functools.partial(Conv, ...)`.
      norm: normalization.
      act: activation function.
      train: whether this is a training pass.

    Shapes: [N, H, W, C] -> [N, H', W', C'].
    """

    def apply(unit: Unit, child: str, x: jax.Array) -> jax.Array:
        layer = ConvNormAct(
            unit.features,
            unit.kernel_size,
            unit.strides,
            unit.padding,
            conv=conv,
            norm=norm,
            act=act,
            name=child,
        )
        return layer(x, train=train)

    num_convs = num_pools = 0
    for step in steps:
        if isinstance(step, Pool):
            num_pools += 1
            x = _pool(step, f"{name}_pool{num_pools}")(x)
            continue
        num_convs += 1
        child = f"{name}_conv{num_convs}"
        if isinstance(step, Unit):
            x = apply(step, child, x)
        else:
            letters = zip("abcd", step, strict=False)
            parts = [apply(unit, child + letter, x) for letter, unit in letters]
            x = jnp.concatenate(parts, axis=-1)
    return x


def _pool(pool: Pool, name: str) -> nn.Module:
    if pool.kind == "max":
        return MaxPool(3, pool.strides, pool.padding, name=name)
    return AvgPool(3, pool.strides, pool.padding, pool.count_include_pad, name=name)


class Branches(nn.Module):
    """Branches over the same map, their channels one after another.

    Args:
      branches: the table.
      conv: factory of convolutions, `functools.partial(Conv, ...)`.
      norm: normalization.
      act: activation function.

    Raises:
      UserError: a map so small that a branch has nothing left of it.

    Shapes: [N, H, W, C] -> [N, H', W', sum of the branches' channels]; children
    `branch1_conv1` and so on.

    Source: Szegedy et al. 2014, arXiv 1409.4842, section 4.
    """

    branches: tuple[Branch, ...]
    conv: Callable[..., nn.Module]
    norm: Norm
    act: Callable[[jax.Array], jax.Array]

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        parts = [
            follow(
                branch,
                f"branch{i}",
                x,
                conv=self.conv,
                norm=self.norm,
                act=self.act,
                train=train,
            )
            for i, branch in enumerate(self.branches, start=1)
        ]
        return jnp.concatenate(parts, axis=-1)
