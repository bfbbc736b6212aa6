"""Whether a net is one that a source has, as far as its names cannot tell."""

import dataclasses
from typing import Any

from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.interop.convert import Namer, slots_of
from cnnjax.layers.norm import Norm
from cnnjax.models import create_model
from cnnjax.models.stacks import EXECUTION

# Fields that do not change what a net computes at test time; rates, of what is left
# out in training, do not either.
_WITHOUT_EFFECT = {*EXECUTION, "dtype", "num_classes", "name", "parent"}
_OF_RESPONSE = ("response_size", "response_alpha", "response_beta", "response_k")
_OF_GROUPS = ("num_groups", "channels_per_group", "epsilon")


def refuse_another_function(
    name: str,
    network: nn.Module,
    input_shape: tuple[int, ...],
    source: str,
    namer: Namer,
) -> None:
    """Refuses a net that the source's own would take for one that it is not.

    What changes a name or a shape is found where the file is loaded. An activation, an
    epsilon or a stride is not, and the source's net would compute something else.

    Args:
      name: the entry of the registry.
      network: the net, perhaps with other arguments than the entry.
      input_shape: (H, W, C).
      source: as in `interop.to_torch`.
      namer: its names.

    Raises:
      UserError: names the first such difference.
    """
    reference = create_model(name, num_classes=network.num_classes)
    names = _names(network, input_shape, namer)
    for field in _differing(network, reference):
        usual = getattr(reference, field)
        try:
            other = _names(network.clone(**{field: usual}), input_shape, namer)
        except UserError:
            continue  # not to be built without it, so it shows
        if other == names:
            raise UserError(
                f"the {name!r} of {source} is not this net, and its names do not show "
                f"it: {field} is {_shown(getattr(network, field))} here and "
                f"{_shown(usual)} there; use the format 'safetensors', 'torch' or "
                "'orbax' (--format), whose metadata say so"
            )


def _names(network: nn.Module, input_shape: tuple[int, ...], namer: Namer) -> Any:
    slots = slots_of(network, input_shape, namer)
    return {slot.name: slot.torch_shape for slot in slots}


def _differing(network: nn.Module, reference: nn.Module) -> list[str]:
    fields = (field.name for field in dataclasses.fields(network))
    return [
        field
        for field in fields
        if field not in _WITHOUT_EFFECT
        and not field.endswith("_rate")
        and _effect(getattr(network, field)) != _effect(getattr(reference, field))
    ]


def _effect(value: Any) -> Any:
    """What of a field changes the function at test time."""
    if not isinstance(value, Norm):
        return value
    of_kind = {
        "none": (),
        "local_response": _OF_RESPONSE,
        "group": _OF_GROUPS,
    }.get(value.kind, ("epsilon",))
    return value.kind, *(getattr(value, field) for field in of_kind)


def _shown(value: Any) -> str:
    if isinstance(value, Norm):
        kind, *rest = _effect(value)
        return f"norm {kind!r}" + (f" with {rest}" if rest else "")
    return getattr(value, "__name__", None) or repr(value)
