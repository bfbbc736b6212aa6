"""Residual nets that are wide rather than deep.

Source: Zagoruyko & Komodakis 2016, arXiv 1605.07146: table 1 (small images), section
3.5 (ImageNet), and the authors' Torch code for the shortcuts. WRN-28-10 has 28 layers,
the projections among them, and 10 times the width of the thin nets.

Deviations: none known. In the nets for small images projections carry no norm and
start after the first activation; where the shape is kept, so also in the first block
of a net of widening factor 1, the shortcut is the identity. The ImageNet nets are
those of `resnet` with twice the inner width, in the form of torchvision.
"""

from collections.abc import Callable
from typing import Any

from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.layers.norm import Norm
from cnnjax.models.blocks.residual_stages import (
    block_factory,
    classify,
    conv_factory,
    end_stem,
    stages,
)
from cnnjax.models.resnet import IMAGE, TORCHVISION, ResNet, layout
from cnnjax.models.variant import OF_TORCHVISION, Published, Variant

WIDTHS = (16, 32, 64)


class WideResNet(nn.Module):
    """A 3 x 3 stem, three stages of wide basic blocks, average pool, head.

    Args:
      num_classes: width of the head.
      norm: normalization.
      act: activation function.
      dtype: compute type.
      depth: number of weighted layers with the three projections, 6n + 4.
      widen_factor: widths of the stages as multiples of 16, 32, 64.
      block_dropout_rate: dropout between the two convolutions of each block.
      residual: False gives the net without the additions.
      placement: order of norm and activation, see `residual.PLACEMENTS`.
      shortcut: see `shortcut.SHORTCUTS`.
      squeeze_excite: weigh the channels of each branch before the addition.
      se_reduction: by how much the channels shrink there.
      share_first_activation: under 'pre' and 'act_only_pre' the first shortcut starts
        after the activation also where it is the identity.
      zero_last_scale: the last norm's scale of each branch starts at 0; for the
        placements whose branch ends in that norm, 'post' and 'act_only_pre'.
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
    depth: int = 28
    widen_factor: int = 10
    block_dropout_rate: float = 0.0
    residual: bool = True
    placement: str = "pre"
    shortcut: str = "B"
    squeeze_excite: bool = False
    se_reduction: int = 16
    share_first_activation: bool = False
    zero_last_scale: bool = False
    stochastic_depth_rate: float = 0.0
    dropout_rate: float = 0.0
    kernel_init: str = "he_normal_fan_out"
    scan_blocks: bool | None = None
    remat: str = "none"

    @nn.compact
    def __call__(self, images, *, train: bool):
        n = blocks_per_stage(self.depth)
        if self.widen_factor < 1:
            raise UserError(
                f"widening factor {self.widen_factor} must be at least 1 (set "
                "config.model.widen_factor)"
            )
        conv = conv_factory(self)
        x = conv(WIDTHS[0], 3, padding=1, name="stem_conv")(images)
        x = end_stem(self, x, "stem_norm", train=train)
        widths = [self.widen_factor * width for width in WIDTHS]
        x = stages(self, block_factory(self, conv), (n, n, n), widths, x, train=train)
        return classify(self, x, train=train)


def blocks_per_stage(depth: int) -> int:
    """n of depth = 6n + 4.

    Raises:
      UserError: no n gives this depth; the nearest depths are named.
    """
    n, rest = divmod(depth - 4, 6)
    if rest or n < 1:
        low = 6 * max(n, 1) + 4
        raise UserError(
            f"depth {depth} is not 6n + 4, as wide residual nets count their layers: "
            f"the nearest are {low} and {low + 6} (set config.model.depth)"
        )
    return n


PAPER = "Zagoruyko & Komodakis 2016, arXiv 1605.07146, "
# (depth, widening factor) -> parameters and multiply-adds at 10 classes.
CIFAR = {
    (16, 4): (2_748_890, 392_612_352),
    (16, 8): (10_961_370, 1_548_145_664),
    (16, 10): (17_116_634, 2_412_173_568),
    (22, 8): (17_158_106, 2_454_115_328),
    (22, 10): (26_797_914, 3_827_751_168),
    (28, 2): (1_467_610, 214_353_152),
    (28, 10): (36_479_194, 5_243_328_768),
    (28, 12): (52_517_850, 7_543_905_792),
    (40, 1): (563_930, 83_280_512),
    (40, 2): (2_243_546, 327_599_360),
    (40, 4): (8_949_210, 1_298_582_016),
    (40, 8): (35_748_314, 5_172_024_320),
}
IMAGENET = {
    50: (68_883_240, 11_398_021_120),
    101: (126_886_696, 22_753_050_624),
}


def _cifar(depth: int, widen_factor: int, counts: tuple[int, int]) -> Variant:
    result = "without dropout, flips and shifts, median of 5 runs"
    best = (depth, widen_factor) == (28, 10)
    return Variant(
        WideResNet,
        (32, 32, 3),
        *counts,
        "by hand, layer by layer; " + PAPER + "table 4, rounded",
        {"depth": depth, "widen_factor": widen_factor},
        num_classes=10,
        published=Published(4.0, None, PAPER + result, "CIFAR-10") if best else None,
    )


def _imagenet(depth: int, counts: tuple[int, int]) -> Variant:
    published = {
        50: Published(21.9, 5.79, PAPER + "one crop"),
        101: Published(21.15, 5.72, OF_TORCHVISION),
    }
    arguments = layout(depth) | {"base_width": 128}
    return Variant(
        ResNet, IMAGE, *counts, TORCHVISION, arguments, published=published[depth]
    )


VARIANTS = {
    f"wide_resnet{depth}_{factor}": _cifar(depth, factor, counts)
    for (depth, factor), counts in CIFAR.items()
} | {
    f"wide_resnet{depth}_2": _imagenet(depth, counts)
    for depth, counts in IMAGENET.items()
}
