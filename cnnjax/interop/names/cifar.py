"""Names in the public PyTorch ports of the CIFAR-10 ResNets with option-A shortcuts.

Source 'cifar' is akamaster/pytorch_resnet_cifar10 and what was derived from it: where
the width doubles, its shortcut pads `planes // 4` zero channels in front *and* behind.
Ours puts all of them behind. Both compute the same function once the channels that run
from block to block are numbered in the other order; `_trunk` has that order, and the
weights are converted by it, both ways.

Source 'cifar_append' has the same names for nets that put all zero channels behind: the
Torch7 code of Facebook (fb.resnet.torch) brought under these names, and what cnnjax
wrote as 'cifar' before it knew the difference. Names and shapes of the two are equal,
so no file says which one it is: the code that it was trained with does.

Bottlenecks and stages of other widths (with option B) are those of
kuangliu/pytorch-cifar, which names its layers alike.
"""

from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.interop.convert import Named
from cnnjax.interop.names.resnet import within_block
from cnnjax.models.blocks.residual_stages import BLOCKS
from cnnjax.models.blocks.shortcut import projects
from cnnjax.models.cifar_resnet import CifarResNet

_OUTSIDE = {
    "stem_conv": "conv1",
    "stem_norm": "bn1",
    "final_norm": "bn",  # of pre-activation nets alone
    "head": "linear",
}
Order = tuple[int, ...]


def append_name(model: nn.Module, path: str) -> str:
    """'stage1_block2/norm1' -> 'layer1.1.bn1'.

    Raises:
      UserError: a plain net, whose weights a residual net would take as its own.
    """
    if not model.residual or model.shortcut == "none":
        raise UserError(
            "the public CIFAR-10 ports have shortcuts, this net has none, and nothing "
            "in their weights would show it: choose an entry such as 'resnet20_cifar'"
        )
    if path in _OUTSIDE:
        return _OUTSIDE[path]
    stage, block, inner = within_block(path)
    inner = {"shortcut/conv": "shortcut.0", "shortcut/norm": "shortcut.1"}.get(
        inner, inner.replace("norm", "bn")
    )
    return f"layer{stage}.{block}.{inner}"


def port_name(model: nn.Module, path: str) -> Named:
    """The same with the order of channels of a port that pads on both sides.

    Raises:
      UserError: the port has no such net.
    """
    _check(model)
    name, trunk = append_name(model, path), _trunk(model)
    if path in ("stem_conv", "stem_norm"):
        return Named(name, outputs=trunk[0])
    if path == "final_norm":
        return Named(name, outputs=trunk[-1])
    if path == "head":
        return Named(name, inputs=trunk[-1])
    stage, block, inner = within_block(path)
    before = trunk[int(stage) - (block == 0)]
    return _within(model, name, inner, before, trunk[int(stage)])


def _within(
    model: nn.Module, name: str, inner: str, before: Order, after: Order
) -> Named:
    """A part of a block, before and after which the trunk has these orders."""
    last = BLOCKS[model.block]
    norms_first = model.placement == "pre"
    if inner == "conv1":
        return Named(name, inputs=before)
    if inner == "norm1" and norms_first:
        return Named(name, outputs=before)
    if inner == f"conv{last}" or (inner == f"norm{last}" and not norms_first):
        return Named(name, outputs=after)
    return Named(name)  # within the branch, or a projection, beside which nothing pads


def _widths(model: nn.Module) -> list[int]:
    """Channels behind the stem and behind each stage."""
    factor = 4 if model.block == "bottleneck" else 1
    return [model.widths[0], *(factor * width for width in model.widths)]


def _pads(model: nn.Module) -> list[bool]:
    """Whether the first block of each stage has a shortcut that pads or strides."""
    widths = _widths(model)
    return [
        not projects(model.shortcut, 1 if stage == 1 else 2, *widths[stage - 1 :][:2])
        and (stage > 1 or widths[0] != widths[1])
        for stage in range(1, len(widths))
    ]


def _trunk(model: nn.Module) -> list[Order]:
    """For each channel of ours its number in the port: behind the stem, each stage."""
    widths = _widths(model)
    orders = [tuple(range(widths[0]))]
    for features, padded in zip(widths[1:], _pads(model), strict=True):
        order = tuple(range(features))
        if padded:
            front = features // 4
            copied = [front + channel for channel in orders[-1]]
            order = (*copied, *(c for c in order if c not in set(copied)))
        orders.append(order)
    return orders


def _check(model: nn.Module) -> None:
    """Refuses what the ports do not have, or have in another form of equal shapes."""
    forms = {
        "placement": ("post", "pre"),
        "shortcut": ("A", "B", "C"),
        "squeeze_excite": (False,),
        "groups": (1,),
        "stride_on_3x3": (True,) if model.block == "bottleneck" else (True, False),
    }
    for key, allowed in forms.items():
        if getattr(model, key) not in allowed:
            raise UserError(
                f"the public CIFAR-10 ports have no nets with config.model.{key}="
                f"{getattr(model, key)!r}: with source 'cifar' it is "
                f"{' or '.join(map(repr, allowed))}"
            )
    widths = _widths(model)
    for old, new, padded in zip(widths, widths[1:], _pads(model), strict=False):
        if padded and 2 * (new // 4) + old != new:
            raise UserError(
                f"the port that source 'cifar' stands for cannot go from {old} to {new}"
                f" channels: it pads {new} // 4 zero channels on both sides, so widths "
                "must double and divide by 4 (config.model.widths), or the source be "
                "'cifar_append'"
            )


NAMES = {
    (CifarResNet, "cifar"): port_name,
    (CifarResNet, "cifar_append"): append_name,
}
