"""Residual nets for ImageNet and their plain twins.

Source: He et al. 2015, arXiv 1512.03385, section 4.1 and table 1; resnet200 is that of
He et al. 2016, arXiv 1603.05027, table 5. The same net, with other arguments, is that
of `preact_resnet`, `resnext`, `senet` and, for ImageNet, `wide_resnet`.

Deviations: the bare names are the form of torchvision and timm: bottlenecks stride in
their 3x3, projections (option B) where the shape changes, and the first pool is padded
by 1. `<name>_published` strides in the first 1x1, has the unpadded pool that rounds up
of the authors' Caffe files, and parameter-free shortcuts (option A) at 18 and 34
layers, as in the paper's table 2. A plain net is the twin of the bare name with
option A.
"""

from collections.abc import Callable
from typing import Any

from flax import linen as nn

from cnnjax.errors import UserError, unknown_name
from cnnjax.layers.norm import Norm
from cnnjax.layers.pool import MaxPool
from cnnjax.models.blocks.residual_stages import (
    block_factory,
    check_widths,
    classify,
    conv_factory,
    end_stem,
    stages,
)
from cnnjax.models.variant import OF_TORCHVISION, Published, Variant

# (features as a multiple of the stem width, kernel size, stride) of each convolution.
STEMS = {
    "7x7": [(1, 7, 2)],
    "three_3x3": [(1, 3, 2), (1, 3, 1), (2, 3, 1)],
}
POOLS: dict[str, dict[str, Any]] = {
    "padded": {"padding": 1},
    "ceil": {"padding": 0, "ceil_mode": True},
}


class ResNet(nn.Module):
    """A stem that quarters the map, stages of blocks, average pool, head.

    Args:
      num_classes: width of the head.
      norm: normalization.
      act: activation function.
      dtype: compute type.
      num_blocks: in each stage.
      residual: False gives the plain twin.
      block: 'basic' or 'bottleneck'.
      widths: channels of the 3 x 3 convolutions in each stage.
      placement: order of norm and activation, see `residual.PLACEMENTS`.
      shortcut: see `shortcut.SHORTCUTS`.
      stride_on_3x3: where a bottleneck strides.
      projection_size: kernel size of the projections that stride.
      groups: of the 3 x 3 convolutions, see `blocks/residual.py`.
      base_width: channels a group at a width of 64.
      narrow_first: a bottleneck's first 1x1 gives half of the inner width.
      squeeze_excite: weigh the channels of each branch before the addition.
      se_reduction: by how much the channels shrink there.
      se_divisor: what they are rounded to a multiple of.
      stem: a key of `STEMS`: one convolution or three.
      stem_width: channels of the stem's first convolution.
      stem_pool: 'padded', or 'ceil' without padding and rounding up, as in Caffe.
      share_first_activation: under 'pre' and 'act_only_pre' the first shortcut starts
        after the activation also where it is the identity.
      zero_last_scale: the last norm's scale of each branch starts at 0; for the
        placements whose branch ends in that norm, 'post' and 'act_only_pre'.
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
      UserError: an argument out of range, or images so small that a map vanishes.

    Shapes: images [N, H, W, C] -> logits [N, num_classes].
    """

    num_classes: int
    norm: Norm
    act: Callable
    dtype: Any
    num_blocks: tuple[int, ...] = (3, 4, 6, 3)
    residual: bool = True
    block: str = "bottleneck"
    widths: tuple[int, ...] = (64, 128, 256, 512)
    placement: str = "post"
    shortcut: str = "B"
    stride_on_3x3: bool = True
    projection_size: int = 1
    groups: int = 1
    base_width: int = 64
    narrow_first: bool = False
    squeeze_excite: bool = False
    se_reduction: int = 16
    se_divisor: int = 1
    stem: str = "7x7"
    stem_width: int = 64
    stem_pool: str = "padded"
    share_first_activation: bool = True
    zero_last_scale: bool = False
    gate_bias: float = -6.0
    shortcut_dropout_rate: float = 0.5
    block_dropout_rate: float = 0.0
    stochastic_depth_rate: float = 0.0
    dropout_rate: float = 0.0
    kernel_init: str = "he_normal_fan_out"
    scan_blocks: bool | None = None
    remat: str = "none"

    @nn.compact
    def __call__(self, images, *, train: bool):
        self.check()
        conv = conv_factory(self)
        build = block_factory(self, conv, self.block)
        x = images
        layers = STEMS[self.stem]
        for i, (multiple, size, stride) in enumerate(layers, start=1):
            number = "" if len(layers) == 1 else str(i)
            x = conv(
                multiple * self.stem_width,
                size,
                strides=stride,
                padding=size // 2,
                name=f"stem_conv{number}",
            )(x)
            if i < len(layers):
                x = self.act(self.norm(name=f"stem_norm{number}")(x, train=train))
        x = end_stem(self, x, f"stem_norm{number}", train=train)
        x = MaxPool(3, 2, name="stem_pool", **POOLS[self.stem_pool])(x)
        x = stages(self, build, self.num_blocks, self.widths, x, train=train)
        return classify(self, x, train=train)

    def check(self) -> None:
        """Refuses what the parts would not refuse in their own words."""
        check_widths(self.widths)
        if self.stem not in STEMS:
            raise unknown_name("stem", self.stem, STEMS, "config.model.stem")
        if self.stem_pool not in POOLS:
            raise unknown_name("pool", self.stem_pool, POOLS, "config.model.stem_pool")
        blocks = self.num_blocks
        if len(blocks) != len(self.widths) or min(blocks) < 1:
            raise UserError(
                f"numbers of blocks {blocks} must be positive, one for each of the "
                f"{len(self.widths)} stage widths {self.widths} (set "
                "config.model.num_blocks)"
            )


