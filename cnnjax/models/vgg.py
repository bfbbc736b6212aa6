"""VGG: stages of 3 x 3 convolutions that halve the map and double the width.

Source: Simonyan & Zisserman 2014, arXiv 1409.1556, table 1: configurations A, A-LRN, B,
D and E. With batch norm, and the adaptive pooling to 7 x 7: torchvision.

Deviations: weights start as He's. Images of another size than 224 are pooled to the
7 x 7 grid that the dense layers see, where the paper slides them over the map. The
`_cifar` forms are common practice for 32 x 32 images and not of the paper: the map of
one position goes straight to the head.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from cnnjax.errors import unknown_name
from cnnjax.layers.conv import Conv, Dense
from cnnjax.layers.init import he_normal
from cnnjax.layers.norm import Norm
from cnnjax.layers.pool import GlobalAvgPool, pool_of
from cnnjax.models.blocks.checks import check_numbers
from cnnjax.models.blocks.classifier import dense_classifier
from cnnjax.models.variant import OF_TORCHVISION, Published, Variant

HEADS = ("dense", "gap")
# The map that the dense layers were designed for.
GRID = 7


class VGG(nn.Module):
    """Stages of 3 x 3 convolutions with pooling, and dense layers with dropout.

    Args:
      num_classes: width of the head.
      norm: normalization between each convolution and its activation; kind
        'local_response' instead after the first activation alone, as in A-LRN.
      act: activation function.
      dtype: compute type.
      depths: convolutions of each stage.
      widths: channels of each stage.
      pool: 'max' or 'avg', 2 x 2 at the end of a stage.
      conv_bias: convolutions have a bias under any norm (False: where the norm has
        none).
      head: 'dense' for the hidden layers, 'gap' for the mean of the last map.
      dense_widths: of the hidden layers of a dense head.
      dropout_rate: of the hidden layers of a dense head.

    Raises:
      UserError: a choice out of range, or images too small.

    Shapes: images [N, H, W, C], H and W at least 2 ** stages -> [N, num_classes].
    """

    num_classes: int
    norm: Norm
    act: Callable
    dtype: Any
    depths: tuple[int, ...] = (2, 2, 3, 3, 3)
    widths: tuple[int, ...] = (64, 128, 256, 512, 512)
    pool: str = "max"
    conv_bias: bool = True
    head: str = "dense"
    dense_widths: tuple[int, ...] = (4096, 4096)
    dropout_rate: float = 0.5

    @nn.compact
    def __call__(self, images, *, train: bool):
        self.check()
        conv = functools.partial(
            Conv,
            use_bias=self.conv_bias or not self.norm.has_bias,
            kernel_init=he_normal,
            dtype=self.dtype,
        )
        x = images
        for stage, (depth, width) in enumerate(
            zip(self.depths, self.widths, strict=True), start=1
        ):
            for i in range(1, depth + 1):
                x = conv(width, 3, padding=1, name=f"stage{stage}_conv{i}")(x)
                x = self.norm_and_act(x, stage, i, train)
            x = pool_of(self.pool)(2, 2, name=f"stage{stage}_pool")(x)
        if self.head == "gap":
            x = GlobalAvgPool(name="global_pool")(x)
            logits = Dense(self.num_classes, dtype=self.dtype, name="head")(x)
            return logits.astype(jnp.promote_types(jnp.float32, self.dtype))
        return dense_classifier(
            x,
            self.num_classes,
            grid=GRID,
            widths=self.dense_widths,
            act=self.act,
            dropout_rate=self.dropout_rate,
            dropout_on="outputs",
            dtype=self.dtype,
            train=train,
        )

    def norm_and_act(self, x, stage: int, i: int, train: bool):
        if self.norm.kind == "local_response":
            x = self.act(x)
            if (stage, i) != (1, 1):
                return x
            return self.norm(name="stage1_norm1")(x, train=train)
        return self.act(self.norm(name=f"stage{stage}_norm{i}")(x, train=train))

    def check(self) -> None:
        """Refuses stages that do not pair up or are empty, and an unknown head."""
        check_numbers("depths", self.depths)
        check_numbers("widths", self.widths, count=len(self.depths))
        check_numbers("dense_widths", self.dense_widths)
        if self.head not in HEADS:
            raise unknown_name("head", self.head, HEADS, "config.model.head")


DEPTHS = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
# Depth -> parameters without and with batch norm, multiply-adds at 224 x 224.
COUNTS = {
    11: (132_863_336, 132_868_840, 7_609_090_048),
    13: (133_047_848, 133_053_736, 11_308_466_176),
    16: (138_357_544, 138_365_992, 15_470_264_320),
    19: (143_667_240, 143_678_248, 19_632_062_464),
}
# Depth -> parameters and multiply-adds with batch norm, for 10 classes at 32 x 32.
CIFAR_COUNTS = {
    11: (9_231_114, 152_769_536),
    13: (9_416_010, 228_267_008),
    16: (14_728_266, 313_201_664),
    19: (20_040_522, 398_136_320),
}
# Simonyan & Zisserman 2014, table 3: the best row of each net tested at one scale.
PUBLISHED = {11: (29.6, 10.4), 13: (28.7, 9.9), 16: (25.6, 8.1), 19: (25.5, 8.0)}
# Weights of torchvision with batch norm, one crop of 224 pixels.
PUBLISHED_WITH_NORM = {
    11: (29.63, 10.19),
    13: (28.41, 9.63),
    16: (26.64, 8.48),
    19: (25.78, 8.16),
}
_TABLE_3 = "Simonyan & Zisserman 2014, table 3, one scale"

VARIANTS = {
    f"vgg{depth}": Variant(
        VGG,
        (224, 224, 3),
        COUNTS[depth][0],
        COUNTS[depth][2],
        "torchvision 0.28",
        {"depths": depths},
        norm={"kind": "none"},
        published=Published(*PUBLISHED[depth], _TABLE_3),
    )
    for depth, depths in DEPTHS.items()
}
VARIANTS["vgg11_lrn"] = Variant(
    VGG,
    (224, 224, 3),
    132_863_336,
    7_609_090_048,
    "Simonyan & Zisserman 2014, configuration A-LRN: as A",
    {"depths": DEPTHS[11]},
    norm={"kind": "local_response"},
    published=Published(29.7, 10.5, _TABLE_3),
)
VARIANTS |= {
    f"vgg{depth}_bn": Variant(
        VGG,
        (224, 224, 3),
        COUNTS[depth][1],
        COUNTS[depth][2],
        "torchvision 0.28",
        {"depths": depths},
        published=Published(*PUBLISHED_WITH_NORM[depth], OF_TORCHVISION),
    )
    for depth, depths in DEPTHS.items()
}
VARIANTS |= {
    f"vgg{depth}_bn_cifar": Variant(
        VGG,
        (32, 32, 3),
        *CIFAR_COUNTS[depth],
        "by hand: convolutions and norms of the ImageNet net, and a head of 5,130",
        {"depths": depths, "head": "gap"},
        num_classes=10,
    )
    for depth, depths in DEPTHS.items()
}
