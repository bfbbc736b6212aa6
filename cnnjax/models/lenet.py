"""LeNet-5 (LeCun et al. 1998, "Gradient-based learning", section II.B).

`lenet5` is the modern form: rectifiers, max-pooling, every map of C3 connected to all
maps of S2. `lenet5_published` has the scaled tanh, subsampling with a trained
coefficient and bias per map, and the connections of table I.

Deviations of both: the output layer is linear where the paper has radial basis
functions with fixed centres. Images of 28 pixels are padded by 2 with zeros, as MNIST
was embedded in 32 x 32. C5 is written as a dense layer, which it is at that size.
Weights start as He's, not uniform within 2.4 / fan-in. Subsampling takes the mean of
the four values, not their sum: the coefficient is four times the paper's.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cnnjax.errors import UserError, unknown_name
from cnnjax.layers.conv import Conv, Dense
from cnnjax.layers.dropout import Dropout
from cnnjax.layers.flatten import Flatten
from cnnjax.layers.functional.channels import per_channel
from cnnjax.layers.functional.conv import convolution
from cnnjax.layers.init import Initializer, he_normal, ones, zeros
from cnnjax.layers.norm import Norm
from cnnjax.layers.pool import POOLS, avg_pool
from cnnjax.models.variant import Published, Variant

# Table I: for each map of C3, the maps of S2 that it sees.
TABLE_I = (
    *((i, (i + 1) % 6, (i + 2) % 6) for i in range(6)),
    *((i, (i + 1) % 6, (i + 2) % 6, (i + 3) % 6) for i in range(6)),
    (0, 1, 3, 4),
    (1, 2, 4, 5),
    (0, 2, 3, 5),
    (0, 1, 2, 3, 4, 5),
)
CONNECTIONS = ("all", "table")


class PartialConv(nn.Module):
    """A convolution in which each output map sees some of the input maps.

    Filters that are missing are multiplied as zeros: one dense convolution is faster
    than many narrow ones, and there is nothing to train in them.

    Args:
      table: for each output map, the numbers of the input maps that it sees.
      kernel_size: height and width of the filters.
      use_bias: adds one number per output map.
      dtype: compute type.

    Shapes: [N, H, W, C] -> [N, H', W', len(table)]; params `kernel` [h, w, 1,
      connections], in the order of the table, and `bias` [len(table)].
    """

    table: tuple[tuple[int, ...], ...]
    kernel_size: int
    use_bias: bool
    dtype: Any

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        pairs = [(i, out) for out, maps in enumerate(self.table) for i in maps]
        sources, targets = np.array(pairs).T
        # He's variance for the mean number of maps that an output sees.
        kernel_init = Initializer("normal", 2 * len(self.table) / len(pairs), "in")
        window = (self.kernel_size, self.kernel_size)
        kernel = self.param(
            "kernel", kernel_init, (*window, 1, len(pairs)), jnp.float32
        )
        full = jnp.zeros((*window, x.shape[-1], len(self.table)), self.dtype)
        full = full.at[:, :, sources, targets].set(kernel[:, :, 0].astype(self.dtype))
        y = convolution(x.astype(self.dtype), full)
        if not self.use_bias:
            return y
        bias = self.param("bias", zeros, (len(self.table),), jnp.float32)
        return y + per_channel(bias, y).astype(self.dtype)


class TrainedPool(nn.Module):
    """Mean of 2 x 2 values, times a coefficient and plus an offset per map.

    Shapes: [N, H, W, C] -> [N, H // 2, W // 2, C]; params `coefficient`, `offset` [C].
    """

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        y = avg_pool(x, 2, strides=2)
        shape = (x.shape[-1],)
        coefficient = self.param("coefficient", ones, shape, jnp.float32)
        offset = self.param("offset", zeros, shape, jnp.float32)
        y = y * per_channel(coefficient, y).astype(y.dtype)
        return y + per_channel(offset, y).astype(y.dtype)


class LeNet5(nn.Module):
    """Two convolutions with pooling, three dense layers.

    Args:
      num_classes: width of the head.
      norm: normalization after each convolution and hidden dense layer.
      act: activation function.
      dtype: compute type.
      pool: 'max' or 'avg', both 2 x 2 with stride 2; 'trained' is the average with a
        coefficient, an offset and the activation after it.
      connections: 'all', or 'table' for those of table I in the second convolution.
      dropout_rate: probability of dropping a hidden unit of a dense layer.

    Raises:
      UserError: images of less than 12 pixels, or an unknown choice.

    Shapes: images [N, H, W, C], H and W at least 12 -> logits [N, num_classes].
    """

    num_classes: int
    norm: Norm
    act: Callable
    dtype: Any
    pool: str = "max"
    connections: str = "all"
    dropout_rate: float = 0.0

    @nn.compact
    def __call__(self, images, *, train: bool):
        self.check(images)
        use_bias = not self.norm.has_bias
        conv = functools.partial(
            Conv, use_bias=use_bias, kernel_init=he_normal, dtype=self.dtype
        )
        if self.connections == "table":
            second: nn.Module = PartialConv(
                TABLE_I, 5, use_bias, self.dtype, name="conv2"
            )
        else:
            second = conv(16, 5, name="conv2")
        x = conv(6, 5, padding=2, name="conv1")(images)
        x = self.act(self.norm(name="norm1")(x, train=train))
        x = self.subsample(x, "pool1")
        x = second(x)
        x = self.act(self.norm(name="norm2")(x, train=train))
        x = self.subsample(x, "pool2")
        x = Flatten(name="flatten")(x)  # [N, 400] for 28 x 28 images
        for i, width in enumerate([120, 84], start=1):
            x = Dense(
                width,
                use_bias=use_bias,
                kernel_init=he_normal,
                dtype=self.dtype,
                name=f"dense{i}",
            )(x)
            x = self.norm(name=f"norm{i + 2}")(x[:, None, None], train=train)[:, 0, 0]
            x = Dropout(self.dropout_rate, name=f"dropout{i}")(self.act(x), train=train)
        logits = Dense(self.num_classes, dtype=self.dtype, name="head")(x)
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))

    def check(self, images) -> None:
        """Refuses unknown choices, and images of which nothing would be left."""
        if self.pool not in (*POOLS, "trained"):
            raise unknown_name(
                "pooling", self.pool, (*POOLS, "trained"), "config.model.pool"
            )
        if self.connections not in CONNECTIONS:
            raise unknown_name(
                "connections",
                self.connections,
                CONNECTIONS,
                "config.model.connections",
            )
        if min(images.shape[1:3]) < 12:
            raise UserError(
                f"lenet5 needs images of at least 12 x 12 pixels, not "
                f"{images.shape[1]} x {images.shape[2]}: its second 5 x 5 convolution "
                "would have nothing left (choose config.data.name or config.model.name)"
            )

    def subsample(self, x, name: str):
        if self.pool == "trained":
            return self.act(TrainedPool(name=name)(x))
        return POOLS[self.pool](2, 2, name=name)(x)


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
    "lenet5_published": Variant(
        LeNet5,
        (28, 28, 1),
        60_850,
        416_520,
        "LeCun et al. 1998, section II.B: 60,000 trained parameters, and 850 of a "
        "linear output layer; products by hand, 90,000 of them with the zeros of C3",
        {"pool": "trained", "connections": "table"},
        num_classes=10,
        norm={"kind": "none"},
        act="scaled_tanh",
        published=Published(
            0.95, None, "LeCun et al. 1998, section III.B, no distortions", "MNIST"
        ),
    ),
}
