"""Initial variables of a net, drawn on the host without compiling it."""

import dataclasses
import math
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax import traverse_util

from cnnjax.errors import UserError, unknown_name
from cnnjax.layers.init import KERNELS, Declared, declaring


@dataclasses.dataclass(frozen=True)
class KernelInit:
    """Section `init`: where the kernels of convolutions and dense layers start.

    Norms and biases start as the net says.

    Args:
      kernel: a key of `layers.init.KERNELS`, with the fan of each kernel's own shape;
        '' for the net's own distributions.
      scale: factor of all kernels.

    Raises:
      UserError: an unknown name, or a factor that is not positive.
    """

    kernel: str
    scale: float

    def __post_init__(self):
        if self.kernel and self.kernel not in KERNELS:
            raise unknown_name(
                "initializer", self.kernel, ("", *KERNELS), "config.init.kernel"
            )
        if not 0 < self.scale < math.inf:
            raise UserError(
                f"config.init.scale is {self.scale}: a finite number above 0 is needed"
            )

    def applied(self, declared: Any) -> Any:
        """Variables of `abstract_variables` with other initializers of the kernels."""

        def changed(path: tuple, leaf: Declared) -> Declared:
            if path[-1].key != "kernel":
                return leaf
            own = KERNELS[self.kernel] if self.kernel else leaf.initializer
            return leaf.replace(initializer=own.times(self.scale))

        return jax.tree_util.tree_map_with_path(
            changed, declared, is_leaf=lambda leaf: isinstance(leaf, Declared)
        )


def abstract_variables(model: nn.Module, input_shape: tuple[int, ...]) -> Any:
    """Shapes of every variable, each leaf a `Declared` with its initializer.

    Args:
      model: a net of `create_model`.
      input_shape: (height, width, channels).

    Raises:
      UserError: the net cannot take this input size.
    """
    images = jax.ShapeDtypeStruct((2, *input_shape), np.float32)
    with declaring():
        return jax.eval_shape(
            lambda key, x: model.init(key, x, train=False), jax.random.key(0), images
        )


def draw_variables(declared: Any, seeds: tuple[int, ...]) -> dict[str, Any]:
    """Initial variables for several seeds, stacked along a leading seed axis.

    A leaf's values depend on the seed, its path and its shape alone, so two nets that
    share a layer by name start from the same weights there.

    Args:
      declared: of `abstract_variables`.
      seeds: one integer a replica.

    Returns:
      A tree of NumPy float32 arrays, {'params': ..., other collections}.

    Raises:
      TypeError: a variable was declared without a cnnjax `Initializer`.

    Shapes: every leaf is [len(seeds), ...].
    """
    leaves = traverse_util.flatten_dict(
        declared, sep="/", is_leaf=lambda _, leaf: isinstance(leaf, Declared)
    )
    drawn = {}
    for path, leaf in leaves.items():
        if not isinstance(leaf, Declared):
            raise TypeError(
                f"variable {path} was declared without an Initializer of "
                "cnnjax.layers.init"
            )
        drawn[path] = np.stack([leaf.draw(seed, path) for seed in seeds])
    return traverse_util.unflatten_dict(drawn, sep="/")


def init_variables(
    model: nn.Module, input_shape: tuple[int, ...], seeds: tuple[int, ...]
) -> dict[str, Any]:
    """`draw_variables` of a net for images of (height, width, channels).

    Raises:
      UserError: the net cannot take this input size.
      TypeError: a variable was declared without a cnnjax `Initializer`.
    """
    return draw_variables(abstract_variables(model, input_shape), seeds)


def num_params(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Number of trainable values of a net."""
    params = abstract_variables(model, input_shape)["params"]
    return sum(leaf.size for leaf in jax.tree.leaves(params))
