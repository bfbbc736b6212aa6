"""Whether a net is one that a source has, as far as its names cannot tell."""

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.interop.convert import Namer, slots_of
from cnnjax.layers.norm import Norm
from cnnjax.models.registry import create_model
from cnnjax.net.execution import EXECUTION
from cnnjax.net.forward import forward_eval

# How a net is executed, or trained: rates are those of dropout and its kin.
_WITHOUT_EFFECT = {*EXECUTION, "dtype", "num_classes", "name", "parent"}
_OF_TRAINING = "_rate"


def refuse_another_function(
    name: str,
    network: nn.Module,
    variables: Mapping[str, Any],
    input_shape: tuple[int, ...],
    source: str,
    namer: Namer,
) -> None:
    """Refuses a net that the source's own would take for one that it is not.

    What changes a name or a shape is found where the file is loaded. An activation, an
    epsilon or a stride is not: the source's net would compute something else.

    Args:
      name: the entry of the registry.
      network: the net, perhaps with other arguments than the entry.
      variables: of it.
      input_shape: (H, W, C).
      source: as in `interop.to_torch`.
      namer: its names.

    Raises:
      UserError: names the first such difference.
    """
    reference = create_model(name, num_classes=network.num_classes)
    names = _names(network, input_shape, namer)
    for field, here, there, other in _changed(network, reference):
        try:
            seen = _names(other, input_shape, namer) != names
        except UserError:
            continue  # not to be built without it, so it shows
        # Two activations may agree on these images, and not on others.
        if not seen and (
            field == "act" or not _equal(network, other, variables, input_shape)
        ):
            raise UserError(
                f"the {name!r} of {source} computes something else than this net, and "
                f"its names do not show it: {field} is {_shown(here)} here and "
                f"{_shown(there)} there; use the format 'safetensors', 'torch' or "
                "'orbax' (--format), whose metadata say so"
            )


def _names(network: nn.Module, input_shape: tuple[int, ...], namer: Namer) -> Any:
    slots = slots_of(network, input_shape, namer)
    return {slot.name: slot.torch_shape for slot in slots}


def _changed(
    network: nn.Module, reference: nn.Module
) -> Iterator[tuple[str, Any, Any, nn.Module]]:
    """(field, value here, value there, the net with that one)."""
    for field in (f.name for f in dataclasses.fields(network)):
        here, there = getattr(network, field), getattr(reference, field)
        if here == there or field in _WITHOUT_EFFECT or field.endswith(_OF_TRAINING):
            continue
        if not isinstance(here, Norm):
            yield field, here, there, network.clone(**{field: there})
            continue
        if here.kind == "group":
            continue  # groups are said or refused where names are given (`form`)
        for inner in (f.name for f in dataclasses.fields(here)):
            own, usual = getattr(here, inner), getattr(there, inner)
            if own != usual:
                other = dataclasses.replace(here, **{inner: usual})
                yield f"norm {inner}", own, usual, network.clone(**{field: other})


def _equal(
    one: nn.Module,
    other: nn.Module,
    variables: Mapping[str, Any],
    input_shape: tuple[int, ...],
) -> bool:
    """Whether both nets give the same logits, to the bit."""
    state = {name: tree for name, tree in variables.items() if name != "params"}
    images = np.random.RandomState(0).standard_normal((2, *input_shape))
    images = images.astype(np.float32)
    logits = [
        np.asarray(forward_eval(net, variables["params"], state, images))
        for net in (one, other)
    ]
    return np.array_equal(*logits, equal_nan=True)


def _shown(value: Any) -> str:
    return getattr(value, "__name__", None) or repr(value)
