"""Inception-v4 (Szegedy et al. 2016, arXiv 1602.07261, section 3.1, figure 9).

Takes images from 75 pixels a side.

Deviations: the order of 1 x 7 and 7 x 1 filters, which the figures draw from one side
and the other, is that of the authors' code, as in timm. Average pools leave the padding
out of the mean, as there. Initial values are He's.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.layers.conv import Conv, Dense
from cnnjax.layers.dropout import Dropout
from cnnjax.layers.init import he_normal
from cnnjax.layers.norm import Norm
from cnnjax.layers.pool import GlobalAvgPool
from cnnjax.models.blocks.inception import (
    HALVE,
    Branch,
    Branches,
    Pool,
    follow,
    same,
    valid,
)
from cnnjax.models.variant import Published, Variant

ROW, COLUMN = (1, 7), (7, 1)
AVERAGE = Pool("avg", count_include_pad=False)

# Figure 3: convolutions one after another, then three small modules.
STEM: Branch = (valid(32, 3, 2), valid(32), same(64, 3))
STEM_MODULES: tuple[tuple[Branch, ...], ...] = (
    ((HALVE,), (valid(96, 3, 2),)),
    (
        (same(64), valid(96)),
        (same(64), same(64, ROW), same(64, COLUMN), valid(96)),
    ),
    ((valid(192, 3, 2),), (HALVE,)),
)
# Figure 4.
MODULE_A: tuple[Branch, ...] = (
    (same(96),),
    (same(64), same(96, 3)),
    (same(64), same(96, 3), same(96, 3)),
    (AVERAGE, same(96)),
)
# Figure 5.
MODULE_B: tuple[Branch, ...] = (
    (same(384),),
    (same(192), same(224, ROW), same(256, COLUMN)),
    (
        same(192),
        same(192, COLUMN),
        same(224, ROW),
        same(224, COLUMN),
        same(256, ROW),
    ),
    (AVERAGE, same(128)),
)
_SPREAD = (same(256, (1, 3)), same(256, (3, 1)))
# Figure 6.
MODULE_C: tuple[Branch, ...] = (
    (same(256),),
    (same(384), _SPREAD),
    (same(384), same(448, (3, 1)), same(512, (1, 3)), _SPREAD),
    (AVERAGE, same(256)),
)


def reduction_a(first: int, second: int, third: int, alone: int) -> tuple[Branch, ...]:
    """Figure 7, from 35 x 35 to 17 x 17; the widths are k, l, m and n of table 1."""
    return (
        (valid(alone, 3, 2),),
        (same(first), same(second, 3), valid(third, 3, 2)),
        (HALVE,),
    )


# Figure 8, from 17 x 17 to 8 x 8.
REDUCTION_B: tuple[Branch, ...] = (
    (same(192), valid(192, 3, 2)),
    (same(256), same(256, ROW), same(320, COLUMN), valid(320, 3, 2)),
    (HALVE,),
)


def modules(num_blocks: tuple[int, ...]) -> dict[str, tuple[Branch, ...]]:
    """Name and branches of every module after the stem, in order.

    Raises:
      UserError: not three counts of at least 1.
    """
    check_num_blocks(num_blocks)
    table = {}
    reductions = (None, reduction_a(192, 224, 256, 384), REDUCTION_B)
    kinds = (MODULE_A, MODULE_B, MODULE_C)
    for i, (reduction, kind) in enumerate(zip(reductions, kinds, strict=True), start=1):
        if reduction:
            table[f"stage{i}_reduction"] = reduction
        for j in range(1, num_blocks[i - 1] + 1):
            table[f"stage{i}_block{j}"] = kind
    return table


def check_num_blocks(num_blocks: tuple[int, ...]) -> None:
    """Refuses anything but three counts of at least 1."""
    if len(num_blocks) != 3 or min(num_blocks) < 1:
        raise UserError(
            f"the blocks of the three stages are three numbers of at least 1, not "
            f"{num_blocks} (set config.model.num_blocks)"
        )


class InceptionV4(nn.Module):
    """A stem, three stages of Inception modules, average pool, head.

    Args:
      num_classes: width of the head.
      norm: normalization after every convolution.
      act: activation function.
      dtype: compute type.
      num_blocks: modules of each stage, reductions not counted.
      dropout_rate: before the head; 0.2 in the paper (figure 9: keep 0.8).

    Raises:
      UserError: images too small, or counts that are not three.

    Shapes: images [N, H, W, C] -> logits [N, num_classes].
    """

    num_classes: int
    norm: Norm
    act: Callable
    dtype: Any
    num_blocks: tuple[int, ...] = (4, 7, 3)
    dropout_rate: float = 0.2

    @nn.compact
    def __call__(self, images, *, train: bool):
        conv = functools.partial(
            Conv,
            use_bias=not self.norm.has_bias,
            kernel_init=he_normal,
            dtype=self.dtype,
        )
        parts: dict[str, Any] = {"conv": conv, "norm": self.norm, "act": self.act}
        x = follow(STEM, "stem", images, **parts, train=train)
        for i, branches in enumerate(STEM_MODULES, start=1):
            x = Branches(branches, **parts, name=f"stem_block{i}")(x, train=train)
        for name, branches in modules(self.num_blocks).items():
            x = Branches(branches, **parts, name=name)(x, train=train)
        x = GlobalAvgPool(name="pool")(x)  # [N, 1536]
        x = Dropout(self.dropout_rate, name="dropout")(x, train=train)
        logits = Dense(self.num_classes, dtype=self.dtype, name="head")(x)
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))


VARIANTS = {
    "inception_v4": Variant(
        InceptionV4,
        (299, 299, 3),
        42_679_816,
        12_253_974_624,
        "timm 1.0.31",
        norm={"kind": "batch", "epsilon": 1e-3},
        published=Published(20.0, 5.0, "arXiv 1602.07261, table 2: one net, one crop"),
    ),
}
