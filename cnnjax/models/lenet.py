"""LeNet-5 (LeCun et al. 1998, "Gradient-based learning", section II.B).

Deviations: the modern form. C3 is connected to all maps of S2 (the paper's table I
leaves some out), subsampling has no trained coefficient, the output layer is linear
where the paper has radial basis functions. Images of 28 pixels are padded by 2, as
MNIST was embedded in 32 x 32.
"""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from cnnjax.errors import UserError, unknown_name
from cnnjax.layers.conv import Conv, Dense
from cnnjax.layers.init import he_normal
from cnnjax.layers.norm import Norm
from cnnjax.layers.pool import avg_pool, max_pool
from cnnjax.layers.regularize import Dropout
from cnnjax.models.variant import Variant

POOLS = {"max": max_pool, "avg": avg_pool}


class LeNet5(nn.Module):
    """Two convolutions with pooling, three dense layers.

    Args:
      num_classes: width of the head.
      norm: normalization after each convolution and hidden dense layer.
      act: activation function.
      dtype: compute type.
      pool: 'max' or 'avg', both 2 x 2 with stride 2.
      dropout_rate: probability of dropping a hidden unit of a dense layer.

    Raises:
      UserError: images of less than 12 pixels, or an unknown pool.

    Shapes: images [N, H, W, C], H and W at least 12 -> logits [N, num_classes].
    """

    num_classes: int
    norm: Norm
    act: Callable
    dtype: Any
    pool: str = "max"
    dropout_rate: float = 0.0

    @nn.compact
    def __call__(self, images, *, train: bool):
        if self.pool not in POOLS:
            raise unknown_name("pooling", self.pool, POOLS, "config.model.pool")
        if min(images.shape[1:3]) < 12:
            raise UserError(
                f"lenet5 needs images of at least 12 x 12 pixels, not "
                f"{images.shape[1]} x {images.shape[2]}: its second 5 x 5 convolution "
                "would have nothing left (choose config.data.name or config.model.name)"
            )
        use_bias = not self.norm.has_bias
        x = images
        for i, (width, padding) in enumerate([(6, 2), (16, 0)], start=1):
            x = Conv(
                width,
                5,
                padding=padding,
                use_bias=use_bias,
                kernel_init=he_normal,
                dtype=self.dtype,
                name=f"conv{i}",
            )(x)
            x = self.act(self.norm(name=f"norm{i}")(x, train=train))
            x = POOLS[self.pool](x, 2, strides=2, padding=0)
        x = x.reshape(x.shape[0], -1)  # [N, 400] for 28 x 28 images
        for i, width in enumerate([120, 84], start=1):
            x = Dense(
                width,
                use_bias=use_bias,
                kernel_init=he_normal,
                dtype=self.dtype,
                name=f"dense{i}",
            )(x)
            x = self.norm(name=f"norm{i + 2}")(x[:, None, None], train=train)[:, 0, 0]
            x = Dropout(self.dropout_rate)(self.act(x), train=train)
        logits = Dense(
            self.num_classes,
            dtype=self.dtype,
            name="head",
        )(x)
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))


VARIANTS = {
    "lenet5": Variant(
        LeNet5,
        (28, 28, 1),
        61_706,
        416_520,
        "by hand: 156 + 2,416 + 48,120 + 10,164 + 850 parameters",
        num_classes=10,
        norm={"kind": "none"},
    ),
}
