"""MobileNet: convolutions split into a depthwise and a pointwise one.

Source: Howard et al. 2017, arXiv 1704.04861: table 1 (the net), section 3.3 (width
multiplier), tables 4 and 6 (the twin with full convolutions, the widths).

Deviations: the activation is ReLU6, as in the authors' code and in timm; the paper
writes ReLU. Table 1 gives the last depthwise convolution stride 2 on a 7 x 7 map and
keeps the map: it is 1 here. Padding is 1 on all sides, where the authors' code pads
strided convolutions at the bottom and right alone. Widths are rounded to multiples of
8, which changes none of the published ones.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from cnnjax.layers.conv import Conv, Dense
from cnnjax.layers.conv_norm_act import ConvNormAct
from cnnjax.layers.dropout import Dropout
from cnnjax.layers.functional.channels import round_channels
from cnnjax.layers.norm import Norm
from cnnjax.layers.pool import GlobalAvgPool
from cnnjax.models.variant import Published, Variant

# Table 1: (channels, number of blocks, stride of the first block) of each stage.
STEM_WIDTH = 32
STAGES = ((64, 1, 1), (128, 2, 2), (256, 2, 2), (512, 6, 2), (1024, 2, 2))


class SeparableBlock(nn.Module):
    """A 3 x 3 convolution within each channel, then a 1 x 1 across them.

    Args:
      features: channels of the result.
      stride: of the 3 x 3.
      separable: False gives the twin, one full 3 x 3 convolution.
      conv: factory of convolutions.
      norm: normalization.
      act: activation function.

    Shapes: [N, H, W, C] -> [N, ceil(H / stride), ceil(W / stride), features].
    """

    features: int
    stride: int
    separable: bool
    conv: Callable
    norm: Norm
    act: Callable

    @nn.compact
    def __call__(self, x, *, train: bool):
        unit = functools.partial(
            ConvNormAct, conv=self.conv, norm=self.norm, act=self.act
        )
        if not self.separable:
            return unit(self.features, 3, self.stride, 1, name="full")(x, train=train)
        channels = x.shape[-1]
        x = unit(channels, 3, self.stride, 1, groups=channels, name="depthwise")(
            x, train=train
        )
        return unit(self.features, 1, name="pointwise")(x, train=train)


class MobileNetV1(nn.Module):
    """A 3 x 3 stem, thirteen separable blocks, average pool, head.

    Args:
      num_classes: width of the head.
      norm: normalization.
      act: activation function.
      dtype: compute type.
      width: factor of every number of channels, above 0.
      separable: False gives the twin with full convolutions.
      dropout_rate: of what the head sees; the authors' code has 0.001.

    Raises:
      UserError: a width that is not positive.

    Shapes: images [N, H, W, C] -> logits [N, num_classes].
    """

    num_classes: int
    norm: Norm
    act: Callable
    dtype: Any
    width: float = 1.0
    separable: bool = True
    dropout_rate: float = 0.0

    @nn.compact
    def __call__(self, images, *, train: bool):
        conv = functools.partial(
            Conv, use_bias=not self.norm.has_bias, dtype=self.dtype
        )
        parts: dict[str, Any] = {"conv": conv, "norm": self.norm, "act": self.act}
        stem_width = round_channels(self.width * STEM_WIDTH)
        x = ConvNormAct(stem_width, 3, 2, 1, **parts, name="stem")(images, train=train)
        for stage, (channels, count, stride) in enumerate(STAGES, start=1):
            for i in range(1, count + 1):
                x = SeparableBlock(
                    round_channels(self.width * channels),
                    stride if i == 1 else 1,
                    self.separable,
                    **parts,
                    name=f"stage{stage}_block{i}",
                )(x, train=train)
        x = GlobalAvgPool(name="pool")(x)
        x = Dropout(self.dropout_rate, name="dropout")(x, train=train)
        logits = Dense(self.num_classes, dtype=self.dtype, name="head")(x)
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))


def _variant(num_params, multiply_adds, source, error=None, aliases=(), **arguments):
    table = "Howard et al. 2017, {}, one crop"
    table = table.format("table 6" if arguments.get("separable", True) else "table 4")
    return Variant(
        MobileNetV1,
        (224, 224, 3),
        num_params,
        multiply_adds,
        source,
        arguments,
        act="relu6",
        aliases=aliases,
        published=None if error is None else Published(error, None, table),
    )


BY_HAND = "by hand from Howard et al. 2017, table 1"

VARIANTS = {
    "mobilenet_v1": _variant(
        4_231_976, 568_740_352, "timm 1.0.31", 29.4, ("mobilenetv1_100",)
    ),
    "mobilenet_v1_125": _variant(
        6_270_840, 879_516_800, "timm 1.0.31", None, ("mobilenetv1_125",), width=1.25
    ),
    "mobilenet_v1_075": _variant(2_585_560, 325_400_448, BY_HAND, 31.6, width=0.75),
    "mobilenet_v1_050": _variant(1_331_592, 149_497_088, BY_HAND, 36.3, width=0.5),
    "mobilenet_v1_025": _variant(470_072, 41_030_272, BY_HAND, 49.4, width=0.25),
    # Table 4 prints 4866 M: that is without the 1.024 M of the head.
    "mobilenet_v1_full": _variant(
        29_294_088, 4_867_293_184, BY_HAND, 28.3, separable=False
    ),
}
