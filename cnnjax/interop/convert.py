"""Between our tree of variables and a flat state dict: names and layouts, both ways."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from flax import linen as nn
from flax import traverse_util
from flax.core import meta

from cnnjax.errors import UserError
from cnnjax.net.execution import unscanned
from cnnjax.net.initialize import abstract_variables

# Name of a leaf in cnnjax -> its name in torch.
LEAVES = {
    "kernel": "weight",
    "scale": "weight",
    "bias": "bias",
    "mean": "running_mean",
    "var": "running_var",
}
# In torch only: how many batches a batch norm has seen.
COUNTER = "num_batches_tracked"


@dataclasses.dataclass(frozen=True)
class Named:
    """The name of one of our modules in a source.

    Args:
      name: with dots, such as 'layer1.0.conv1'.
      as_conv: our dense layer is a convolution in the source.
      window: side of the filters of that convolution, which cover the whole map; our
        dense layer then follows a `Flatten` in the same order, channels first.
      inputs: for each of our input channels its index in the source; None if equal.
      outputs: the same for the output channels.
    """

    name: str
    as_conv: bool = False
    window: int = 1
    inputs: tuple[int, ...] | None = None
    outputs: tuple[int, ...] | None = None


# (net, path of a module such as 'stage1_block1/conv1') -> its name in the source.
Namer = Callable[[nn.Module, str], str | Named]


@dataclasses.dataclass(frozen=True)
class Slot:
    """One of our leaves and its place in the state dict.

    Args:
      path: (collection, *modules, leaf) in our tree.
      shape: in our tree.
      name: in the state dict.
      module: name of the module in the source, and the layout of its weights.
    """

    path: tuple[str, ...]
    shape: tuple[int, ...]
    name: str
    module: Named

    @property
    def torch_shape(self) -> tuple[int, ...]:
        if len(self.shape) == 4:
            height, width, channels, features = self.shape
            return features, channels, height, width
        if len(self.shape) == 2:
            inputs, features = self.shape
            if not self.module.as_conv:
                return features, inputs
            window = self.module.window
            return features, inputs // window**2, window, window
        return self.shape

    def to_torch(self, value: np.ndarray) -> np.ndarray:
        """From our layout: HWIO to OIHW, [in, out] to [out, in], channels reordered."""
        value = self._reordered(np.asarray(value), back=True)
        value = value.transpose(3, 2, 0, 1) if value.ndim == 4 else value.T
        return np.ascontiguousarray(value).reshape(self.torch_shape)

    def from_torch(self, value: np.ndarray) -> np.ndarray:
        """The inverse of `to_torch`, in float32 (float64 stays float64)."""
        value = np.asarray(value)
        value = value.astype(np.float64 if value.dtype == np.float64 else np.float32)
        if len(self.shape) == 4:
            value = value.transpose(2, 3, 1, 0)
        elif len(self.shape) == 2:
            value = value.reshape(self.shape[::-1]).T
        return np.ascontiguousarray(self._reordered(value, back=False))

    def _reordered(self, value: np.ndarray, back: bool) -> np.ndarray:
        """Permutes the channels of a leaf in our layout from the source's order."""
        is_kernel = value.ndim > 1
        for axis, order in ((-1, self.module.outputs), (-2, self.module.inputs)):
            if order is not None and (is_kernel or axis == -1):
                value = value.take(np.argsort(order) if back else order, axis)
        return value


# A conversion asks for the same net several times, and tracing takes up to a second.
@functools.lru_cache(maxsize=32)
def _shapes_of(
    model: nn.Module, input_shape: tuple[int, ...]
) -> tuple[tuple[tuple[str, ...], tuple[int, ...]], ...]:
    """(path, shape) of every leaf."""
    tree = meta.unbox(abstract_variables(model, input_shape))
    flat = traverse_util.flatten_dict(tree)
    return tuple((path, leaf.shape) for path, leaf in flat.items())


def slots_of(
    model: nn.Module, input_shape: tuple[int, ...], namer: Namer
) -> list[Slot]:
    """Every leaf of a net, stored separately per block, and its place in a source."""
    model = unscanned(model)
    slots = []
    for path, shape in _shapes_of(model, input_shape):
        named = namer(model, "/".join(path[1:-1]))
        if isinstance(named, str):
            named = Named(named)
        name = f"{named.name}.{LEAVES[path[-1]]}"
        slots.append(Slot(path, shape, name, named))
    names = [slot.name for slot in slots]
    assert len(set(names)) == len(names), "a namer gives one name to two leaves"
    return slots


def fill(
    slots: list[Slot],
    state_dict: Mapping[str, Any],
    values: Mapping[tuple[str, ...], Any] | None = None,
) -> dict[str, Any]:
    """Builds our tree from a state dict whose names and shapes have been checked.

    Args:
      slots: of all leaves.
      state_dict: name -> array.
      values: path -> value, for leaves that are not taken from the state dict.
    """
    flat = dict(values or {})
    for slot in slots:
        if slot.path not in flat:
            flat[slot.path] = slot.from_torch(state_dict[slot.name])
    return traverse_util.unflatten_dict(flat)


def other_channels(
    slots: list[Slot], channels: int, given: Mapping[tuple[str, ...], int]
) -> int | None:
    """Input channels of a stem that was built for other images; None if it was not.

    Args:
      slots: of the net for images of `channels`.
      channels: number of input channels in the registry.
      given: path of a kernel -> its number of input channels in the file.
    """
    found = {
        given[slot.path]
        for slot in slots
        if len(slot.shape) == 4 and slot.shape[2] == channels and slot.path in given
    }
    found -= {channels}
    return found.pop() if len(found) == 1 else None


def state_dict_of(
    slots: list[Slot], variables: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """Builds the state dict of the source from our tree.

    Raises:
      UserError: the tree is of another net.
    """
    flat = traverse_util.flatten_dict(meta.unbox(dict(variables)))
    state_dict = {}
    for slot in slots:
        place = "/".join(slot.path)
        if slot.path not in flat:
            raise UserError(
                f"these variables belong to another net: {place} is missing"
            )
        value = np.asarray(flat.pop(slot.path))
        if value.shape != slot.shape:
            raise UserError(
                f"these variables belong to another net: {place} is {value.shape}, not "
                f"{slot.shape} (remove a leading seed axis first)"
            )
        state_dict[slot.name] = slot.to_torch(value)
        if slot.path[-1] == "var":
            counter = slot.name.removesuffix("running_var") + COUNTER
            state_dict[counter] = np.zeros((), np.int64)
    if flat:
        extra = "/".join(next(iter(flat)))
        raise UserError(f"these variables belong to another net: it has no {extra}")
    return state_dict
