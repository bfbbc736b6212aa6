"""AlexNet: five convolutions and three dense layers.

Source: `alexnet_published` is Krizhevsky et al. 2012, NeurIPS 25, section 3 and figure
2; `alexnet_ungrouped` the same on one processor; `alexnet` is Krizhevsky 2014, arXiv
1404.5997, footnote 1, as torchvision ships it.

Deviations: weights start as He's and biases at 0, where 2012 has a standard deviation
of 0.01 and some biases of 1. Kernels in conv3 of the published form see all maps, as
in figure 2, and the two processors are two groups in conv2, conv4 and conv5. Images of
another size are pooled to the 6 x 6 grid that the dense layers see. Dropout scales in
training, not in testing. `alexnet` has adaptive pooling and no norm, as torchvision.
"""

import functools
from collections.abc import Callable
from typing import Any

from flax import linen as nn

from cnnjax.errors import unknown_name
from cnnjax.layers.conv import Conv
from cnnjax.layers.init import he_normal
from cnnjax.layers.norm import Norm
from cnnjax.layers.pool import pool_of
from cnnjax.models.blocks.checks import check_numbers
from cnnjax.models.blocks.classifier import dense_classifier
from cnnjax.models.variant import OF_TORCHVISION, Published, Variant

# Where a net of 2012 or 2013 has local response normalization: after these layers.
RESPONSE_AFTER = (1, 2)
POOL_AFTER = (1, 2, 5)
RESPONSE_PLACES = ("before_pool", "after_pool")
# The map that the dense layers were designed for.
GRID = 6


class AlexNet(nn.Module):
    """Five convolutions, three of them pooled, and dense layers with dropout.

    Args:
      num_classes: width of the head.
      norm: normalization between each convolution and its activation; kind
        'local_response' instead after the activations of conv1 and conv2 alone.
      act: activation function.
      dtype: compute type.
      widths: channels of each convolution.
      kernel_sizes: of each convolution.
      strides: of each convolution.
      paddings: of each convolution.
      groups: of each convolution.
      exact: refuse images on which the windows of conv1 leave a rest.
      pool: 'max' or 'avg'.
      pool_window: side of the pooling window, in steps of 2: 3 overlaps, 2 does not.
      pool_ceil_mode: keep a last window that reaches over the end.
      response_norm: local response norm sits 'before_pool' or 'after_pool'.
      dense_widths: of the hidden dense layers.
      dropout_rate: of the hidden dense layers.
      dropout_on: drops their 'inputs' or their 'outputs'.

    Raises:
      UserError: a choice out of range, or images too small or of an inexact size.

    Shapes: images [N, H, W, C] -> logits [N, num_classes].
    """

    num_classes: int
    norm: Norm
    act: Callable
    dtype: Any
    widths: tuple[int, ...] = (64, 192, 384, 256, 256)
    kernel_sizes: tuple[int, ...] = (11, 5, 3, 3, 3)
    strides: tuple[int, ...] = (4, 1, 1, 1, 1)
    paddings: tuple[int, ...] = (2, 2, 1, 1, 1)
    groups: tuple[int, ...] = (1, 1, 1, 1, 1)
    exact: bool = False
    pool: str = "max"
    pool_window: int = 3
    pool_ceil_mode: bool = False
    response_norm: str = "before_pool"
    dense_widths: tuple[int, ...] = (4096, 4096)
    dropout_rate: float = 0.5
    dropout_on: str = "inputs"

    @nn.compact
    def __call__(self, images, *, train: bool):
        self.check()
        conv = functools.partial(
            Conv,
            use_bias=not self.norm.has_bias,
            kernel_init=he_normal,
            dtype=self.dtype,
        )
        in_2012 = self.norm.kind == "local_response"
        x = images
        for i in range(1, 6):
            x = conv(
                self.widths[i - 1],
                self.kernel_sizes[i - 1],
                strides=self.strides[i - 1],
                padding=self.paddings[i - 1],
                groups=self.groups[i - 1],
                exact=self.exact and i == 1,
                name=f"conv{i}",
            )(x)
            if not in_2012:
                x = self.norm(name=f"norm{i}")(x, train=train)
            x = self.act(x)
            response = in_2012 and i in RESPONSE_AFTER
            if response and self.response_norm == "before_pool":
                x = self.norm(name=f"norm{i}")(x, train=train)
            if i in POOL_AFTER:
                x = pool_of(self.pool)(
                    self.pool_window,
                    2,
                    ceil_mode=self.pool_ceil_mode,
                    name=f"pool{i}",
                )(x)
            if response and self.response_norm == "after_pool":
                x = self.norm(name=f"norm{i}")(x, train=train)
        return dense_classifier(
            x,
            self.num_classes,
            grid=GRID,
            widths=self.dense_widths,
            act=self.act,
            dropout_rate=self.dropout_rate,
            dropout_on=self.dropout_on,
            dtype=self.dtype,
            train=train,
        )

    def check(self) -> None:
        """Refuses numbers that are too many, too few or too small; unknown choices."""
        for key in ("widths", "kernel_sizes", "strides", "groups"):
            check_numbers(key, getattr(self, key), count=5)
        check_numbers("paddings", self.paddings, count=5, least=0)
        check_numbers("dense_widths", self.dense_widths)
        check_numbers("pool_window", (self.pool_window,))
        if self.response_norm not in RESPONSE_PLACES:
            raise unknown_name(
                "place of local response norm",
                self.response_norm,
                RESPONSE_PLACES,
                "config.model.response_norm",
            )


_WIDE = {
    "widths": (96, 256, 384, 384, 256),
    "paddings": (0, 2, 1, 1, 1),
    "exact": True,
    "dropout_on": "outputs",
}

VARIANTS = {
    "alexnet": Variant(
        AlexNet,
        (224, 224, 3),
        61_100_840,
        714_188_480,
        "torchvision 0.28",
        norm={"kind": "none"},
        published=Published(43.48, 20.93, OF_TORCHVISION),
    ),
    "alexnet_published": Variant(
        AlexNet,
        (227, 227, 3),
        60_965_224,
        724_406_816,
        "by hand from Krizhevsky et al. 2012, figure 2; Caffe's bvlc_alexnet",
        _WIDE | {"groups": (1, 2, 1, 2, 2)},
        norm={"kind": "local_response"},
        published=Published(
            40.7, 18.2, "Krizhevsky et al. 2012, table 2, 1 CNN, 10 crops"
        ),
    ),
    "alexnet_ungrouped": Variant(
        AlexNet,
        (227, 227, 3),
        62_378_344,
        1_135_256_096,
        "by hand from Krizhevsky et al. 2012, figure 2, without groups",
        _WIDE,
        norm={"kind": "local_response"},
    ),
}
