"""Initial variables of a net, drawn on the host without compiling it.

Our layers declare distributions (`layers.init`). What an ordinary Linen layer declares
with an initializer function starts where Flax's own `init` starts it, with the key of
the seed: Flax derives the key of each leaf from that and from the path of its layer.
"""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from flax import errors, traverse_util
from flax import linen as nn
from flax.core import meta

from cnnjax.errors import UserError, unknown_name
from cnnjax.layers.init import KERNELS, Declared, declaring
from cnnjax.net.execution import unscanned


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
        """Variables of `abstract_variables` with other initializers of the kernels.

        Raises:
          UserError: a layer of the user's own has weights that this would leave out.
        """
        if not self.kernel and self.scale == 1:
            return declared

        def changed(path: tuple, leaf: Declared) -> Declared:
            rank = leaf.value.ndim - (leaf.stacked is not None)
            if path[-1].key != "kernel" or rank < 2:
                _require_kernel(path, leaf, rank)
                return leaf
            own = KERNELS[self.kernel] if self.kernel else leaf.initializer
            return leaf.replace(initializer=own.times(self.scale))

        return jax.tree_util.tree_map_with_path(
            changed, declared, is_leaf=lambda leaf: isinstance(leaf, Declared)
        )


def _require_kernel(path: tuple, leaf: Declared, rank: int) -> None:
    """Refuses to pass over weights of a layer that is not ours."""
    ours = not isinstance(leaf.initializer, FlaxInit)
    if ours or path[0].key != "params" or (rank < 2 and path[-1].key != "kernel"):
        return
    name = "/".join(key.key for key in path[1:])
    raise UserError(
        f"section config.init is for parameters named 'kernel' with at least two axes, "
        f"and {name} of shape {leaf.value.shape} is none: rename it in your layer, or "
        "set config.init.kernel='' and config.init.scale=1.0"
    )


@dataclasses.dataclass(frozen=True, eq=False)
class FlaxInit:
    """Where Flax's `init` starts the leaves of an ordinary Linen layer.

    Args:
      values: seed -> path of a leaf -> its value; of the net with its blocks
        stored separately.
      factor: of all values.
    """

    values: Callable[[int], Mapping[str, np.ndarray]]
    factor: float = 1.0

    def draw(self, seed: int, path: str, shape: tuple[int, ...]) -> np.ndarray:
        """As `Initializer.draw`."""
        value = self.values(seed)[path]
        return value if self.factor == 1 else (self.factor * value).astype(value.dtype)

    def times(self, factor: float) -> "FlaxInit":
        return dataclasses.replace(self, factor=self.factor * factor)


def abstract_variables(model: nn.Module, input_shape: tuple[int, ...]) -> Any:
    """Shapes of every variable, each leaf a `Declared` with its initializer.

    Args:
      model: a net of `create_model`, or any module of the same call.
      input_shape: (height, width, channels).

    Raises:
      UserError: the net cannot take this input size, or sows values that training
        would keep.
    """
    images = _images(input_shape)
    with declaring():
        variables = jax.eval_shape(
            lambda key, x: model.init(key, x, train=False), _key(0), images
        )
    _require_leaves(variables)
    # Of the last seed alone: seeds are drawn one after another.
    values = functools.lru_cache(maxsize=1)(
        functools.partial(_initial_values, model, input_shape)
    )

    def declared(leaf):
        if isinstance(leaf, Declared):
            return (
                leaf if leaf.initializer else leaf.replace(initializer=FlaxInit(values))
            )
        return Declared(meta.unbox(leaf), FlaxInit(values))

    return jax.tree.map(declared, variables, is_leaf=_is_boxed)


def _initial_values(
    model: nn.Module, input_shape: tuple[int, ...], seed: int
) -> dict[str, np.ndarray]:
    """What Flax's `init` gives for all leaves of ordinary Linen layers, by path."""
    try:
        with declaring(), _on_cpu():
            variables = unscanned(model).lazy_init(
                _key(seed), _images(input_shape), train=False
            )
    except errors.LazyInitError as error:
        raise UserError(
            f"a layer of {type(model).__name__} computes initial values from images, "
            "which cannot be repeated: compute them from the key and the shape alone"
        ) from error
    flat = traverse_util.flatten_dict(variables, sep="/", is_leaf=_is_leaf)
    return {
        path: np.asarray(meta.unbox(leaf))
        for path, leaf in flat.items()
        if not isinstance(leaf, Declared)
    }


def _images(input_shape: tuple[int, ...]) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct((2, *input_shape), np.float32)


def _key(seed: int) -> jax.Array:
    """The key that Flax's initializers start from, whatever JAX is set to."""
    return jax.random.key(seed, impl="threefry2x32")


def _on_cpu() -> contextlib.AbstractContextManager:
    """Values do not depend on the accelerator, where there is a CPU backend too."""
    try:
        return jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:
        return contextlib.nullcontext()


def _is_boxed(leaf: Any) -> bool:
    return isinstance(leaf, meta.AxisMetadata)


def _is_leaf(_, leaf: Any) -> bool:
    return _is_boxed(leaf)


def _require_leaves(variables: Any) -> None:
    """Refuses what `sow` leaves behind: a tuple, which would grow with every step."""
    flat = traverse_util.flatten_dict(variables, sep="/", is_leaf=_is_leaf)
    for path, leaf in flat.items():
        if isinstance(leaf, tuple):
            raise UserError(
                f"a layer sows {path}, and nothing reads it in training: sow into the "
                "collection 'intermediates', or keep a variable there"
            )


def draw_variables(declared: Any, seeds: tuple[int, ...]) -> dict[str, Any]:
    """Initial variables for several seeds, stacked along a leading seed axis.

    A leaf's values depend on the seed, its path and its shape alone, so two nets that
    share a layer by name start from the same weights there.

    Args:
      declared: of `abstract_variables`.
      seeds: one integer per replica.

    Returns:
      A tree of NumPy arrays, {'params': ..., other collections}; float32 but for what a
      layer of the user's own declares otherwise.

    Raises:
      UserError: initial values that depend on images.

    Shapes: every leaf is [len(seeds), ...].
    """
    leaves = traverse_util.flatten_dict(declared, sep="/", is_leaf=_is_leaf)
    drawn: dict[str, np.ndarray] = {}
    for i, seed in enumerate(seeds):
        for path, leaf in leaves.items():
            value = leaf.draw(seed, path)
            if not i:
                drawn[path] = np.empty((len(seeds), *value.shape), value.dtype)
            drawn[path][i] = value
    return traverse_util.unflatten_dict(drawn, sep="/")


def init_variables(
    model: nn.Module, input_shape: tuple[int, ...], seeds: tuple[int, ...]
) -> dict[str, Any]:
    """`draw_variables` of a net for images of (height, width, channels).

    Raises:
      UserError: the net cannot take this input size.
    """
    return draw_variables(abstract_variables(model, input_shape), seeds)


def num_params(model: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Number of trainable values of a net."""
    params = abstract_variables(model, input_shape)["params"]
    return sum(leaf.size for leaf in jax.tree.leaves(params))
