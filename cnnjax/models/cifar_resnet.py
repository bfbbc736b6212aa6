"""Residual nets for small images, and their plain twins, for any depth.

Source: He et al. 2015, arXiv 1512.03385, section 4.2 (basic blocks, 6n + 2 layers); He
et al. 2016, arXiv 1603.05027 (pre-activation; bottlenecks, 9n + 2 layers).

Deviations: none known. Projections of options B and C carry a norm and no bias, as in
the authors' code; under 'pre' and 'act_only_pre' they start behind the activation.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from cnnjax.errors import UserError, unknown_name
from cnnjax.layers import init
from cnnjax.layers.conv import Conv, Dense
from cnnjax.layers.norm import Norm
from cnnjax.layers.pool import global_avg_pool
from cnnjax.layers.repeat import repeat
from cnnjax.models.residual_block import (
    SHORTCUTS,
    ResidualBlock,
    parts_of,
)
from cnnjax.models.variant import Variant

BLOCKS = {"basic": 2, "bottleneck": 3}
KERNEL_INITS = {
    "he_normal": init.he_normal,
    "he_normal_fan_out": init.he_normal_fan_out,
    "lecun_normal": init.lecun_normal,
    "glorot_uniform": init.glorot_uniform,
}


def blocks_per_stage(depth: int, block: str, num_stages: int) -> int:
    """n of depth = layers * stages * n + 2.

    Raises:
      UserError: no n gives this depth; the nearest depths are named.
    """
    if block not in BLOCKS:
        raise unknown_name("block", block, BLOCKS, "config.model.block")
    unit = BLOCKS[block] * num_stages
    n, rest = divmod(depth - 2, unit)
    if rest or n < 1:
        low = unit * max(n, 1) + 2
        raise UserError(
            f"depth {depth} is not {unit}n + 2, which {num_stages} stages of {block} "
            f"blocks need: the nearest are {low} and {low + unit} "
            "(set config.model.depth)"
        )
    return n


class CifarResNet(nn.Module):
    """A 3 x 3 stem, stages of equal blocks that halve the map, average pool, head.

    Args:
      num_classes: width of the head.
      norm: normalization.
      act: activation function.
      dtype: compute type.
      depth: number of weighted layers, 6n + 2 (basic) or 9n + 2 (bottleneck) for
        three stages.
      residual: False gives the plain twin.
      block: 'basic' or 'bottleneck'.
      widths: channels of the 3 x 3 convolutions in each stage.
      placement: order of norm and activation, see `residual_block.PLACEMENTS`.
      shortcut: see `residual_block.SHORTCUTS`.
      stride_on_3x3: where a bottleneck strides.
      zero_last_scale: the last norm's scale of each branch starts at 0; for the
        placements whose branch ends in that norm, 'post' and 'act_only_pre'.
      gate_bias: initial bias of the gates of the gated shortcuts.
      shortcut_dropout_rate: for shortcut 'dropout'.
      kernel_init: a key of `KERNEL_INITS`.
      scan_blocks: compile the equal blocks of a stage once; their variables are then
        stacked under `stage1_blocks` and so on, see `layers.repeat`.

    Raises:
      UserError: an argument out of range.

    Shapes: images [N, H, W, C] -> logits [N, num_classes].
    """

    num_classes: int
    norm: Norm
    act: Callable
    dtype: Any
    depth: int = 20
    residual: bool = True
    block: str = "basic"
    widths: tuple[int, ...] = (16, 32, 64)
    placement: str = "post"
    shortcut: str = "A"
    stride_on_3x3: bool = False
    zero_last_scale: bool = False
    gate_bias: float = -6.0
    shortcut_dropout_rate: float = 0.5
    kernel_init: str = "he_normal"
    scan_blocks: bool = False

    @nn.compact
    def __call__(self, images, *, train: bool):
        check_choices(self.shortcut, self.kernel_init, self.widths)
        n = blocks_per_stage(self.depth, self.block, len(self.widths))
        conv = functools.partial(
            Conv,
            use_bias=not self.norm.has_bias,
            kernel_init=KERNEL_INITS[self.kernel_init],
            dtype=self.dtype,
        )
        branch, _ = parts_of(self.placement, BLOCKS[self.block])
        if self.zero_last_scale:
            check_zero_last_scale(self.placement, branch)
        norm_first = branch[0][0] == "n"
        act_first = branch[0][0] in "na"

        x = conv(self.widths[0], 3, padding=1, name="stem_conv")(images)
        if not norm_first:
            x = self.norm(name="stem_norm")(x, train=train)
        if not act_first:
            x = self.act(x)
        for stage, width in enumerate(self.widths, start=1):
            build = functools.partial(
                ResidualBlock,
                width=width,
                bottleneck=self.block == "bottleneck",
                stride_on_3x3=self.stride_on_3x3,
                residual=self.residual,
                placement=self.placement,
                shortcut=self.shortcut,
                conv=conv,
                norm=self.norm,
                act=self.act,
                zero_last_scale=self.zero_last_scale,
                gate_bias=self.gate_bias,
                shortcut_dropout_rate=self.shortcut_dropout_rate,
            )
            first, *others = [f"stage{stage}_block{i}" for i in range(1, n + 1)]
            stride = 1 if stage == 1 else 2
            x = build(name=first, stride=stride, first=stage == 1)(x, train=train)
            build = functools.partial(build, stride=1, first=False)
            together = f"stage{stage}_blocks" if self.scan_blocks else None
            x = repeat(self, build, others, x, train=train, together=together)
        if norm_first:
            x = self.norm(name="final_norm")(x, train=train)
        if act_first:
            x = self.act(x)
        x = global_avg_pool(x)  # [N, widths[-1]], four times that for bottlenecks
        logits = Dense(
            self.num_classes,
            dtype=self.dtype,
            name="head",
        )(x)
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))


def check_choices(shortcut: str, kernel_init: str, widths: tuple[int, ...]) -> None:
    """Refuses values that no branch of the net would notice."""
    if shortcut not in SHORTCUTS:
        raise unknown_name("shortcut", shortcut, SHORTCUTS, "config.model.shortcut")
    if kernel_init not in KERNEL_INITS:
        raise unknown_name(
            "initialization", kernel_init, KERNEL_INITS, "config.model.kernel_init"
        )
    if not widths or min(widths) < 1:
        raise UserError(
            f"stage widths {widths} must be positive channel counts, one a stage "
            "(set config.model.widths)"
        )


def check_zero_last_scale(placement: str, branch: list[str]) -> None:
    """Refuses zeros that no gradient would ever move.

    Behind the last norm of 'pre' or 'act_before_add' comes a rectifier, whose slope at
    0 is 0: the branch would stay zero for good.
    """
    if branch[-1][-1] != "n":
        raise UserError(
            "config.model.zero_last_scale needs a residual branch that ends in a norm: "
            f"placement {placement!r} does not, 'act_only_pre', 'post' do (set "
            "config.model.placement)"
        )


# Depth -> parameters with option A at 10 classes, and multiply-adds: 40,551,040 at
# depth 20, and two convolutions of 16 * 32 * 32 * 9 * 16 or as many in each stage for
# every block more.
COUNTS = {
    20: 269_722,
    32: 464_154,
    44: 658_586,
    56: 853_018,
    110: 1_727_962,
    1202: 19_421_274,
}
SOURCE = "He et al. 2015, table 6, counted exactly in the public PyTorch ports"

VARIANTS = {
    f"{prefix}{depth}_cifar": Variant(
        CifarResNet,
        (32, 32, 3),
        count,
        40_551_040 + (depth - 20) * 2_359_296,
        SOURCE,
        {"depth": depth, "residual": residual},
        num_classes=10,
    )
    for prefix, residual in (("resnet", True), ("plain", False))
    for depth, count in COUNTS.items()
}
