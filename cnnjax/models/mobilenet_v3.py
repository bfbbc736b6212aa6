"""MobileNetV3: inverted residuals found by search, squeeze and excitation, hard swish.

Source: Howard et al. 2019, arXiv 1905.02244, tables 1 and 2 (large and small), section
5.2 (hard swish), section 5.3 (squeeze and excitation of a quarter of the channels).

Deviations: padding is symmetric, as in torchvision and timm, where the authors' code
pads strided convolutions at the bottom and right alone. The squeezed channels are a
quarter rounded to multiples of 8, and the hidden layer after the pool has no norm and
is followed by dropout, as in the authors' code. `mobilenet_v3_*` has the norm's epsilon
and momentum of torchvision and of the authors, `mobilenetv3_*_100` those of timm.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnjax.errors import unknown_name
from cnnjax.layers.act import hard_swish, make_act
from cnnjax.layers.conv import Conv, Dense
from cnnjax.layers.conv_norm_act import ConvNormAct
from cnnjax.layers.dropout import Dropout
from cnnjax.layers.functional.channels import round_channels
from cnnjax.layers.norm import Norm
from cnnjax.layers.pool import GlobalAvgPool
from cnnjax.models.blocks.inverted_residual import InvertedResidual
from cnnjax.models.variant import Published, Variant

STEM_WIDTH = 16
# Tables 1 and 2, a stage in brackets, a block in a row: (kernel size, expanded
# channels, channels, squeeze and excitation, late activation, stride).
LARGE = (
    ((3, 16, 16, False, False, 1),),
    ((3, 64, 24, False, False, 2), (3, 72, 24, False, False, 1)),
    (
        (5, 72, 40, True, False, 2),
        (5, 120, 40, True, False, 1),
        (5, 120, 40, True, False, 1),
    ),
    (
        (3, 240, 80, False, True, 2),
        (3, 200, 80, False, True, 1),
        (3, 184, 80, False, True, 1),
        (3, 184, 80, False, True, 1),
    ),
    ((3, 480, 112, True, True, 1), (3, 672, 112, True, True, 1)),
    (
        (5, 672, 160, True, True, 2),
        (5, 960, 160, True, True, 1),
        (5, 960, 160, True, True, 1),
    ),
)
SMALL = (
    ((3, 16, 16, True, False, 2),),
    ((3, 72, 24, False, False, 2), (3, 88, 24, False, False, 1)),
    (
        (5, 96, 40, True, True, 2),
        (5, 240, 40, True, True, 1),
        (5, 240, 40, True, True, 1),
    ),
    ((5, 120, 48, True, True, 1), (5, 144, 48, True, True, 1)),
    (
        (5, 288, 96, True, True, 2),
        (5, 576, 96, True, True, 1),
        (5, 576, 96, True, True, 1),
    ),
)
# Size -> stages, channels of the hidden layer after the pool.
SIZES = {"large": (LARGE, 1280), "small": (SMALL, 1024)}
# The 1 x 1 convolution before the pool has this many times the channels of its input.
LAST_EXPANSION = 6


class MobileNetV3(nn.Module):
    """A 3 x 3 stem, inverted residuals, a 1 x 1 convolution, pool, hidden layer, head.

    The paper has two activations: hard swish where maps are small, ReLU in the early
    stages and within squeeze and excitation. `act` is the first, `early_act` the
    second; its default follows `act` as soon as that is not hard swish, so that
    swapping `act` alone leaves no ReLU behind.

    Args:
      num_classes: width of the head.
      norm: normalization.
      act: activation of the stem, the late stages and the hidden layer.
      dtype: compute type.
      size: 'large' or 'small'.
      width: factor of every number of channels, above 0.
      early_act: name of the activation of the early stages and of squeeze and
        excitation; 'auto' is 'relu' where `act` is 'hard_swish', else `act` itself.
      squeeze_excite: False leaves out squeeze and excitation.
      residual: False leaves out the additions.
      dropout_rate: of what the head sees.

    Raises:
      UserError: an unknown size or activation, or a width that is not positive.

    Shapes: images [N, H, W, C] -> logits [N, num_classes].
    """

    num_classes: int
    norm: Norm
    act: Callable
    dtype: Any
    size: str = "large"
    width: float = 1.0
    early_act: str = "auto"
    squeeze_excite: bool = True
    residual: bool = True
    dropout_rate: float = 0.2

    @nn.compact
    def __call__(self, images, *, train: bool):
        if self.size not in SIZES:
            raise unknown_name("size", self.size, SIZES, "config.model.size")
        stages, hidden_width = SIZES[self.size]
        conv = functools.partial(
            Conv, use_bias=not self.norm.has_bias, dtype=self.dtype
        )
        parts: dict[str, Any] = {"conv": conv, "norm": self.norm}
        early_act = early_activation(self.early_act, self.act)

        def scaled(channels: int) -> int:
            return round_channels(self.width * channels)

        x = ConvNormAct(
            scaled(STEM_WIDTH), 3, 2, 1, **parts, act=self.act, name="stem"
        )(images, train=train)
        for stage, blocks in enumerate(stages, start=1):
            for i, (size, expanded, channels, squeeze, late, stride) in enumerate(
                blocks, start=1
            ):
                x = InvertedResidual(
                    scaled(expanded),
                    scaled(channels),
                    kernel_size=size,
                    stride=stride,
                    squeeze_excite=squeeze and self.squeeze_excite,
                    residual=self.residual,
                    linear=True,
                    act=self.act if late else early_act,
                    squeeze_act=early_act,
                    **parts,
                    name=f"stage{stage}_block{i}",
                )(x, train=train)
        last_width = LAST_EXPANSION * x.shape[-1]
        x = ConvNormAct(last_width, 1, **parts, act=self.act, name="last")(
            x, train=train
        )
        x = GlobalAvgPool(name="pool")(x)
        x = Dense(scaled(hidden_width), dtype=self.dtype, name="hidden")(x)
        x = Dropout(self.dropout_rate, name="dropout")(self.act(x), train=train)
        logits = Dense(self.num_classes, dtype=self.dtype, name="head")(x)
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))


def early_activation(name: str, act: Callable) -> Callable:
    """The activation that stands where the paper has ReLU."""
    if name != "auto":
        return make_act(name)
    return jax.nn.relu if act is hard_swish else act


def _variant(size, num_params, multiply_adds, source, error, norm):
    table = "Howard et al. 2019, table 3, one crop"
    return Variant(
        MobileNetV3,
        (224, 224, 3),
        num_params,
        multiply_adds,
        source,
        {"size": size},
        norm={"kind": "batch", **norm},
        act="hard_swish",
        published=Published(error, None, table),
    )


TORCHVISION, TIMM = "torchvision 0.28", "timm 1.0.31"
# torch writes 1 - momentum: 0.01 in torchvision, 0.1 in timm.
TORCHVISION_NORM = {"momentum": 0.99, "epsilon": 1e-3}
LARGE_COUNTS, SMALL_COUNTS = (5_483_032, 216_589_760), (2_542_856, 56_510_400)

VARIANTS = {
    "mobilenet_v3_large": _variant(
        "large", *LARGE_COUNTS, TORCHVISION, 24.8, TORCHVISION_NORM
    ),
    "mobilenet_v3_small": _variant(
        "small", *SMALL_COUNTS, TORCHVISION, 32.6, TORCHVISION_NORM
    ),
    "mobilenetv3_large_100": _variant("large", *LARGE_COUNTS, TIMM, 24.8, {}),
    "mobilenetv3_small_100": _variant("small", *SMALL_COUNTS, TIMM, 32.6, {}),
}
