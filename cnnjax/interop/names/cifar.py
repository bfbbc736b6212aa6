"""Names in the public PyTorch ports of the CIFAR-10 ResNets with option-A shortcuts.

Source 'cifar' is akamaster/pytorch_resnet_cifar10 and code derived from it: where the
width doubles, its shortcut pads `planes // 4` zero channels on *both* sides. Ours
appends all of them. Both compute the same function after a permutation of the channels
that run from block to block: `_trunk` returns it, and the weights are permuted by it
in both directions.

Source 'cifar_append' has the same names for nets that append all zero channels: Torch7
code of Facebook (fb.resnet.torch) with these names, and files that early versions of
cnnjax wrote as 'cifar'. Names and shapes of the two are equal, so no file tells which
one it is: only the code that trained it does.

Bottlenecks, and stages of other widths (with option B), are those of
kuangliu/pytorch-cifar, which uses the same names.
"""

from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.interop.convert import Named
from cnnjax.interop.names.paths import within_block
from cnnjax.models.blocks.residual_stages import BLOCKS
from cnnjax.models.blocks.shortcut import projects
from cnnjax.models.cifar_resnet import CifarResNet

_OUTSIDE = {
    "stem_conv": "conv1",
    "stem_norm": "bn1",
    "final_norm": "bn",  # in pre-activation nets only
    "head": "linear",
}
Order = tuple[int, ...]


def append_name(model: nn.Module, path: str) -> str:
    """'stage1_block2/norm1' -> 'layer1.1.bn1'.

    Raises:
      UserError: a plain net, whose weights would also fit a residual net.
    """
    if not model.residual or model.shortcut == "none":
        raise UserError(
            "the public CIFAR-10 ports have shortcuts, this net has none, and the "
            "weights would not show it: choose an entry such as 'resnet20_cifar'"
        )
    if path in _OUTSIDE:
        return _OUTSIDE[path]
    stage, block, inner = within_block(path)
    inner = {"shortcut/conv": "shortcut.0", "shortcut/norm": "shortcut.1"}.get(
        inner, inner.replace("norm", "bn")
    )
    return f"layer{stage}.{block - 1}.{inner}"


def port_name(model: nn.Module, path: str) -> Named:
    """The same name, with the channel order of a port that pads on both sides.

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
    before = trunk[stage - (block == 1)]
    return _within(model, name, inner, before, trunk[stage])


def _within(
    model: nn.Module, name: str, inner: str, before: Order, after: Order
) -> Named:
    """A layer of a block, given the channel order before and after the block."""
    last = BLOCKS[model.block]
    norms_first = model.placement == "pre"
    if inner == "conv1":
        return Named(name, inputs=before)
    if inner == "norm1" and norms_first:
        return Named(name, outputs=before)
    if inner == f"conv{last}" or (inner == f"norm{last}" and not norms_first):
        return Named(name, outputs=after)
    return Named(name)  # inside the branch, or a projection, where nothing is padded


def _widths(model: nn.Module) -> list[int]:
    """Channels after the stem and after each stage."""
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
    """Index in the port of each of our channels, after the stem and each stage."""
    widths = _widths(model)
    orders: list[Order] = [tuple(range(widths[0]))]
    for features, padded in zip(widths[1:], _pads(model), strict=True):
        order = tuple(range(features))
        if padded:
            front = features // 4
            copied = [front + channel for channel in orders[-1]]
            order = (*copied, *(c for c in order if c not in set(copied)))
        orders.append(order)
    return orders


def _check(model: nn.Module) -> None:
    """Refuses arguments that the ports lack, or have in another form."""
    forms: dict[str, tuple] = {
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
                f"{getattr(model, key)!r}: with source 'cifar' allowed is "
                f"{' or '.join(map(repr, allowed))}"
            )
    widths = _widths(model)
    for old, new, padded in zip(widths, widths[1:], _pads(model), strict=False):
        if padded and 2 * (new // 4) + old != new:
            raise UserError(
                f"the port behind source 'cifar' cannot go from {old} to {new} channels"
                f", as it pads {new} // 4 zero channels on both sides: choose widths "
                "that double and are multiples of 4 (config.model.widths), or source "
                "'cifar_append'"
            )


NAMES = {
    (CifarResNet, "cifar"): port_name,
    (CifarResNet, "cifar_append"): append_name,
}
