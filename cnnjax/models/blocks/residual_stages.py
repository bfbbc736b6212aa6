"""What all residual nets share: stages of blocks between a stem and a head.

The functions here are called inside the compact `__call__` of a net, which owns the
modules they make.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnjax.errors import UserError, unknown_name
from cnnjax.layers import init
from cnnjax.layers.conv import Conv, Dense
from cnnjax.layers.dropout import Dropout
from cnnjax.layers.pool import GlobalAvgPool
from cnnjax.layers.scan_blocks import Blocks, repeat
from cnnjax.models.blocks.residual import ResidualBlock, parts_of
from cnnjax.models.blocks.shortcut import SHORTCUTS

# Number of convolutions in a block.
BLOCKS = {"basic": 2, "bottleneck": 3}
# Equal blocks of a stage from which on one scanned body pays, see docs/design.md.
WORTH_SCANNING = 8
KERNEL_INITS = {
    "he_normal": init.he_normal,
    "he_normal_fan_out": init.he_normal_fan_out,
    "lecun_normal": init.lecun_normal,
    "glorot_uniform": init.glorot_uniform,
}


def conv_factory(net: nn.Module) -> Callable[..., nn.Module]:
    """Convolutions with the net's initial values and type."""
    if net.kernel_init not in KERNEL_INITS:
        raise unknown_name(
            "initialization", net.kernel_init, KERNEL_INITS, "config.model.kernel_init"
        )
    return functools.partial(
        Conv,
        use_bias=not net.norm.has_bias,
        kernel_init=KERNEL_INITS[net.kernel_init],
        dtype=net.dtype,
    )


def block_factory(
    net: nn.Module, conv: Callable[..., nn.Module], block: str = "basic"
) -> Callable[..., nn.Module]:
    """Blocks with every choice that the net has among its own fields, by name.

    Raises:
      UserError: a choice that no branch of the net would notice, or that would never
        learn.
    """
    if block not in BLOCKS:
        raise unknown_name("block", block, BLOCKS, "config.model.block")
    branch, _ = parts_of(net.placement, BLOCKS[block])
    _check(net, branch)
    known = {field.name for field in dataclasses.fields(net)} - {"name", "parent"}
    chosen = {
        field.name: getattr(net, field.name)
        for field in dataclasses.fields(ResidualBlock)
        if field.name in known
    }
    return functools.partial(
        ResidualBlock, conv=conv, bottleneck=block == "bottleneck", **chosen
    )


def end_stem(net: nn.Module, x: jax.Array, name: str, *, train: bool) -> jax.Array:
    """The norm and activation after the stem, as far as no block begins with them."""
    opening = parts_of(net.placement, 2)[0][0]
    if opening[0] != "n":
        x = net.norm(name=name)(x, train=train)
    return net.act(x) if opening[0] == "c" else x


def stages(
    net: nn.Module,
    build: Callable[..., nn.Module],
    num_blocks: Sequence[int],
    widths: Sequence[int],
    x: jax.Array,
    *,
    train: bool,
) -> jax.Array:
    """Stages of equal blocks; each but the first halves the map.

    Args:
      net: with fields `stochastic_depth_rate` (that of the last block; it grows in
        proportion to the depth, Huang et al. 2016, equation 4),
        `share_first_activation`, `scan_blocks` and `remat`.
      build: of `block_factory`.
      num_blocks: in each stage.
      widths: of each stage.
      x: what the stem gives.
      train: handed to the blocks.
    """
    depth = itertools.count(1)
    total = sum(num_blocks)
    for stage, (count, width) in enumerate(zip(num_blocks, widths, strict=True), 1):
        names = tuple(f"stage{stage}_block{i}" for i in range(1, count + 1))
        rates = [net.stochastic_depth_rate * next(depth) / total for _ in names]
        first = functools.partial(
            build,
            width=width,
            stride=1 if stage == 1 else 2,
            first=stage == 1 and net.share_first_activation,
            stochastic_depth_rate=rates[0],
        )
        blocks = [Blocks(first, names[:1])]
        equal = functools.partial(build, width=width, stride=1, first=False)
        if net.stochastic_depth_rate:  # a rate of its own in each block
            for name, rate in zip(names[1:], rates[1:], strict=True):
                build_one = functools.partial(equal, stochastic_depth_rate=rate)
                blocks.append(Blocks(build_one, (name,)))
        else:
            together = f"stage{stage}_blocks" if scans(net, count - 1) else None
            blocks.append(Blocks(equal, names[1:], together))
        x = repeat(net, blocks, x, train=train, remat=net.remat)
    return x


def scans(net: nn.Module, num_equal: int) -> bool:
    """Whether a stage with so many equal blocks is compiled as one scanned body."""
    if net.scan_blocks is None:
        return num_equal >= WORTH_SCANNING
    return net.scan_blocks


def classify(net: nn.Module, x: jax.Array, *, train: bool) -> jax.Array:
    """Norm and activation that no block ends with, average pool, dropout, head."""
    opening = parts_of(net.placement, 2)[0][0]
    if opening[0] == "n":
        x = net.norm(name="final_norm")(x, train=train)
    if opening[0] != "c":
        x = net.act(x)
    x = GlobalAvgPool(name="pool")(x)  # [N, widths[-1]], times four for bottlenecks
    x = Dropout(net.dropout_rate, name="head_dropout")(x, train=train)
    logits = Dense(net.num_classes, dtype=net.dtype, name="head")(x)
    return logits.astype(jnp.promote_types(jnp.float32, net.dtype))


def check_widths(widths: Sequence[int]) -> None:
    """Refuses stages without channels."""
    if not widths or min(widths) < 1:
        raise UserError(
            f"stage widths {tuple(widths)} must be positive channel counts, one a "
            "stage (set config.model.widths)"
        )


def _check(net: nn.Module, branch: list[str]) -> None:
    if net.shortcut not in SHORTCUTS:
        raise unknown_name("shortcut", net.shortcut, SHORTCUTS, "config.model.shortcut")
    # After the last norm of 'pre' or 'act_before_add' comes a rectifier, whose slope
    # at 0 is 0: the branch would stay zero.
    if net.zero_last_scale and branch[-1][-1] != "n":
        raise UserError(
            "config.model.zero_last_scale needs a residual branch that ends in a norm: "
            f"placement {net.placement!r} does not, 'act_only_pre', 'post', "
            "'no_act_after_add' and 'norm_after_act' do (set "
            "config.model.placement)"
        )
    if net.stochastic_depth_rate and not (net.residual and net.shortcut != "none"):
        raise UserError(
            "config.model.stochastic_depth_rate drops the branch of a block, and "
            "without a shortcut nothing would be left: set it to 0.0 for plain nets"
        )
    if net.stochastic_depth_rate and net.scan_blocks:
        raise UserError(
            "config.model.scan_blocks makes one body of equal blocks, and "
            "config.model.stochastic_depth_rate differs from block to block: set one "
            "of the two off"
        )
