"""Network in network: 1 x 1 convolutions after each convolution, no dense layer.

Source: Lin et al. 2013, arXiv 1312.4400, section 3 and figure 2; widths and windows of
both nets from the authors' Caffe definitions (`nin_cifar10`, `nin_imagenet`).

Deviations: weights start as He's. As in those definitions the class maps go through
the activation before they are averaged; no norm comes in between. Pools keep a last
window that reaches over the end, as Caffe's.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.layers.conv import Conv
from cnnjax.layers.dropout import Dropout
from cnnjax.layers.init import he_normal
from cnnjax.layers.norm import Norm
from cnnjax.layers.pool import GlobalAvgPool, pool_of
from cnnjax.models.blocks.checks import check_numbers
from cnnjax.models.variant import Published, Variant


class NiN(nn.Module):
    """Stages of a convolution and two 1 x 1 convolutions; the mean of a map per class.

    Args:
      num_classes: maps of the last 1 x 1 convolution.
      norm: normalization between each convolution and its activation, but not of the
        class maps.
      act: activation function.
      dtype: compute type.
      widths: channels of the convolutions of each stage; the last stage ends in the
        class maps.
      kernel_sizes: of the first convolution of each stage.
      strides: of the first convolution of each stage.
      paddings: of the first convolution of each stage.
      pools: 'max' or 'avg' after each stage but the last, 3 x 3 in steps of 2.
      dropout_after: numbers of the stages after whose pool values are dropped.
      dropout_rate: probability of dropping a value there.

    Raises:
      UserError: a choice out of range, or images too small.

    Shapes: images [N, H, W, C] -> logits [N, num_classes].
    """

    num_classes: int
    norm: Norm
    act: Callable
    dtype: Any
    widths: tuple[tuple[int, ...], ...] = ((192, 160, 96), (192, 192, 192), (192, 192))
    kernel_sizes: tuple[int, ...] = (5, 5, 3)
    strides: tuple[int, ...] = (1, 1, 1)
    paddings: tuple[int, ...] = (2, 2, 1)
    pools: tuple[str, ...] = ("max", "avg")
    dropout_after: tuple[int, ...] = (1, 2)
    dropout_rate: float = 0.5

    @nn.compact
    def __call__(self, images, *, train: bool):
        self.check()
        conv = functools.partial(Conv, kernel_init=he_normal, dtype=self.dtype)
        x = images
        for stage, widths in enumerate(self.widths, start=1):
            for i, width in enumerate(widths, start=1):
                x = conv(
                    width,
                    self.kernel_sizes[stage - 1] if i == 1 else 1,
                    strides=self.strides[stage - 1] if i == 1 else 1,
                    padding=self.paddings[stage - 1] if i == 1 else 0,
                    use_bias=not self.norm.has_bias,
                    name=f"stage{stage}_conv{i}",
                )(x)
                x = self.norm(name=f"stage{stage}_norm{i}")(x, train=train)
                x = self.act(x)
            if stage <= len(self.pools):
                pool = pool_of(self.pools[stage - 1])
                x = pool(3, 2, ceil_mode=True, name=f"stage{stage}_pool")(x)
            if stage in self.dropout_after:
                dropout = Dropout(self.dropout_rate, name=f"stage{stage}_dropout")
                x = dropout(x, train=train)
        x = conv(self.num_classes, 1, use_bias=True, name="head")(x)
        logits = GlobalAvgPool(name="global_pool")(self.act(x))
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))

    def check(self) -> None:
        """Refuses lists of another length than the stages, and empty stages."""
        stages = len(self.widths)
        check_numbers("widths", [len(widths) for widths in self.widths])
        for widths in self.widths:
            check_numbers("widths", widths)
        check_numbers("kernel_sizes", self.kernel_sizes, count=stages)
        check_numbers("strides", self.strides, count=stages)
        check_numbers("paddings", self.paddings, count=stages, least=0)
        if len(self.pools) != stages - 1:
            raise UserError(
                f"config.model.pools {self.pools} must be {stages - 1} kinds, one "
                f"between each two of the {stages} stages of config.model.widths"
            )


VARIANTS = {
    "nin_cifar": Variant(
        NiN,
        (32, 32, 3),
        966_986,
        222_486_528,
        "by hand from the authors' Caffe definition for CIFAR-10",
        num_classes=10,
        norm={"kind": "none"},
        published=Published(
            8.81, None, "Lin et al. 2013, table 1, with augmentation", "CIFAR-10"
        ),
    ),
    "nin": Variant(
        NiN,
        (224, 224, 3),
        7_595_176,
        1_100_188_800,
        "by hand from the authors' Caffe definition for ImageNet",
        {
            "widths": (
                (96, 96, 96),
                (256, 256, 256),
                (384, 384, 384),
                (1024, 1024),
            ),
            "kernel_sizes": (11, 5, 3, 3),
            "strides": (4, 1, 1, 1),
            "paddings": (0, 2, 1, 1),
            "pools": ("max", "max", "max"),
            "dropout_after": (3,),
        },
        norm={"kind": "none"},
    ),
}
