"""Heads that keep their initial values while the other layers are loaded."""

from collections.abc import Mapping
from typing import Any

from flax import linen as nn
from flax import traverse_util

from cnnjax.interop.convert import Slot
from cnnjax.layers.init import Declared
from cnnjax.net.execution import unscanned
from cnnjax.net.initialize import abstract_variables, draw_variables


def head_slots(slots: list[Slot], state_dict: Mapping[str, Any]) -> list[Slot]:
    """The last layer of every head, and auxiliary heads that are wholly absent."""
    auxiliary = [slot for slot in slots if slot.path[1].startswith("auxiliary")]
    absent = not any(slot.name in state_dict for slot in auxiliary)
    return [s for s in slots if "head" in s.path or (absent and s in auxiliary)]


def of_other_classes(slots: list[Slot], state_dict: Mapping[str, Any]) -> bool:
    """Whether a head that is given has another shape than that of the net."""
    return any(
        slot.name in state_dict and state_dict[slot.name].shape != slot.torch_shape
        for slot in slots
    )


def without(state_dict: Mapping[str, Any], heads: list[Slot]) -> dict[str, Any]:
    """The part of a state dict that belongs to the other layers."""
    modules = {slot.module.name for slot in heads}
    return {
        name: value
        for name, value in state_dict.items()
        if name.rpartition(".")[0] not in modules
    }


def initial_values(
    model: nn.Module, input_shape: tuple[int, ...], heads: list[Slot], seed: int
) -> dict[tuple[str, ...], Any]:
    """Path -> initial values, as a training run with this seed draws them."""
    declared = traverse_util.flatten_dict(
        abstract_variables(unscanned(model), input_shape),
        is_leaf=lambda _, leaf: isinstance(leaf, Declared),
    )
    chosen = {slot.path: declared[slot.path] for slot in heads}
    drawn = draw_variables(traverse_util.unflatten_dict(chosen), (seed,))
    flat = traverse_util.flatten_dict(drawn)
    return {path: leaf[0] for path, leaf in flat.items()}


def described(heads: list[Slot], seed: int) -> str:
    """A clause for the log."""
    names = sorted({"/".join(slot.path[1:-1]) for slot in heads})
    return f"{', '.join(names)} left at the initial values of seed {seed}"