IMAGE = (224, 224, 3)
# Blocks of each stage by the number of weighted layers: He et al. 2015, table 1.
BASIC = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
BOTTLENECK = {
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
    200: (3, 24, 36, 3),
}


def layout(depth: int) -> dict[str, Any]:
    """Arguments `block` and `num_blocks` of a depth in the paper's table."""
    if depth in BASIC:
        return {"block": "basic", "num_blocks": BASIC[depth]}
    return {"block": "bottleneck", "num_blocks": BOTTLENECK[depth]}


TORCHVISION = "torchvision 0.28, counted there"
TIMM = "timm 1.0.31, counted there"
HE = "He et al. 2015, arXiv 1512.03385, "
TEN_CROPS = HE + "table 3, 10 crops"

# Depth -> parameters and multiply-adds.
COMMON = {
    18: (11_689_512, 1_814_073_344),
    34: (21_797_672, 3_663_761_408),
    50: (25_557_032, 4_089_184_256),
    101: (44_549_160, 7_801_405_440),
    152: (60_192_808, 11_513_626_624),
    200: (64_673_832, 15_007_481_856),
}
PUBLISHED = {
    18: (11_515_688, 1_794_805_760),
    34: (21_623_848, 3_644_493_824),
    50: (25_557_032, 3_857_973_248),
    101: (44_549_160, 7_570_194_432),
    152: (60_192_808, 11_282_415_616),
}
PLAIN = {
    18: (11_515_688, 1_794_805_760),
    34: (21_623_848, 3_644_493_824),
    50: (22_780_456, 3_729_522_688),
    101: (41_772_584, 7_441_743_872),
    152: (57_416_232, 11_153_965_056),
}
RESULTS = {
    "resnet18": (30.24, 10.92, OF_TORCHVISION),
    "resnet50": (23.87, 7.14, OF_TORCHVISION),
    "resnet101": (22.63, 6.45, OF_TORCHVISION),
    "resnet152": (21.69, 5.95, OF_TORCHVISION),
    "resnet34": (24.52, 7.46, TEN_CROPS + ", option B"),
    "resnet18_published": (27.88, None, HE + "table 2, 10 crops"),
    "resnet34_published": (25.03, 7.76, TEN_CROPS + ", option A"),
    "resnet50_published": (22.85, 6.71, TEN_CROPS),
    "resnet101_published": (21.75, 6.05, TEN_CROPS),
    "resnet152_published": (21.43, 5.71, TEN_CROPS),
    "plain18": (27.94, None, HE + "table 2, 10 crops"),
    "plain34": (28.54, 10.02, TEN_CROPS),
    "resnet50_gn": (24.1, None, "Wu & He 2018, arXiv 1803.08494, table 1, one crop"),
}


def _variant(name: str, counts: tuple[int, int], source: str, **arguments) -> Variant:
    norm = arguments.pop("norm", {"kind": "batch"})
    published = Published(*RESULTS[name]) if name in RESULTS else None
    return Variant(
        ResNet, IMAGE, *counts, source, arguments, norm=norm, published=published
    )


def _common() -> dict[str, Variant]:
    nets = {}
    for depth, counts in COMMON.items():
        source = TIMM if depth == 200 else TORCHVISION
        name = f"resnet{depth}"
        nets[name] = _variant(name, counts, source, **layout(depth))
    norm = {"kind": "group", "num_groups": 32}
    nets["resnet50_gn"] = _variant(
        "resnet50_gn", COMMON[50], TIMM, norm=norm, **layout(50)
    )
    return nets


def _published() -> dict[str, Variant]:
    source = HE + "table 1, layer by layer"
    nets = {}
    for depth, counts in PUBLISHED.items():
        arguments = layout(depth) | {
            "stride_on_3x3": False,
            "stem_pool": "ceil",
            "shortcut": "A" if depth in BASIC else "B",
        }
        name = f"resnet{depth}_published"
        nets[name] = _variant(name, counts, source, **arguments)
    for depth, counts in PLAIN.items():
        arguments = layout(depth) | {"residual": False, "shortcut": "A"}
        name = f"plain{depth}"
        nets[name] = _variant(name, counts, source, **arguments)
    return nets


VARIANTS = _common() | _published()
