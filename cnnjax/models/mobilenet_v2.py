"""MobileNetV2: inverted residuals with linear bottlenecks.

Source: Sandler et al. 2018, arXiv 1801.04381, table 2 (the net), section 4 (width
multiplier), table 4 (results), section 6.4 (without residuals, with activations).

Deviations: padding is symmetric, as in torchvision and timm, where the authors' code
pads strided convolutions at the bottom and right alone. The dropout before the head is
of the authors' code; the paper does not name it.
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
from cnnjax.models.blocks.inverted_residual import InvertedResidual
from cnnjax.models.variant import Published, Variant

STEM_WIDTH, LAST_WIDTH = 32, 1280
# Table 2: (expansion t, channels c, blocks n, stride s of the first) of each stage.
STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)


class MobileNetV2(nn.Module):
    """A 3 x 3 stem, inverted residuals, a 1 x 1 convolution, average pool, head.

    Args:
      num_classes: width of the head.
      norm: normalization.
      act: activation function.
      dtype: compute type.
      width: factor of every number of channels, above 0; the last 1 x 1 convolution
        grows with it but never shrinks (section 4).
      dropout_rate: of what the head sees.
      residual: False leaves out the additions (section 6.4).
      linear: False puts the activation after the narrow ends too (section 6.4).

    Raises:
      UserError: a width that is not positive.

    Shapes: images [N, H, W, C] -> logits [N, num_classes].
    """

    num_classes: int
    norm: Norm
    act: Callable
    dtype: Any
    width: float = 1.0
    dropout_rate: float = 0.2
    residual: bool = True
    linear: bool = True

    @nn.compact
    def __call__(self, images, *, train: bool):
        conv = functools.partial(
            Conv, use_bias=not self.norm.has_bias, dtype=self.dtype
        )
        parts: dict[str, Any] = {"conv": conv, "norm": self.norm, "act": self.act}
        stem_width = round_channels(self.width * STEM_WIDTH)
        x = ConvNormAct(stem_width, 3, 2, 1, **parts, name="stem")(images, train=train)
        for stage, (expansion, channels, count, stride) in enumerate(STAGES, start=1):
            for i in range(1, count + 1):
                x = InvertedResidual(
                    expansion * x.shape[-1],
                    round_channels(self.width * channels),
                    kernel_size=3,
                    stride=stride if i == 1 else 1,
                    squeeze_excite=False,
                    residual=self.residual,
                    linear=self.linear,
                    squeeze_act=self.act,
                    **parts,
                    name=f"stage{stage}_block{i}",
                )(x, train=train)
        last_width = round_channels(max(1.0, self.width) * LAST_WIDTH)
        x = ConvNormAct(last_width, 1, **parts, name="last")(x, train=train)
        x = GlobalAvgPool(name="pool")(x)
        x = Dropout(self.dropout_rate, name="dropout")(x, train=train)
        logits = Dense(self.num_classes, dtype=self.dtype, name="head")(x)
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))


def _variant(num_params, multiply_adds, source, aliases, error=None, width=1.0):
    table = "Sandler et al. 2018, table 4, one crop"
    return Variant(
        MobileNetV2,
        (224, 224, 3),
        num_params,
        multiply_adds,
        source,
        {"width": width},
        act="relu6",
        aliases=aliases,
        published=None if error is None else Published(error, None, table),
    )


TIMM = "timm 1.0.31"

VARIANTS = {
    "mobilenet_v2": _variant(
        3_504_872, 300_774_272, "torchvision 0.28", ("mobilenetv2_100",), 28.0
    ),
    "mobilenet_v2_140": _variant(
        6_108_776, 582_195_824, TIMM, ("mobilenetv2_140",), 25.3, width=1.4
    ),
    "mobilenet_v2_075": _variant(
        2_636_424, 209_069_792, TIMM, ("mobilenetv2_075",), width=0.75
    ),
    "mobilenet_v2_050": _variant(
        1_968_680, 97_131_840, TIMM, ("mobilenetv2_050",), width=0.5
    ),
    "mobilenet_v2_035": _variant(
        1_677_128, 59_285_808, TIMM, ("mobilenetv2_035",), width=0.35
    ),
}
