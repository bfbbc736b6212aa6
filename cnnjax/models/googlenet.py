"""GoogLeNet (Szegedy et al. 2014, arXiv 1409.4842, sections 4 and 5, table 1).

`googlenet` is the form that torchvision ships: 3 x 3 filters where the paper has 5 x 5,
batch norm after every convolution, a 2 x 2 window in the last max pool, and auxiliary
heads that bring any map to 4 x 4. `googlenet_published` is the paper's; `googlenet_bn`
the same with batch norm after every convolution in place of local response
normalization at two places; `googlenet_naive` has modules without 1 x 1 reductions
(figure 2a) on top of `googlenet_bn`. `googlenet_cifar` is not of the paper: the common
form for small images, whose stem is one 3 x 3 convolution that keeps the size.

With the large stem, takes images from 15 pixels a side; from 31 with the published
window of the last max pool, and from 79 with auxiliary heads of the published form.

Deviations: the constants of local response normalization, which the paper does not
give, are those of Krizhevsky et al. 2012. Max pools keep a last window that reaches
over the end, which gives the sizes of table 1. Initial values are He's.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from cnnjax.errors import UserError, unknown_name
from cnnjax.layers.auxiliary import auxiliary_head
from cnnjax.layers.conv import Conv, Dense
from cnnjax.layers.conv_norm_act import ConvNormAct
from cnnjax.layers.dropout import Dropout
from cnnjax.layers.flatten import Flatten
from cnnjax.layers.init import he_normal
from cnnjax.layers.norm import Norm
from cnnjax.layers.pool import AdaptiveAvgPool, AvgPool, GlobalAvgPool, MaxPool
from cnnjax.models.blocks.checks import check_numbers
from cnnjax.models.blocks.inception import Branch, Branches, Pool, same
from cnnjax.models.variant import OF_TORCHVISION, Published, Variant

# Table 1: 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5, pool projection of each module.
STAGES = (
    (  # 3a, 3b
        (64, 96, 128, 16, 32, 32),
        (128, 128, 192, 32, 96, 64),
    ),
    (  # 4a to 4e
        (192, 96, 208, 16, 48, 64),
        (160, 112, 224, 24, 64, 64),
        (128, 128, 256, 24, 64, 64),
        (112, 144, 288, 32, 64, 64),
        (256, 160, 320, 32, 128, 128),
    ),
    (  # 5a, 5b
        (256, 160, 320, 32, 128, 128),
        (384, 192, 384, 48, 128, 128),
    ),
)
# After which module a head branches off. torchvision gives the deeper one first.
AUXILIARY_HEADS = {
    "stage2_block1": "auxiliary_shallow",
    "stage2_block4": "auxiliary_deep",
}
AUXILIARY_POOLS = ("adaptive", "strided")
AUXILIARY_NORMS = ("conv", "all", "none")
STEMS = ("large", "small")


def inception(
    widths: tuple[int, ...], *, reduced: bool = True, branch3_kernel: int = 5
) -> tuple[Branch, ...]:
    """The branches of one module.

    Args:
      widths: channels of the 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5 and pool projection
        convolutions, a row of table 1.
      reduced: False leaves out the reductions and the projection (figure 2a).
      branch3_kernel: size of the filters called 5x5.
    """
    one, reduce3, three, reduce5, five, projection = widths
    pool, large = Pool("max"), same(five, branch3_kernel)
    if not reduced:
        return ((same(one),), (same(three, 3),), (large,), (pool,))
    return (
        (same(one),),
        (same(reduce3), same(three, 3)),
        (same(reduce5), large),
        (pool, same(projection)),
    )


class AuxiliaryHead(nn.Module):
    """A classifier in the middle of the net (section 5, end).

    Args:
      num_classes: width of the head.
      pool: a key of `AUXILIARY_POOLS`.
      dropout_rate: of the hidden units.
      widths: channels of the convolution, hidden units.
      normed: what the norm comes after, one of `AUXILIARY_NORMS`.
      conv: factory of convolutions.
      norm: normalization.
      act: activation function.
      dtype: compute type.

    Shapes: [N, H, W, C] -> logits [N, num_classes].
    """

    num_classes: int
    pool: str
    dropout_rate: float
    widths: tuple[int, int]
    normed: str
    conv: Callable[..., nn.Module]
    norm: Norm
    act: Callable
    dtype: Any

    @nn.compact
    def __call__(self, x, *, train: bool):
        narrow, hidden = self.widths
        norm, conv = self.norm, self.conv
        if self.normed == "none":
            norm = dataclasses.replace(norm, kind="none")
            conv = functools.partial(conv, use_bias=True)
        if self.pool == "adaptive":
            x = AdaptiveAvgPool((4, 4), name="pool")(x)
        else:
            x = AvgPool(5, 3, name="pool")(x)
        x = ConvNormAct(narrow, 1, conv=conv, norm=norm, act=self.act, name="conv")(
            x, train=train
        )
        x = Flatten(name="flatten")(x)  # [N, 2048] from 4 x 4
        x = Dense(hidden, kernel_init=he_normal, dtype=self.dtype, name="dense")(x)
        if self.normed == "all":
            x = norm(name="dense_norm")(x[:, None, None], train=train)[:, 0, 0]
        x = Dropout(self.dropout_rate, name="dropout")(self.act(x), train=train)
        logits = Dense(self.num_classes, dtype=self.dtype, name="head")(x)
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))


class GoogLeNet(nn.Module):
    """A stem, nine Inception modules in three stages, average pool, head.

    Args:
      num_classes: width of the head.
      norm: normalization after every convolution; of kind 'local_response' as
        published, after the first pool and before the second alone.
      act: activation function.
      dtype: compute type.
      reduced: False gives the naive modules, without 1 x 1 reductions.
      branch3_kernel: size of the filters of the third branch: 5 as published, 3 in
        torchvision.
      pool4_window: of the last max pool: 3 as published, 2 in torchvision.
      auxiliary_heads: two more classifiers in training; weigh them by
        config.loss.auxiliary_weight.
      auxiliary_pool: 'strided' is the published 5 x 5 window with stride 3;
        'adaptive' brings any map to 4 x 4.
      dropout_rate: before the head; 0.4 in the paper.
      auxiliary_dropout_rate: in the auxiliary heads.
      auxiliary_norm: what the norm comes after in the auxiliary heads: the convolution,
        'conv'; also the dense layer, 'all' (BN-auxiliary in table 3 of Szegedy et al.
        2015, arXiv 1512.00567); or nothing, 'none'.
      stem: 'large' brings the image to an eighth of its side; 'small' is one 3 x 3
        convolution that keeps it; local response normalization then follows it.
      num_blocks: modules of each of the three stages, the first ones of table 1; a head
        after a module that is left out is left out, too.
      width: factor of the channels of every module, and of the auxiliary heads.

    Raises:
      UserError: an argument out of range, or images too small for the heads.

    Shapes: images [N, H, W, C] -> logits [N, num_classes].
    """

    num_classes: int
    norm: Norm
    act: Callable
    dtype: Any
    reduced: bool = True
    branch3_kernel: int = 3
    pool4_window: int = 2
    auxiliary_heads: bool = True
    auxiliary_pool: str = "adaptive"
    dropout_rate: float = 0.2
    auxiliary_dropout_rate: float = 0.7
    auxiliary_norm: str = "conv"
    stem: str = "large"
    num_blocks: tuple[int, ...] = (2, 5, 2)
    width: float = 1.0

    @nn.compact
    def __call__(self, images, *, train: bool):
        self.check()
        norm = self.norm.after_each_convolution()
        conv = functools.partial(
            Conv, use_bias=not norm.has_bias, kernel_init=he_normal, dtype=self.dtype
        )
        parts: dict[str, Any] = {"conv": conv, "norm": norm, "act": self.act}
        x = self.enter(images, functools.partial(ConvNormAct, **parts), train)
        for i, stage in enumerate(STAGES, start=1):
            for j, widths in enumerate(stage[: self.num_blocks[i - 1]], start=1):
                name = f"stage{i}_block{j}"
                x = Branches(self.branches(widths), **parts, name=name)(x, train=train)
                if self.auxiliary_heads and name in AUXILIARY_HEADS:
                    narrow, wide = self.scaled((128, 1024))
                    head = functools.partial(
                        AuxiliaryHead,
                        self.num_classes,
                        self.auxiliary_pool,
                        self.auxiliary_dropout_rate,
                        (narrow, wide),
                        self.auxiliary_norm,
                        **parts,
                        dtype=self.dtype,
                    )
                    auxiliary_head(self, head, AUXILIARY_HEADS[name], x, train=train)
            if i < len(STAGES):
                window = self.pool4_window if i == 2 else 3
                x = MaxPool(window, 2, ceil_mode=True, name=f"pool{i + 2}")(x)
        x = GlobalAvgPool(name="pool5")(x)  # [N, 1024]
        x = Dropout(self.dropout_rate, name="dropout")(x, train=train)
        logits = Dense(self.num_classes, dtype=self.dtype, name="head")(x)
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))

    def enter(self, x, unit, train):
        """The stem: from the images to an eighth of their side, or to all of it."""
        published = self.norm.kind == "local_response"
        narrow, wide = self.scaled((64, 192))
        if self.stem == "small":
            x = unit(wide, 3, padding=1, name="stem_conv")(x, train=train)
            return self.norm(name="norm1")(x, train=train) if published else x
        x = unit(narrow, 7, 2, 3, name="stem_conv1")(x, train=train)
        x = MaxPool(3, 2, ceil_mode=True, name="pool1")(x)
        if published:
            x = self.norm(name="norm1")(x, train=train)
        x = unit(narrow, 1, name="stem_conv2")(x, train=train)
        x = unit(wide, 3, padding=1, name="stem_conv3")(x, train=train)
        if published:
            x = self.norm(name="norm2")(x, train=train)
        return MaxPool(3, 2, ceil_mode=True, name="pool2")(x)

    def branches(self, widths) -> tuple[Branch, ...]:
        return inception(
            self.scaled(widths),
            reduced=self.reduced,
            branch3_kernel=self.branch3_kernel,
        )

    def scaled(self, widths) -> tuple[int, ...]:
        return tuple(max(1, round(self.width * w)) for w in widths)

    def check(self) -> None:
        """Refuses values that would give another net than was meant."""
        for words, key, allowed in (
            ("pooling of auxiliary heads", "auxiliary_pool", AUXILIARY_POOLS),
            ("norm of auxiliary heads", "auxiliary_norm", AUXILIARY_NORMS),
            ("stem", "stem", STEMS),
        ):
            if (value := getattr(self, key)) not in allowed:
                raise unknown_name(words, value, allowed, f"config.model.{key}")
        if self.branch3_kernel < 1 or self.branch3_kernel % 2 == 0:
            raise UserError(
                f"the third branch keeps the size of the map, for which its filters "
                f"must be odd, not {self.branch3_kernel} x {self.branch3_kernel} (set "
                "config.model.branch3_kernel)"
            )
        check_numbers("num_blocks", self.num_blocks, count=len(STAGES))
        for count, stage in zip(self.num_blocks, STAGES, strict=True):
            if count > len(stage):
                raise UserError(
                    f"config.model.num_blocks is {self.num_blocks}: table 1 has 2, 5 "
                    "and 2 modules in the three stages"
                )
        if self.width <= 0:
            raise UserError(
                f"the factor of the channels must be positive, not {self.width} (set "
                "config.model.width)"
            )


PAPER = {
    "branch3_kernel": 5,
    "pool4_window": 3,
    "auxiliary_pool": "strided",
    "dropout_rate": 0.4,
}
BATCH = {"kind": "batch", "epsilon": 1e-3}
BY_HAND = "by hand from table 1, with both auxiliary heads"

VARIANTS = {
    "googlenet": Variant(
        GoogLeNet,
        (224, 224, 3),
        13_004_888,
        1_498_376_192,
        "torchvision 0.28, with both auxiliary heads (6,624,904 without)",
        norm=BATCH,
        published=Published(30.22, 10.47, OF_TORCHVISION),
    ),
    "googlenet_published": Variant(
        GoogLeNet,
        (224, 224, 3),
        13_378_280,
        1_582_671_872,
        f"{BY_HAND} (6,998,552 without)",
        PAPER,
        norm={"kind": "local_response"},
        published=Published(None, 10.07, "arXiv 1409.4842, table 3: one net, one crop"),
    ),
    "googlenet_bn": Variant(
        GoogLeNet,
        (224, 224, 3),
        13_385_816,
        1_582_671_872,
        f"{BY_HAND} (7,005,832 without)",
        PAPER,
        norm=BATCH,
    ),
    "googlenet_naive": Variant(
        GoogLeNet,
        (224, 224, 3),
        104_279_704,
        12_568_061_056,
        f"{BY_HAND} (97,531,080 without), modules of figure 2(a)",
        PAPER | {"reduced": False},
        norm=BATCH,
    ),
    "googlenet_cifar": Variant(
        GoogLeNet,
        (32, 32, 3),
        10_222_398,
        1_447_241_728,
        "by hand from table 1 with a stem of one 3 x 3 (5,871,914 without heads)",
        {"stem": "small", "branch3_kernel": 5, "pool4_window": 3},
        num_classes=10,
        norm=BATCH,
    ),
}
