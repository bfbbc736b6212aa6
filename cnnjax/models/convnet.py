"""A plain stack of convolutions whose parts can be exchanged one at a time.

Not a net of a paper: stages of equal convolutions that halve the map, in the pattern of
VGG (Simonyan & Zisserman 2014, arXiv 1409.1556), with the size and number of the
filters, the way of halving, the head and separable convolutions as arguments. It is the
base of the ablations of these parts.
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
from cnnjax.layers.flatten import Flatten
from cnnjax.layers.init import he_normal
from cnnjax.layers.norm import Norm
from cnnjax.layers.pool import POOLS, GlobalAvgPool
from cnnjax.models.blocks.checks import check_numbers
from cnnjax.models.variant import Variant

HALVINGS = (*POOLS, "stride", "none")
HEADS = ("gap", "dense")


class ConvNet(nn.Module):
    """Stages of convolutions with norm and activation, and a head.

    Args:
      num_classes: width of the head.
      norm: normalization between each convolution and its activation.
      act: activation function.
      dtype: compute type.
      widths: channels of each stage.
      num_convs: convolutions of each stage.
      kernel_size: side of their filters, odd: the map keeps its size.
      pool: how a stage ends: 'max' or 'avg' over 2 x 2; 'stride' is a step of 2 in its
        last convolution; 'none' keeps the size.
      head: 'gap' is the mean of the last map, 'dense' sees all of its values.
      dense_width: units of a hidden layer of the dense head, without norm; 0 for none.
      dropout_rate: of what the last layer sees.
      separable: every convolution but the first of the net is one within each channel
        and a 1 x 1 across them, each with norm and activation (Howard et al. 2017,
        arXiv 1704.04861).

    Raises:
      UserError: an argument out of range, or images too small.

    Shapes: images [N, H, W, C] -> logits [N, num_classes].
    """

    num_classes: int
    norm: Norm
    act: Callable
    dtype: Any
    widths: tuple[int, ...] = (32, 64, 128)
    num_convs: int = 2
    kernel_size: int = 3
    pool: str = "max"
    head: str = "gap"
    dense_width: int = 0
    dropout_rate: float = 0.0
    separable: bool = False

    @nn.compact
    def __call__(self, images, *, train: bool):
        self.check()
        x = images
        for stage, width in enumerate(self.widths, start=1):
            for i in range(1, self.num_convs + 1):
                halves = self.pool == "stride" and i == self.num_convs
                x = self.convolve(x, width, 2 if halves else 1, (stage, i), train)
            if self.pool in POOLS:
                x = POOLS[self.pool](2, 2, name=f"stage{stage}_pool")(x)
        if self.head == "gap":
            x = GlobalAvgPool(name="global_pool")(x)
        else:
            x = Flatten(name="flatten")(x)
            if self.dense_width:
                hidden = Dense(
                    self.dense_width,
                    kernel_init=he_normal,
                    dtype=self.dtype,
                    name="dense",
                )
                x = self.act(hidden(x))
        x = Dropout(self.dropout_rate, name="dropout")(x, train=train)
        logits = Dense(self.num_classes, dtype=self.dtype, name="head")(x)
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))

    def convolve(self, x, width: int, stride: int, place: tuple[int, int], train: bool):
        """Convolution i of a stage, full or separable."""
        conv = functools.partial(
            Conv,
            use_bias=not self.norm.has_bias,
            kernel_init=he_normal,
            dtype=self.dtype,
        )
        unit = functools.partial(ConvNormAct, conv=conv, norm=self.norm, act=self.act)
        name, size = "stage{}_conv{}".format(*place), self.kernel_size
        if not self.separable or place == (1, 1):
            full = unit(width, size, stride, size // 2, name=name)
            return full(x, train=train)
        channels = x.shape[-1]
        depthwise = unit(
            channels,
            size,
            stride,
            size // 2,
            groups=channels,
            name=f"{name}_depthwise",
        )
        pointwise = unit(width, 1, name=f"{name}_pointwise")
        return pointwise(depthwise(x, train=train), train=train)

    def check(self) -> None:
        """Refuses numbers out of range and unknown choices."""
        check_numbers("widths", self.widths)
        check_numbers("num_convs", (self.num_convs,))
        check_numbers("dense_width", (self.dense_width,), least=0)
        if self.kernel_size < 1 or self.kernel_size % 2 == 0:
            raise UserError(
                f"filters of side {self.kernel_size} do not keep the size of the map: "
                "config.model.kernel_size must be odd"
            )
        if self.pool not in HALVINGS:
            raise unknown_name("pooling", self.pool, HALVINGS, "config.model.pool")
        if self.head not in HEADS:
            raise unknown_name("head", self.head, HEADS, "config.model.head")


BY_HAND = "by hand: two 3 x 3 convolutions a stage, norms, and a head of 10 classes"

VARIANTS = {
    "convnet_cifar": Variant(
        ConvNet, (32, 32, 3), 288_746, 38_634_752, BY_HAND, num_classes=10
    ),
    "convnet_mnist": Variant(
        ConvNet,
        (28, 28, 1),
        16_794,
        4_629_056,
        BY_HAND,
        {"widths": (16, 32)},
        num_classes=10,
    ),
    "convnet_digits": Variant(
        ConvNet,
        (8, 8, 1),
        16_794,
        378_176,
        BY_HAND,
        {"widths": (16, 32)},
        num_classes=10,
    ),
}
