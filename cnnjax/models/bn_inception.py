"""BN-Inception (Ioffe & Szegedy 2015, arXiv 1502.03167, section 4.2.1, figure 5).

GoogLeNet with batch norm behind every convolution, two 3 x 3 filters in place of one of
5 x 5, three modules on the largest maps, and modules with stride 2 in place of pooling
between stages. `bn_inception_published` is that of figure 5, whose first convolution is
separable, with eight filters a channel (text of the figure). `bn_inception` is the form
of the ports to Caffe and torch, in common use: a plain first convolution, and 128 in
place of 96 channels in the projections of 4c and 4d.

Takes images from 29 pixels a side.

Deviations: windows with stride 2 are padded by a pixel on all sides, of pools as of
convolutions; figure 5 gives sizes alone. The paper does not say how the heads of
GoogLeNet in the middle of the net fare here; the figure has none, and neither has this.
Initial values are He's.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from cnnjax.errors import UserError, unknown_name
from cnnjax.layers.conv import Conv, Dense
from cnnjax.layers.conv_norm_act import ConvNormAct
from cnnjax.layers.dropout import Dropout
from cnnjax.layers.init import he_normal
from cnnjax.layers.norm import Norm
from cnnjax.layers.pool import GlobalAvgPool, MaxPool
from cnnjax.models.blocks.checks import check_numbers
from cnnjax.models.blocks.inception import Branch, Branches, Pool, Unit, same
from cnnjax.models.variant import Published, Variant

# Figure 5: 1x1, 3x3 reduce, 3x3, double 3x3 reduce, double 3x3, pool, projection; of
# the projections of 4c and 4d (None here) there are two forms.
STAGES = (
    (  # 3a, 3b
        (64, 64, 64, 64, 96, "avg", 32),
        (64, 64, 96, 64, 96, "avg", 64),
    ),
    (  # 4a to 4d
        (224, 64, 96, 96, 128, "avg", 128),
        (192, 96, 128, 96, 128, "avg", 128),
        (160, 128, 160, 128, 160, "avg", None),
        (96, 128, 192, 160, 192, "avg", None),
    ),
    (  # 5a, 5b
        (352, 192, 320, 160, 224, "avg", 128),
        (352, 192, 320, 192, 224, "max", 128),
    ),
)
# 3c and 4e, with stride 2: 3x3 reduce, 3x3, double 3x3 reduce, double 3x3.
REDUCTIONS = ((128, 160, 64, 96), (128, 192, 192, 256))
STEMS = ("plain", "separable")
FILTERS_A_CHANNEL = 8  # of the separable stem


def module(row: tuple, projection: int) -> tuple[Branch, ...]:
    """The branches of a row of `STAGES`; `projection` where it has None."""
    one, reduce3, three, reduce_double, double, pool, own = row
    return (
        (same(one),),
        (same(reduce3), same(three, 3)),
        (same(reduce_double), same(double, 3), same(double, 3)),
        (Pool(pool), same(own or projection)),
    )


def reduction(row: tuple[int, int, int, int]) -> tuple[Branch, ...]:
    """The branches of a row of `REDUCTIONS`; the map itself is pooled."""
    reduce3, three, reduce_double, double = row
    return (
        (same(reduce3), Unit(three, 3, 2, 1)),
        (same(reduce_double), same(double, 3), Unit(double, 3, 2, 1)),
        (Pool("max", strides=2),),
    )


class BNInception(nn.Module):
    """A stem, three stages of Inception modules, average pool, head.

    Args:
      num_classes: width of the head.
      norm: normalization after every convolution.
      act: activation function.
      dtype: compute type.
      stem: 'separable', as published: eight 7 x 7 filters for each channel, then 1 x 1;
        'plain': one convolution of 7 x 7.
      projection: channels of the pooled branch of modules 4c and 4d.
      num_blocks: modules with stride 1 of each of the three stages, the first ones.
      dropout_rate: before the head; the paper takes none.

    Raises:
      UserError: an argument out of range, or images too small.

    Shapes: images [N, H, W, C] -> logits [N, num_classes].
    """

    num_classes: int
    norm: Norm
    act: Callable
    dtype: Any
    stem: str = "plain"
    projection: int = 128
    num_blocks: tuple[int, ...] = (2, 4, 2)
    dropout_rate: float = 0.0

    @nn.compact
    def __call__(self, images, *, train: bool):
        self.check()
        conv = functools.partial(
            Conv,
            use_bias=not self.norm.has_bias,
            kernel_init=he_normal,
            dtype=self.dtype,
        )
        parts: dict[str, Any] = {"conv": conv, "norm": self.norm, "act": self.act}
        x = self.enter(images, conv, functools.partial(ConvNormAct, **parts), train)
        for i, (stage, count) in enumerate(
            zip(STAGES, self.num_blocks, strict=True), start=1
        ):
            tables = {
                f"stage{i}_block{j}": module(row, self.projection)
                for j, row in enumerate(stage[:count], start=1)
            }
            if i <= len(REDUCTIONS):
                tables[f"stage{i}_reduction"] = reduction(REDUCTIONS[i - 1])
            for name, branches in tables.items():
                x = Branches(branches, **parts, name=name)(x, train=train)
        x = GlobalAvgPool(name="pool")(x)  # [N, 1024]
        x = Dropout(self.dropout_rate, name="dropout")(x, train=train)
        logits = Dense(self.num_classes, dtype=self.dtype, name="head")(x)
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))

    def enter(self, x, conv, unit, train):
        """The stem: from the images to an eighth of their side."""
        if self.stem == "separable":
            channels = x.shape[-1]
            x = conv(
                FILTERS_A_CHANNEL * channels,
                7,
                2,
                3,
                groups=channels,
                use_bias=False,
                name="stem_depthwise",
            )(x)
            x = unit(64, 1, name="stem_conv1")(x, train=train)
        else:
            x = unit(64, 7, 2, 3, name="stem_conv1")(x, train=train)
        x = MaxPool(3, 2, 1, name="pool1")(x)
        x = unit(64, 1, name="stem_conv2")(x, train=train)
        x = unit(192, 3, padding=1, name="stem_conv3")(x, train=train)
        return MaxPool(3, 2, 1, name="pool2")(x)

    def check(self) -> None:
        """Refuses values that would give another net than was meant."""
        if self.stem not in STEMS:
            raise unknown_name("stem", self.stem, STEMS, "config.model.stem")
        check_numbers("projection", (self.projection,), count=1)
        check_numbers("num_blocks", self.num_blocks, count=len(STAGES))
        if any(n > len(s) for n, s in zip(self.num_blocks, STAGES, strict=True)):
            raise UserError(
                f"config.model.num_blocks is {self.num_blocks}: figure 5 has 2, 4 and "
                "2 modules with stride 1 in the three stages"
            )


BATCH = {"kind": "batch", "epsilon": 1e-3}

VARIANTS = {
    "bn_inception": Variant(
        BNInception,
        (224, 224, 3),
        11_285_224,
        2_032_600_064,
        "by hand from figure 5, with the widths of the ports",
        norm=BATCH,
    ),
    "bn_inception_published": Variant(
        BNInception,
        (224, 224, 3),
        11_188_288,
        1_934_857_216,
        "by hand from figure 5",
        {"stem": "separable", "projection": 96},
        norm=BATCH,
        published=Published(
            25.2, 7.82, "arXiv 1502.03167, figure 4: one net, one crop (from memory)"
        ),
    ),
}
