"""Inception-v3 (Szegedy et al. 2015, arXiv 1512.00567, section 6, table 1).

Takes images from 75 pixels a side; the auxiliary head, which sees maps of 17 x 17 at
299 pixels and has nothing left of smaller ones, from 299 pixels. Smaller images need
auxiliary_heads=False.

Deviations: the paper prints neither the widths of its modules nor an arithmetic that
fits its table 1 (a 3 x 3 convolution of 64 to 80 channels, a stride in place of the
second max pool); stem and modules are those that the authors released, as in
torchvision and timm. Average pools count the padding, as there. Initial values are
He's.
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
from cnnjax.layers.init import he_normal
from cnnjax.layers.norm import Norm
from cnnjax.layers.pool import AvgPool, GlobalAvgPool
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

# Side of the smallest map that the auxiliary head can work on: 5 x 5 windows with
# stride 3, then 5 x 5 filters without padding.
SMALLEST_FOR_HEAD = 17

AVERAGE = Pool("avg")
STEM: Branch = (
    valid(32, 3, 2),
    valid(32),
    same(64, 3),
    HALVE,
    same(80),
    valid(192),
    HALVE,
)


def module_a(projection: int) -> tuple[Branch, ...]:
    """Figure 5: the 5 x 5 filters of GoogLeNet as two of 3 x 3 (one branch keeps 5)."""
    return (
        (same(64),),
        (same(48), same(64, 5)),
        (same(64), same(96, 3), same(96, 3)),
        (AVERAGE, same(projection)),
    )


def module_b(width: int) -> tuple[Branch, ...]:
    """Figure 6: 7 x 7 filters as pairs of 1 x 7 and 7 x 1."""
    row, column = (1, 7), (7, 1)
    return (
        (same(192),),
        (same(width), same(width, row), same(192, column)),
        (
            same(width),
            same(width, column),
            same(width, row),
            same(width, column),
            same(192, row),
        ),
        (AVERAGE, same(192)),
    )


_SPREAD = (same(384, (1, 3)), same(384, (3, 1)))
# Figure 7: branches that spread out to many channels on the coarsest maps.
MODULE_C: tuple[Branch, ...] = (
    (same(320),),
    (same(384), _SPREAD),
    (same(448), same(384, 3), _SPREAD),
    (AVERAGE, same(192)),
)
# Figure 10: convolutions and pooling with stride 2 side by side.
REDUCTION_A: tuple[Branch, ...] = (
    (valid(384, 3, 2),),
    (same(64), same(96, 3), valid(96, 3, 2)),
    (HALVE,),
)
REDUCTION_B: tuple[Branch, ...] = (
    (same(192), valid(320, 3, 2)),
    (same(192), same(192, (1, 7)), same(192, (7, 1)), valid(192, 3, 2)),
    (HALVE,),
)
MODULES: dict[str, tuple[Branch, ...]] = {
    "stage1_block1": module_a(32),
    "stage1_block2": module_a(64),
    "stage1_block3": module_a(64),
    "stage2_reduction": REDUCTION_A,
    "stage2_block1": module_b(128),
    "stage2_block2": module_b(160),
    "stage2_block3": module_b(160),
    "stage2_block4": module_b(192),
    "stage3_reduction": REDUCTION_B,
    "stage3_block1": MODULE_C,
    "stage3_block2": MODULE_C,
}
AUXILIARY_NORMS = ("conv", "all")
# The auxiliary head sees the last map of 17 x 17.
HEAD_BEHIND = "stage2_block4"


class AuxiliaryHead(nn.Module):
    """A classifier after the second stage, with batch norm (section 4, figure 8).

    Args:
      num_classes: width of the head.
      normed: what the norm comes after, one of `AUXILIARY_NORMS`.
      conv: factory of convolutions.
      norm: normalization.
      act: activation function.
      dtype: compute type.

    Raises:
      UserError: a map that is too small for it.

    Shapes: [N, H, W, C], H and W at least 17 -> logits [N, num_classes].
    """

    num_classes: int
    normed: str
    conv: Callable[..., nn.Module]
    norm: Norm
    act: Callable
    dtype: Any

    @nn.compact
    def __call__(self, x, *, train: bool):
        if min(x.shape[1:3]) < SMALLEST_FOR_HEAD:
            raise UserError(
                f"the auxiliary head of inception_v3 needs a map of at least "
                f"{SMALLEST_FOR_HEAD} x {SMALLEST_FOR_HEAD}, from images of 299 pixels "
                f"or more, not {x.shape[1]} x {x.shape[2]}: use larger images "
                "(config.data.image_size) or config.model.auxiliary_heads=False"
            )
        unit = functools.partial(
            ConvNormAct, conv=self.conv, norm=self.norm, act=self.act
        )
        x = AvgPool(5, 3, name="pool")(x)
        x = unit(128, 1, name="conv1")(x, train=train)
        # On the 5 x 5 map of a full-size image this is the fully connected layer.
        if self.normed == "conv":
            bare = dataclasses.replace(self.norm, kind="none")
            conv = functools.partial(self.conv, use_bias=True)
            unit = functools.partial(unit, conv=conv, norm=bare)
        x = unit(768, 5, name="conv2")(x, train=train)
        x = GlobalAvgPool(name="global_pool")(x)
        logits = Dense(self.num_classes, dtype=self.dtype, name="head")(x)
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))


class InceptionV3(nn.Module):
    """A stem, three stages of Inception modules, average pool, head.

    Args:
      num_classes: width of the head.
      norm: normalization after every convolution.
      act: activation function.
      dtype: compute type.
      auxiliary_heads: one more classifier in training, after the second stage; weigh
        it by config.loss.auxiliary_weight.
      auxiliary_norm: what the norm comes after in the auxiliary head: 'all' of its
        layers (BN-auxiliary in table 3), or the first convolution alone, 'conv'.
      dropout_rate: before the head.

    Raises:
      UserError: images too small, or an unknown choice.

    Shapes: images [N, H, W, C] -> logits [N, num_classes].
    """

    num_classes: int
    norm: Norm
    act: Callable
    dtype: Any
    auxiliary_heads: bool = True
    auxiliary_norm: str = "all"
    dropout_rate: float = 0.5

    @nn.compact
    def __call__(self, images, *, train: bool):
        if self.auxiliary_norm not in AUXILIARY_NORMS:
            raise unknown_name(
                "norm of auxiliary heads",
                self.auxiliary_norm,
                AUXILIARY_NORMS,
                "config.model.auxiliary_norm",
            )
        conv = functools.partial(
            Conv,
            use_bias=not self.norm.has_bias,
            kernel_init=he_normal,
            dtype=self.dtype,
        )
        parts: dict[str, Any] = {"conv": conv, "norm": self.norm, "act": self.act}
        x = follow(STEM, "stem", images, **parts, train=train)
        for name, branches in MODULES.items():
            x = Branches(branches, **parts, name=name)(x, train=train)
            if self.auxiliary_heads and name == HEAD_BEHIND:
                head = functools.partial(
                    AuxiliaryHead,
                    self.num_classes,
                    self.auxiliary_norm,
                    **parts,
                    dtype=self.dtype,
                )
                auxiliary_head(self, head, "auxiliary", x, train=train)
        x = GlobalAvgPool(name="pool")(x)  # [N, 2048]
        x = Dropout(self.dropout_rate, name="dropout")(x, train=train)
        logits = Dense(self.num_classes, dtype=self.dtype, name="head")(x)
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))


VARIANTS = {
    "inception_v3": Variant(
        InceptionV3,
        (299, 299, 3),
        27_161_264,
        5_713_216_096,
        "torchvision 0.28, with the auxiliary head (23,834,568 without, as in timm)",
        norm={"kind": "batch", "epsilon": 1e-3},
        published=Published(21.2, 5.6, "arXiv 1512.00567, table 3: one net, one crop"),
    ),
}
