"""Inception-v2 (Szegedy et al. 2015, arXiv 1512.00567, section 6, table 1).

The net of table 1: a stem of six 3 x 3 convolutions, modules whose 5 x 5 filters are
two of 3 x 3 (figure 5), 7 x 7 filters as 1 x 7 and 7 x 1 (figure 6), and modules that
spread out (figure 7), with the reductions of figure 10 between. Inception-v3 is this
net as the authors released it, with batch norm in the auxiliary head.

Takes images from 75 pixels a side; with the auxiliary head, from 299 pixels.

Deviations: the paper prints no widths of modules; they are those that the authors
released with Inception-v3, whose module of figure 6 with 160 channels stands thrice
here, because table 1 has five of that figure and the release four. Table 1 counts no
reductions; they stand between its rows, as in the release. Average pools count the
padding, as there. Initial values are He's.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from cnnjax.layers.auxiliary import auxiliary_head
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
from cnnjax.models.inception_v3 import (
    MODULE_C,
    REDUCTION_A,
    REDUCTION_B,
    AuxiliaryHead,
    module_b,
)
from cnnjax.models.variant import Published, Variant

# The rows of table 1 before the modules: patch, stride and channels.
STEM: Branch = (
    valid(32, 3, 2),
    valid(32),
    same(64, 3),
    HALVE,
    valid(80),
    valid(192, 3, 2),
    same(288, 3),
)
# Figure 5.
MODULE_A: tuple[Branch, ...] = (
    (same(64),),
    (same(48), same(64, 3)),
    (same(64), same(96, 3), same(96, 3)),
    (Pool("avg"), same(64)),
)
WIDTHS_B = (128, 160, 160, 160, 192)
HEAD_BEHIND = "stage2_block5"


def modules() -> dict[str, tuple[Branch, ...]]:
    """Name -> branches, in order."""
    tables = {f"stage1_block{i}": MODULE_A for i in (1, 2, 3)}
    tables["stage2_reduction"] = REDUCTION_A
    for i, width in enumerate(WIDTHS_B, start=1):
        tables[f"stage2_block{i}"] = module_b(width)
    tables["stage3_reduction"] = REDUCTION_B
    return tables | {f"stage3_block{i}": MODULE_C for i in (1, 2)}


class InceptionV2(nn.Module):
    """A stem, three stages of Inception modules, average pool, head.

    Args:
      num_classes: width of the head.
      norm: normalization after every convolution.
      act: activation function.
      dtype: compute type.
      auxiliary_heads: one more classifier in training, after the second stage, with
        norm behind its first convolution alone; weigh it by
        config.loss.auxiliary_weight.
      dropout_rate: before the head.

    Raises:
      UserError: images too small.

    Shapes: images [N, H, W, C] -> logits [N, num_classes].
    """

    num_classes: int
    norm: Norm
    act: Callable
    dtype: Any
    auxiliary_heads: bool = True
    dropout_rate: float = 0.5

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
        for name, branches in modules().items():
            x = Branches(branches, **parts, name=name)(x, train=train)
            if self.auxiliary_heads and name == HEAD_BEHIND:
                head = functools.partial(
                    AuxiliaryHead, self.num_classes, "conv", **parts, dtype=self.dtype
                )
                auxiliary_head(self, head, "auxiliary", x, train=train)
        x = GlobalAvgPool(name="pool")(x)  # [N, 2048]
        x = Dropout(self.dropout_rate, name="dropout")(x, train=train)
        logits = Dense(self.num_classes, dtype=self.dtype, name="head")(x)
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))


VARIANTS = {
    "inception_v2": Variant(
        InceptionV2,
        (299, 299, 3),
        29_280_176,
        6_352_562_784,
        "by hand from table 1, with the auxiliary head (25,954,248 without)",
        norm={"kind": "batch", "epsilon": 1e-3},
        published=Published(
            21.6,
            5.8,
            "arXiv 1512.00567, table 3, row Factorized 7 x 7: one net, one crop, with "
            "RMSProp and label smoothing (from memory)",
        ),
    ),
}
