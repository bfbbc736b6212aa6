"""Whether a net computes what the source's net computes with the same weights.

Some choices change the function and no shape, so that names and shapes would not show
them: each is compared here, or where the family names its layers.
"""

from collections.abc import Iterable

from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.interop.wrappers import listed
from cnnjax.layers.act import make_act
from cnnjax.layers.group_norm import MOST_GROUPS, default_groups
from cnnjax.layers.norm import Norm
from cnnjax.models.variant import Variant

# Arguments that change the logits of an evaluation and no shape of a weight; those of
# residual nets are compared in `resnet` and `cifar`.
FREE_OF_WEIGHTS = (
    *("paddings", "strides", "pool", "pool_window", "pool_ceil_mode"),
    *("linear", "early_act", "scales", "plain_last_block", "pool4_window"),
    "auxiliary_pool",
)

# Whose nets take group norm for batch norm, by an argument (`norm_layer`).
GROUP_NORM = {
    "ResNet": ("torchvision", "timm"),
    "MobileNetV1": ("timm",),
    "MobileNetV2": ("torchvision", "timm"),
    "MobileNetV3": ("torchvision", "timm"),
}


def check_form(name: str, entry: Variant, model: nn.Module, source: str) -> None:
    """Refuses a net that was changed in a way that its weights do not show.

    Raises:
      UserError: names the argument.
    """
    _check_kind(name, entry, model.norm, source)
    own = {"act": make_act(entry.act), **entry.defaults()}
    changed = [
        key
        for key in ("act", *FREE_OF_WEIGHTS)
        if key in own and getattr(model, key) != own[key]
    ]
    epsilon = entry.norm.get("epsilon", 1e-5)
    if model.norm.kind == "batch" and model.norm.epsilon != epsilon:
        changed.append(f"norm.epsilon={model.norm.epsilon}")
    if changed:
        raise UserError(
            f"{name!r} with another {changed[0]} computes another function than "
            f"{source}'s net with the same weights, which would not show it: leave "
            "that argument out, and apply the weights to the changed net yourself"
        )


def _check_kind(name: str, entry: Variant, norm: Norm, source: str) -> None:
    """Group, layer and instance norm have the same weights, others have no names."""
    own, family = entry.norm["kind"], entry.build.__name__
    allowed = {own, *(["batch"] if own != "none" else ())}
    if source in GROUP_NORM.get(family, ()):
        allowed.add("group")
    if family == "VGG" and source in ("torchvision", "timm"):
        allowed |= {"batch", "none"}
    if norm.kind not in allowed:
        raise UserError(
            f"{name!r} with norm {norm.kind!r} is no net of {source}, where it has "
            f"{' or '.join(sorted(allowed))}: take one of these (config.norm.kind), or "
            "our own names (formats 'safetensors' and 'orbax' of an export)"
        )


def check_groups(name: str, norm: Norm, source: str, widths: Iterable[int]) -> str:
    """Refuses groups that no weight shows: timm has 32 everywhere, torchvision any.

    Args:
      name: the entry of the registry.
      norm: of the net.
      source: as in `interop.from_torch`.
      widths: channels of each norm.

    Returns:
      What a person has to know about the source's net; or nothing.

    Raises:
      UserError: timm has others, or nobody can know which torchvision's net has.
    """
    if norm.kind != "group":
        return ""
    widths = sorted(set(widths))
    groups = {width: _groups_of(norm, width) for width in widths}
    by_32 = all(count == MOST_GROUPS for count in groups.values())
    if source == "timm" and not (by_32 and norm.epsilon == 1e-5):
        raise UserError(
            f"timm's group norms have {MOST_GROUPS} groups and epsilon 1e-05, which "
            f"no weight shows, and this {name!r} has another norm ('group', "
            f"{_described(groups)}, epsilon {norm.epsilon:g}): "
            f"norm=make_norm('group', num_groups={MOST_GROUPS}) is that of timm"
        )
    if source == "timm":
        return ""
    if norm.num_groups is None and norm.channels_per_group is None and not by_32:
        raise UserError(
            f"the weights of {source}'s {name!r} do not show how many groups its group "
            f"norms have, and not all its widths ({listed(map(str, widths))}) "
            f"have {MOST_GROUPS}: give them, as in norm=make_norm('group', "
            "num_groups=8) (config.norm.num_groups, config.norm.channels_per_group)"
        )
    arguments = "c" if norm.epsilon == 1e-5 else f"c, eps={norm.epsilon:g}"
    count = norm.num_groups or MOST_GROUPS
    if norm.channels_per_group:
        count = f"c // {norm.channels_per_group}"
    return (
        f"no weight shows the groups of group norm: {source}'s net is taken to have "
        f"norm_layer=lambda c: GroupNorm({count}, {arguments})"
    )


def _groups_of(norm: Norm, width: int) -> int:
    """Groups of a group norm on maps of more than one position."""
    if norm.channels_per_group:
        return width // norm.channels_per_group
    return norm.num_groups or default_groups(width, num_positions=2)


def _described(groups: dict[int, int]) -> str:
    return listed(f"{n} of {width} channels" for width, n in groups.items())
