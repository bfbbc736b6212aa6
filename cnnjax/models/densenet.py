"""DenseNet: every layer sees the maps of all layers before it in its block.

Source: Huang et al. 2016, arXiv 1608.06993: section 3 (composite function, bottleneck
layers, compression, implementation details), table 1 (ImageNet), table 2 (CIFAR).

Deviations: DenseNet-161, and DenseNet-264d with a stem of three 3 x 3 convolutions, are
not in the paper: they are those of torchvision and timm. Dropout follows every
convolution but the first, as the paper has it; torchvision drops only what a dense
layer adds.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from cnnjax.errors import UserError, unknown_name
from cnnjax.layers.conv import Conv, Dense
from cnnjax.layers.dropout import Dropout
from cnnjax.layers.norm import Norm
from cnnjax.layers.pool import AvgPool, GlobalAvgPool, MaxPool
from cnnjax.models.variant import OF_TORCHVISION, Published, Variant

# (kernel size, stride) of the convolutions of a stem.
STEMS = {
    "imagenet": ((7, 2),),
    "deep": ((3, 2), (3, 1), (3, 1)),
    "cifar": ((3, 1),),
}
# Section 3, "Bottleneck layers": the 1 x 1 convolution gives 4k maps.
BOTTLENECK_FACTOR = 4


class DenseLayer(nn.Module):
    """Norm, activation and convolution; the result is concatenated to the input.

    Args:
      growth_rate: channels that the layer adds.
      bottleneck: a 1 x 1 convolution to four times the growth rate comes first.
      dropout_rate: of what each convolution gives.
      conv: factory of convolutions.
      norm: normalization.
      act: activation function.

    Shapes: [N, H, W, C] -> [N, H, W, C + growth_rate].
    """

    growth_rate: int
    bottleneck: bool
    dropout_rate: float
    conv: Callable
    norm: Norm
    act: Callable

    @nn.compact
    def __call__(self, x, *, train: bool):
        layers = [(self.growth_rate, 3)]
        if self.bottleneck:
            layers.insert(0, (BOTTLENECK_FACTOR * self.growth_rate, 1))
        new = x
        for i, (features, size) in enumerate(layers, start=1):
            new = self.act(self.norm(name=f"norm{i}")(new, train=train))
            new = self.conv(features, size, padding=size // 2, name=f"conv{i}")(new)
            new = Dropout(self.dropout_rate, name=f"dropout{i}")(new, train=train)
        return jnp.concatenate([x, new], axis=-1)


class Transition(nn.Module):
    """Between two dense blocks: fewer channels, half the size.

    Args:
      features: channels that are left.
      dropout_rate: of what the convolution gives.
      conv: factory of convolutions.
      norm: normalization.
      act: activation function.

    Shapes: [N, H, W, C] -> [N, H // 2, W // 2, features].
    """

    features: int
    dropout_rate: float
    conv: Callable
    norm: Norm
    act: Callable

    @nn.compact
    def __call__(self, x, *, train: bool):
        x = self.act(self.norm(name="norm")(x, train=train))
        x = self.conv(self.features, 1, name="conv")(x)
        x = Dropout(self.dropout_rate, name="dropout")(x, train=train)
        return AvgPool(2, 2, name="pool")(x)


class DenseNet(nn.Module):
    """A stem, dense blocks with transitions between them, average pool, head.

    The last layer of dense block s, `stage{s}_layer{n}`, gives the map of the block.

    Args:
      num_classes: width of the head.
      norm: normalization.
      act: activation function.
      dtype: compute type.
      layers: layers of each dense block; () for three equal blocks that make `depth`.
      depth: number of weighted layers of a net of three equal blocks of n layers:
        3n + 4, or 6n + 4 with bottlenecks; 0 where `layers` is given.
      growth_rate: channels that each layer adds, k.
      bottleneck: dense layers start with a 1 x 1 convolution to 4k channels ("B").
      compression: share of the channels that a transition leaves, in (0, 1]; below 1
        this is "C".
      stem: 'imagenet' (7 x 7 with stride 2, and a max-pool), 'deep' (three 3 x 3 in
        place of the 7 x 7, the first two of k channels) or 'cifar' (one 3 x 3).
      stem_width: channels of the stem; 0 for 2k.
      dropout_rate: after every convolution but those of the stem; the paper has 0.2
        where it trains without augmentation.

    Raises:
      UserError: an argument out of range, or images too small.

    Shapes: images [N, H, W, C] -> logits [N, num_classes].
    """

    num_classes: int
    norm: Norm
    act: Callable
    dtype: Any
    layers: tuple[int, ...] = ()
    depth: int = 0
    growth_rate: int = 32
    bottleneck: bool = True
    compression: float = 0.5
    stem: str = "imagenet"
    stem_width: int = 0
    dropout_rate: float = 0.0

    @nn.compact
    def __call__(self, images, *, train: bool):
        check_choices(self.stem, self.stem_width, self.growth_rate, self.compression)
        layers = layers_per_block(self.layers, self.depth, self.bottleneck)
        conv = functools.partial(
            Conv, use_bias=not self.norm.has_bias, dtype=self.dtype
        )
        parts: dict[str, Any] = {"conv": conv, "norm": self.norm, "act": self.act}
        x = self.apply_stem(conv, images, train)
        for stage, count in enumerate(layers, start=1):
            if stage > 1:
                x = Transition(
                    max(1, int(self.compression * x.shape[-1])),
                    self.dropout_rate,
                    **parts,
                    name=f"transition{stage - 1}",
                )(x, train=train)
            for i in range(1, count + 1):
                x = DenseLayer(
                    self.growth_rate,
                    self.bottleneck,
                    self.dropout_rate,
                    **parts,
                    name=f"stage{stage}_layer{i}",
                )(x, train=train)
        x = self.act(self.norm(name="final_norm")(x, train=train))
        x = GlobalAvgPool(name="pool")(x)
        logits = Dense(self.num_classes, dtype=self.dtype, name="head")(x)
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))

    def apply_stem(self, conv, x, train):
        width = self.stem_width or 2 * self.growth_rate
        if self.stem == "cifar":
            # The first dense layer brings the norm and the activation.
            return conv(width, 3, padding=1, name="stem_conv")(x)
        last = len(STEMS[self.stem])
        for i, (size, stride) in enumerate(STEMS[self.stem], start=1):
            number = i if last > 1 else ""
            features = width if i == last else self.growth_rate
            x = conv(
                features,
                size,
                strides=stride,
                padding=size // 2,
                name=f"stem_conv{number}",
            )(x)
            x = self.act(self.norm(name=f"stem_norm{number}")(x, train=train))
        return MaxPool(3, 2, padding=1, name="stem_pool")(x)


def layers_per_block(
    layers: tuple[int, ...], depth: int, bottleneck: bool
) -> tuple[int, ...]:
    """The number of layers in each dense block, from whichever of the two is given.

    Raises:
      UserError: both are given or none, or no n gives this depth.
    """
    if bool(layers) == bool(depth):
        raise UserError(
            "a DenseNet takes exactly one of config.model.layers (got "
            f"{layers}) and config.model.depth (got {depth}); set the other to () or 0"
        )
    if layers:
        if min(layers) < 1:
            raise UserError(
                f"dense blocks of {layers} layers: each needs at least 1 (set "
                "config.model.layers)"
            )
        return tuple(layers)
    unit = 6 if bottleneck else 3
    n, rest = divmod(depth - 4, unit)
    if rest or n < 1:
        low = unit * max(n, 1) + 4
        raise UserError(
            f"depth {depth} is not {unit}n + 4, which three dense blocks "
            f"{'with' if bottleneck else 'without'} bottlenecks need: the nearest are "
            f"{low} and {low + unit} (set config.model.depth)"
        )
    return (n, n, n)


def check_choices(
    stem: str, stem_width: int, growth_rate: int, compression: float
) -> None:
    """Refuses values that no layer would notice."""
    if stem not in STEMS:
        raise unknown_name("stem", stem, STEMS, "config.model.stem")
    if growth_rate < 1 or stem_width < 0:
        raise UserError(
            f"growth rate {growth_rate} and stem width {stem_width}: a layer has at "
            "least 1 channel (set config.model.growth_rate, config.model.stem_width)"
        )
    if not 0.0 < compression <= 1.0:
        raise UserError(
            f"compression {compression} must lie in (0, 1] (set "
            "config.model.compression)"
        )


def _imagenet(layers, num_params, multiply_adds, source, result=None, **arguments):
    return Variant(
        DenseNet,
        (224, 224, 3),
        num_params,
        multiply_adds,
        source,
        {"layers": layers, **arguments},
        published=Published(*result) if result else None,
    )


def _cifar(depth, growth_rate, bottleneck, num_params, multiply_adds, error):
    table = "Huang et al. 2016, table 2, with augmentation (C10+)"
    return Variant(
        DenseNet,
        (32, 32, 3),
        num_params,
        multiply_adds,
        "by hand from Huang et al. 2016, section 3",
        {
            "depth": depth,
            "growth_rate": growth_rate,
            "bottleneck": bottleneck,
            "compression": 0.5 if bottleneck else 1.0,
            "stem": "cifar",
            "stem_width": 0 if bottleneck else 16,
        },
        num_classes=10,
        published=Published(error, None, table, data="CIFAR-10"),
    )


TORCHVISION = "torchvision 0.28"
PAPER = "Huang et al. 2016, table 3, one crop"

VARIANTS = {
    "densenet121": _imagenet(
        (6, 12, 24, 16), 7_978_856, 2_834_161_664, TORCHVISION, (25.02, 7.71, PAPER)
    ),
    "densenet161": _imagenet(
        (6, 12, 36, 24),
        28_681_000,
        7_727_907_072,
        TORCHVISION,
        (22.86, 6.44, OF_TORCHVISION),
        growth_rate=48,
    ),
    "densenet169": _imagenet(
        (6, 12, 32, 32), 14_149_480, 3_359_843_328, TORCHVISION, (23.80, 6.85, PAPER)
    ),
    "densenet201": _imagenet(
        (6, 12, 48, 32), 20_013_928, 4_291_365_888, TORCHVISION, (22.58, 6.34, PAPER)
    ),
    "densenet264": _imagenet(
        (6, 12, 64, 48),
        33_337_704,
        5_751_653_376,
        "by hand from Huang et al. 2016, table 1",
        (22.15, 6.12, PAPER),
    ),
    "densenet264d": _imagenet(
        (6, 12, 64, 48),
        72_736_216,
        13_470_266_880,
        "timm 1.0.31",
        growth_rate=48,
        stem="deep",
    ),
    "densenet40_12_cifar": _cifar(40, 12, False, 1_019_722, 264_812_928, 5.24),
    "densenet100_12_cifar": _cifar(100, 12, False, 6_979_642, 1_769_516_448, 4.10),
    "densenet100_24_cifar": _cifar(100, 24, False, 27_249_082, 6_889_347_744, 3.74),
    "densenetbc100_12_cifar": _cifar(100, 12, True, 769_162, 287_929_692, 4.51),
    "densenetbc250_24_cifar": _cifar(250, 24, True, 15_324_406, 5_418_785_724, 3.62),
    "densenetbc190_40_cifar": _cifar(190, 40, True, 25_624_430, 9_301_945_740, 3.46),
}
