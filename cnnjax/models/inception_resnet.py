"""Inception-ResNet-v1 and -v2 (Szegedy et al. 2016, arXiv 1602.07261, section 3.2).

`inception_resnet_v1` and `inception_resnet_v2_published` are those of the figures.
`inception_resnet_v2` is what the authors released and timm has: the stem of
Inception-v3 with one plain module after it, 10, 20 and 10 blocks in place of 5, 10 and
5, a last block that adds without scale or activation, and a 1 x 1 convolution before
the pool.

Takes images from 75 pixels a side.

Deviations: the convolution that ends a branch has as many channels as the map it is
added to, where figures 17 and 19 print 1154 and 2048 for maps of 1152 and 2144. It has
a bias and no norm, as in the authors' code. Branches are scaled as there, by 0.17, 0.1
and 0.2; the paper says between 0.1 and 0.3 (section 3.3). Average pools leave the
padding out of the mean. Initial values are He's.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from cnnjax.errors import UserError, unknown_name
from cnnjax.layers.act import identity
from cnnjax.layers.conv import Conv, Dense
from cnnjax.layers.conv_norm_act import ConvNormAct
from cnnjax.layers.dropout import Dropout
from cnnjax.layers.init import he_normal
from cnnjax.layers.norm import Norm
from cnnjax.layers.pool import GlobalAvgPool
from cnnjax.models import inception_v3, inception_v4
from cnnjax.models.blocks.inception import HALVE, Branch, Branches, follow, same, valid
from cnnjax.models.inception_v4 import (
    AVERAGE,
    COLUMN,
    ROW,
    check_num_blocks,
    reduction_a,
)
from cnnjax.models.variant import Published, Variant

Module = tuple[Branch, ...]

# Convolutions one after another, and modules after them.
STEMS: dict[str, tuple[Branch, tuple[Module, ...]]] = {
    # Figure 14.
    "resnet_v1": ((*inception_v3.STEM[:-1], valid(256, 3, 2)), ()),
    # Figure 3.
    "v4": (inception_v4.STEM, inception_v4.STEM_MODULES),
    # Of the authors' code: Inception-v3's, and a module as there but wider.
    "v3": (
        inception_v3.STEM,
        (
            (
                (same(96),),
                (same(48), same(64, 5)),
                (same(64), same(96, 3), same(96, 3)),
                (AVERAGE, same(64)),
            ),
        ),
    ),
}
# The branches of the residual blocks in the three stages.
BLOCKS: dict[str, tuple[Module, ...]] = {
    "v1": (  # figures 10, 11, 13
        ((same(32),), (same(32), same(32, 3)), (same(32), same(32, 3), same(32, 3))),
        ((same(128),), (same(128), same(128, ROW), same(128, COLUMN))),
        ((same(192),), (same(192), same(192, (1, 3)), same(192, (3, 1)))),
    ),
    "v2": (  # figures 16, 17, 19
        ((same(32),), (same(32), same(32, 3)), (same(32), same(48, 3), same(64, 3))),
        ((same(192),), (same(128), same(160, ROW), same(192, COLUMN))),
        ((same(192),), (same(192), same(224, (1, 3)), same(256, (3, 1)))),
    ),
}


def reduction_b(second: int, third: int, fourth: int) -> Module:
    """Figures 12 and 18, from 17 x 17 to 8 x 8; widths of the last convolutions."""
    return (
        (same(256), valid(384, 3, 2)),
        (same(256), valid(second, 3, 2)),
        (same(256), same(third, 3), valid(fourth, 3, 2)),
        (HALVE,),
    )


REDUCTIONS: dict[str, tuple[Module | None, ...]] = {
    "v1": (None, reduction_a(192, 192, 256, 384), reduction_b(256, 256, 256)),
    "v2": (None, reduction_a(256, 256, 384, 384), reduction_b(288, 288, 320)),
}


class ResidualInception(nn.Module):
    """x + scale * (branches, then a 1 x 1 convolution to the channels of x).

    Args:
      branches: the table.
      scale: of the branches, "residual scaling".
      conv: factory of convolutions.
      norm: normalization in the branches.
      act: activation in the branches.
      last_act: activation after the addition.

    Shapes: [N, H, W, C] -> the same; children `branches`, `expand_conv`.

    Source: arXiv 1602.07261, sections 3.2 and 3.3, figure 20.
    """

    branches: Module
    scale: float
    conv: Callable[..., nn.Module]
    norm: Norm
    act: Callable
    last_act: Callable

    @nn.compact
    def __call__(self, x, *, train: bool):
        y = Branches(self.branches, self.conv, self.norm, self.act, name="branches")(
            x, train=train
        )
        y = self.conv(x.shape[-1], 1, use_bias=True, name="expand_conv")(y)
        return self.last_act(x + self.scale * y)


class InceptionResNet(nn.Module):
    """A stem, three stages of residual Inception blocks, average pool, head.

    Args:
      num_classes: width of the head.
      norm: normalization after every convolution but those that end a branch.
      act: activation function.
      dtype: compute type.
      widths: 'v1' or 'v2', of the blocks and reductions.
      stem: a key of `STEMS`.
      num_blocks: residual blocks of each stage.
      scales: of the branches in each stage; 1 is an ordinary residual block.
      plain_last_block: the last block adds without scale and activation.
      final_features: channels of a 1 x 1 convolution before the pool; 0 for none.
      dropout_rate: before the head; 0.2 in the paper (figure 15: keep 0.8).

    Raises:
      UserError: images too small, or an argument out of range.

    Shapes: images [N, H, W, C] -> logits [N, num_classes].
    """

    num_classes: int
    norm: Norm
    act: Callable
    dtype: Any
    widths: str = "v2"
    stem: str = "v3"
    num_blocks: tuple[int, ...] = (10, 20, 10)
    scales: tuple[float, ...] = (0.17, 0.1, 0.2)
    plain_last_block: bool = True
    final_features: int = 1536
    dropout_rate: float = 0.2

    @nn.compact
    def __call__(self, images, *, train: bool):
        check_choices(self.widths, self.stem, self.num_blocks, self.scales)
        conv = functools.partial(
            Conv,
            use_bias=not self.norm.has_bias,
            kernel_init=he_normal,
            dtype=self.dtype,
        )
        parts: dict[str, Any] = {"conv": conv, "norm": self.norm, "act": self.act}
        steps, modules = STEMS[self.stem]
        x = follow(steps, "stem", images, **parts, train=train)
        for i, branches in enumerate(modules, start=1):
            x = Branches(branches, **parts, name=f"stem_block{i}")(x, train=train)
        for i in (1, 2, 3):
            reduction = REDUCTIONS[self.widths][i - 1]
            if reduction:
                name = f"stage{i}_reduction"
                x = Branches(reduction, **parts, name=name)(x, train=train)
            for j in range(1, self.num_blocks[i - 1] + 1):
                plain = self.plain_last_block and (i, j) == (3, self.num_blocks[2])
                x = ResidualInception(
                    BLOCKS[self.widths][i - 1],
                    1.0 if plain else self.scales[i - 1],
                    **parts,
                    last_act=identity if plain else self.act,
                    name=f"stage{i}_block{j}",
                )(x, train=train)
        if self.final_features:
            x = ConvNormAct(self.final_features, 1, **parts, name="final")(
                x, train=train
            )
        x = GlobalAvgPool(name="pool")(x)
        x = Dropout(self.dropout_rate, name="dropout")(x, train=train)
        logits = Dense(self.num_classes, dtype=self.dtype, name="head")(x)
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))


def check_choices(
    widths: str, stem: str, num_blocks: tuple[int, ...], scales: tuple[float, ...]
) -> None:
    """Refuses unknown names, and lists that do not fit the three stages."""
    if widths not in BLOCKS:
        raise unknown_name("set of widths", widths, BLOCKS, "config.model.widths")
    if stem not in STEMS:
        raise unknown_name("stem", stem, STEMS, "config.model.stem")
    check_num_blocks(num_blocks)
    if len(scales) != 3:
        raise UserError(
            f"the branches of the three stages take three scales, not {scales} (set "
            "config.model.scales)"
        )


BATCH = {"kind": "batch", "epsilon": 1e-3}
FIGURES = {"num_blocks": (5, 10, 5), "plain_last_block": False, "final_features": 0}
ERRORS = "arXiv 1602.07261, table 2: one net, one crop"

VARIANTS = {
    "inception_resnet_v1": Variant(
        InceptionResNet,
        (299, 299, 3),
        22_756_328,
        6_206_361_696,
        "by hand from figures 7 and 10 to 15",
        {"widths": "v1", "stem": "resnet_v1"} | FIGURES,
        norm=BATCH,
        published=Published(21.3, 5.5, ERRORS),
    ),
    "inception_resnet_v2": Variant(
        InceptionResNet,
        (299, 299, 3),
        55_843_464,
        13_155_794_016,
        "timm 1.0.31",
        norm=BATCH,
        published=Published(19.9, 4.9, ERRORS),
    ),
    "inception_resnet_v2_published": Variant(
        InceptionResNet,
        (299, 299, 3),
        32_433_928,
        9_257_953_632,
        "by hand from figures 3, 7 and 15 to 19",
        {"widths": "v2", "stem": "v4"} | FIGURES,
        norm=BATCH,
        published=Published(19.9, 4.9, ERRORS),
    ),
}
