"""Does a net compute what the source's net computes with the same weights?

Names and shapes of the weights answer most of this question where a file is loaded.
An activation, a stride, an epsilon or a number of groups changes no name and no shape:
these are checked here.
"""

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.interop.convert import Namer, Slot, slots_of
from cnnjax.interop.wrappers import listed
from cnnjax.layers.group_norm import MOST_GROUPS, default_groups
from cnnjax.layers.norm import Norm
from cnnjax.models.registry import create_model
from cnnjax.models.variant import Variant
from cnnjax.net.execution import EXECUTION

# Arguments without effect on the logits of an evaluation: those of execution, checks,
# initial values and training; those of squeeze and excitation change shapes wherever
# they have an effect.
_WITHOUT_EFFECT = {
    *EXECUTION,
    *("dtype", "name", "parent", "num_classes", "exact"),
    *("kernel_init", "zero_last_scale", "gate_bias"),
    *("se_reduction", "se_divisor"),
}
_RATE = "_rate"  # of dropout and stochastic depth

# Nets that the source also builds with group norm, through its argument `norm_layer`.
_GROUP_NORM = {
    "ResNet": ("torchvision", "timm"),
    "MobileNetV1": ("timm",),
    "MobileNetV2": ("torchvision", "timm"),
    "MobileNetV3": ("torchvision", "timm"),
}


def check_norm_kind(name: str, entry: Variant, norm: Norm, source: str) -> None:
    """Refuses a kind of normalization that the source's net does not have.

    Group, layer and instance norm have weights of the same shapes; other kinds have no
    names in the source.

    Raises:
      UserError: names the kinds that the source has.
    """
    usual, family = entry.norm["kind"], entry.build.__name__
    allowed = {usual, *(["batch"] if usual != "none" else ())}
    if source in _GROUP_NORM.get(family, ()):
        allowed.add("group")
    if family == "VGG" and source in ("torchvision", "timm"):
        allowed |= {"batch", "none"}
    if norm.kind not in allowed:
        raise UserError(
            f"{source} has no {name!r} with norm {norm.kind!r}: choose "
            f"{' or '.join(sorted(allowed))} (config.norm.kind), or keep the names of "
            "cnnjax (export formats 'safetensors' and 'orbax')"
        )


def check_same_function(
    name: str,
    network: nn.Module,
    source: str,
    namer: Namer,
    slots: list[Slot],
    input_shape: tuple[int, ...],
) -> None:
    """Refuses arguments that change the function but no name or shape of the weights.

    Each argument that differs from the registry entry is set back, and the net is
    traced again. Nothing is computed, so a difference that shows on some images only,
    as between two activations, is found as well.

    Args:
      name: the entry of the registry.
      network: the net, perhaps with other arguments than the entry.
      source: as in `interop.from_torch`.
      namer: how the source names the layers.
      slots: of the net.
      input_shape: (H, W, C).

    Raises:
      UserError: names the first such argument.
    """
    reference = create_model(name, num_classes=network.num_classes)
    weights = _names_and_shapes(slots)
    for argument, here, usual, other in _changed(network, reference):
        try:
            visible = _names_and_shapes(slots_of(other, input_shape, namer)) != weights
        except UserError:
            continue  # the source has no net with the value of the entry
        if not visible:
            raise UserError(
                f"{source}'s {name!r} computes another function than this net with "
                f"the same weights, which would not show it: {argument} is "
                f"{_shown(here)} here and {_shown(usual)} there; leave that argument "
                "out, or export in the format 'safetensors', 'torch' or 'orbax' "
                "(--format), which record it"
            )


def check_groups(name: str, norm: Norm, source: str, widths: Iterable[int]) -> str:
    """Refuses group norms whose number of groups may differ in the source's net.

    No weight shows the number of groups. timm always uses 32; in torchvision any number
    can be chosen.

    Args:
      name: the entry of the registry.
      norm: of the net.
      source: as in `interop.from_torch`.
      widths: channels of each norm.

    Returns:
      What the user has to know about the source's net, or an empty text.

    Raises:
      UserError: timm uses other groups, or those of torchvision's net are unknown.
    """
    if norm.kind != "group":
        return ""
    widths = sorted(set(widths))
    groups = {width: _groups_of(norm, width) for width in widths}
    by_32 = all(count == MOST_GROUPS for count in groups.values())
    if source == "timm" and not (by_32 and norm.epsilon == 1e-5):
        found = listed(f"{n} of {width} channels" for width, n in groups.items())
        raise UserError(
            f"group norms in timm have {MOST_GROUPS} groups and epsilon 1e-05, which "
            f"no weight shows, and this {name!r} has another norm ('group', {found}, "
            f"epsilon {norm.epsilon:g}): choose "
            f"norm=Norm('group', num_groups={MOST_GROUPS})"
        )
    if source == "timm":
        return ""
    if norm.num_groups is None and norm.channels_per_group is None and not by_32:
        raise UserError(
            f"the weights of {source}'s {name!r} do not show the number of groups of "
            f"its group norms, and not all its widths ({listed(map(str, widths))}) "
            f"have {MOST_GROUPS}: give it, as in norm=Norm('group', "
            "num_groups=8) (config.norm.num_groups, config.norm.channels_per_group)"
        )
    arguments = "c" if norm.epsilon == 1e-5 else f"c, eps={norm.epsilon:g}"
    count = str(norm.num_groups or MOST_GROUPS)
    if norm.channels_per_group:
        count = f"c // {norm.channels_per_group}"
    return (
        f"no weight shows the groups of group norm: {source}'s net is assumed to have "
        f"norm_layer=lambda c: GroupNorm({count}, {arguments})"
    )


def _names_and_shapes(slots: list[Slot]) -> dict[str, tuple[int, ...]]:
    return {slot.name: slot.torch_shape for slot in slots}


def _changed(
    network: nn.Module, reference: nn.Module
) -> Iterator[tuple[str, Any, Any, nn.Module]]:
    """(argument, its value here, its usual value, the net with the usual value)."""
    for field in (f.name for f in dataclasses.fields(network)):
        here, usual = getattr(network, field), getattr(reference, field)
        if here == usual or field in _WITHOUT_EFFECT or field.endswith(_RATE):
            continue
        if not isinstance(here, Norm):
            yield field, here, usual, _with(network, field, usual)
        elif here.kind != "group":  # for which see `check_groups`
            for inner in ("kind", "epsilon"):
                own, other = getattr(here, inner), getattr(usual, inner)
                if own != other:
                    norm = dataclasses.replace(here, **{inner: other})
                    yield f"norm {inner}", own, other, _with(network, field, norm)


def _with(network: nn.Module, field: str, value: Any) -> nn.Module:
    changes: dict[str, Any] = {field: value}
    return network.clone(**changes)


def _groups_of(norm: Norm, width: int) -> int:
    """Groups of a group norm on maps of more than one position."""
    if norm.channels_per_group:
        return width // norm.channels_per_group
    return norm.num_groups or default_groups(width, num_positions=2)


def _shown(value: Any) -> str:
    return getattr(value, "__name__", None) or repr(value)
