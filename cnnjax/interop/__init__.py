"""Weights of other libraries in our nets, and ours in theirs.

    variables = interop.load("resnet50", "resnet50.safetensors", source="torchvision")
    variables = interop.from_torch("resnet50", state_dict, source="timm")
    state_dict = interop.to_torch("resnet50", variables, source="torchvision")

State dicts are dictionaries of NumPy arrays; torch is needed for `.pth` files alone.
A new family is one file with a table `NAMES` and one line in `FAMILIES`.
"""

import contextlib
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from cnnjax.errors import UserError, unknown_name
from cnnjax.interop import (
    alexnet,
    cifar,
    densenet,
    googlenet,
    inception,
    mobilenet,
    resnet,
    vgg,
)
from cnnjax.interop.convert import Namer, Slot, fill, slots_of, state_dict_of
from cnnjax.interop.files import arrays_of, read_state_dict
from cnnjax.interop.mismatch import describe_mismatch, differences, without_prefix
from cnnjax.models import create_model, variant
from cnnjax.models.stacks import Stacks, stack_up, stacks_of_net, write_out

FAMILIES = (alexnet, vgg, googlenet, inception, cifar, resnet, densenet, mobilenet)

# (class of our net, source) -> how that source names the layers.
NAMES: dict[tuple[type, str], Namer] = {
    key: namer for family in FAMILIES for key, namer in family.NAMES.items()
}
# (class, source) -> today's name for one that the source's older files have.
RENAMED: dict[tuple[type, str], Callable[[str], str]] = {
    key: renamer
    for family in FAMILIES
    for key, renamer in getattr(family, "RENAMED", {}).items()
}
SOURCES = ("torchvision", "timm", "cifar", "cifar_append")

__all__ = ["SOURCES", "from_torch", "load", "sources_of", "to_torch"]


def sources_of(name: str) -> tuple[str, ...]:
    """The sources whose weights an entry of the registry can take."""
    build = variant(name).build
    return tuple(source for source in SOURCES if (build, source) in NAMES)


def from_torch(
    name: str,
    state_dict: Mapping[str, Any],
    source: str = "torchvision",
    **overrides: Any,
) -> dict[str, Any]:
    """Variables of a net from a state dict.

    Args:
      name: an entry of `cnnjax.list_models()` or an alias.
      state_dict: name -> array or tensor, as the source's net has them; what wrappers
        of torch put around it or before every name is taken off.
      source: 'torchvision', 'timm', or 'cifar' for the naming of the public CIFAR-10
        ResNet ports.
      **overrides: arguments of `cnnjax.create_model`, such as `num_classes`.

    Returns:
      {'params': ..., 'batch_stats': ...} of NumPy arrays, float32 (float64 where the
      source has float64), for `model.apply`.

    Raises:
      UserError: the names or shapes are not those of this net: says which differ.
    """
    slots = _slots(name, source, overrides)
    state_dict = without_prefix(arrays_of(state_dict, "what was given"))
    renamed = RENAMED.get((variant(name).build, source))
    if renamed:
        state_dict = {renamed(key): value for key, value in state_dict.items()}
    if differences(slots, state_dict):
        others = _other_sources(name, source, overrides)
        raise UserError(describe_mismatch(name, source, slots, state_dict, others))
    return stack_up(fill(slots, state_dict), _stacks(name, overrides))


def to_torch(
    name: str, variables: Mapping[str, Any], source: str = "torchvision", **overrides
) -> dict[str, np.ndarray]:
    """The state dict that `from_torch` would turn into these variables.

    Args:
      name: an entry of `cnnjax.list_models()` or an alias.
      variables: of the net, without a leading seed axis.
      source: as in `from_torch`.
      **overrides: arguments of `cnnjax.create_model`.

    Returns:
      name -> array, for `load_state_dict(strict=True)` once made into tensors; counters
      of batches (`num_batches_tracked`) are 0.

    Raises:
      UserError: the variables are not those of this net.
    """
    slots = _slots(name, source, overrides)
    return state_dict_of(slots, write_out(variables, _stacks(name, overrides)))


def load(
    name: str,
    path: str | os.PathLike,
    source: str = "torchvision",
    **overrides: Any,
) -> dict[str, Any]:
    """`from_torch` of a file: `.safetensors`, or `.pth`, `.pt`, `.bin` through torch.

    Raises:
      UserError: the file cannot be read, or is not of this net.
    """
    return from_torch(name, read_state_dict(path), source, **overrides)


def _slots(name: str, source: str, overrides: dict[str, Any]) -> list[Slot]:
    if source not in SOURCES:
        raise unknown_name("source of weights", source, SOURCES, "source")
    entry = variant(name)
    namer = NAMES.get((entry.build, source))
    if namer is None:
        known = sources_of(name)
        raise UserError(
            f"{source!r} has no weights for {name!r}: "
            + (f"allowed sources are {', '.join(known)}" if known else "no source has")
        )
    model = create_model(name, **overrides)
    return slots_of(model, entry.input_shape, namer)


def _stacks(name: str, overrides: dict[str, Any]) -> Stacks:
    """What our net has in stacks; no other library has any."""
    return stacks_of_net(create_model(name, **overrides), variant(name).input_shape)


def _other_sources(name: str, source: str, overrides) -> dict[str, list[Slot]]:
    slots = {}
    for other in sources_of(name):
        with contextlib.suppress(UserError):  # it may not have this form of the net
            if other != source:
                slots[other] = _slots(name, other, overrides)
    return slots
