"""Residual nets for small images, and their plain twins, for any depth.

Source: He et al. 2015, arXiv 1512.03385, section 4.2 (basic blocks, 6n + 2 layers); He
et al. 2016, arXiv 1603.05027 (pre-activation; bottlenecks, 9n + 2 layers).

plain1202_cifar is a twin to count with: its gradient at initialisation is too large for
float32 (it grows by about 1.2 a layer: Yang et al. 2019, arXiv 1902.08129).

Deviations: none known. Projections of options B and C carry a norm and no bias, as in
the authors' code; under 'pre' and 'act_only_pre' they start after the activation and
carry none, see `blocks/residual.py`.
"""

from collections.abc import Callable
from typing import Any

from flax import linen as nn

from cnnjax.errors import UserError, unknown_name
from cnnjax.layers.norm import Norm
from cnnjax.models.blocks.residual_stages import (
    BLOCKS,
    block_factory,
    check_widths,
    classify,
    conv_factory,
    end_stem,
    stages,
)
from cnnjax.models.variant import Published, Variant


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
      placement: order of norm and activation, see `residual.PLACEMENTS`.
      shortcut: see `shortcut.SHORTCUTS`.
      stride_on_3x3: where a bottleneck strides.
      groups: of the 3 x 3 convolutions, see `blocks/residual.py`.
      base_width: channels a group at a width of 64.
      squeeze_excite: weigh the channels of each branch before the addition.
      se_reduction: by how much the channels shrink there.
      share_first_activation: under 'pre' and 'act_only_pre' the first shortcut starts
        after the activation (He et al. 2016, appendix).
      zero_last_scale: the last norm's scale of each branch starts at 0; for the
        placements whose branch ends in that norm, 'post', 'act_only_pre',
        'no_act_after_add' and 'norm_after_act'.
      gate_bias: initial bias of the gates of the gated shortcuts.
      shortcut_dropout_rate: for shortcut 'dropout'.
      block_dropout_rate: dropout in front of the second convolution of each block.
      stochastic_depth_rate: probability of dropping the last branch; for the others it
        grows with the depth.
      dropout_rate: dropout in front of the head.
      kernel_init: a key of `residual_stages.KERNEL_INITS`.
      scan_blocks: compile the equal blocks of a stage once; their variables are then
        stacked under `stage1_blocks` and so on, see `layers.scan_blocks`. None does so
        in stages with enough of them.
      remat: 'block' or 'stage' keeps only the input of each for the gradient and
        computes the rest again: less memory, a third more work; 'none' keeps all.

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
    groups: int = 1
    base_width: int = 64
    squeeze_excite: bool = False
    se_reduction: int = 16
    share_first_activation: bool = True
    zero_last_scale: bool = False
    gate_bias: float = -6.0
    shortcut_dropout_rate: float = 0.5
    block_dropout_rate: float = 0.0
    stochastic_depth_rate: float = 0.0
    dropout_rate: float = 0.0
    kernel_init: str = "he_normal"
    scan_blocks: bool | None = None
    remat: str = "none"

    @nn.compact
    def __call__(self, images, *, train: bool):
        check_widths(self.widths)
        n = blocks_per_stage(self.depth, self.block, len(self.widths))
        conv = conv_factory(self)
        build = block_factory(self, conv, self.block)
        x = conv(self.widths[0], 3, padding=1, name="stem_conv")(images)
        x = end_stem(self, x, "stem_norm", train=train)
        num_blocks = (n,) * len(self.widths)
        x = stages(self, build, num_blocks, self.widths, x, train=train)
        return classify(self, x, train=train)


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
# He et al. 2015, table 6: test error of the residual nets on CIFAR-10, with
# augmentation; those of the plain nets are only drawn (figure 6).
ERRORS = {20: 8.75, 32: 7.51, 44: 7.17, 56: 6.97, 110: 6.43, 1202: 7.93}
TABLE = "He et al. 2015, arXiv 1512.03385, table 6"


def _published(residual: bool, depth: int) -> Published | None:
    if not residual:
        return None
    runs = ", best of 5 runs" if depth == 110 else ""
    return Published(ERRORS[depth], None, TABLE + runs, "CIFAR-10")


VARIANTS = {
    f"{prefix}{depth}_cifar": Variant(
        CifarResNet,
        (32, 32, 3),
        count,
        40_551_040 + (depth - 20) * 2_359_296,
        SOURCE,
        {"depth": depth, "residual": residual},
        num_classes=10,
        published=_published(residual, depth),
    )
    for prefix, residual in (("resnet", True), ("plain", False))
    for depth, count in COUNTS.items()
}
