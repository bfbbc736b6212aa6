"""Multilayer perceptron on flattened images: the baseline without convolutions."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.layers.conv import Dense
from cnnjax.layers.dropout import Dropout
from cnnjax.layers.flatten import Flatten
from cnnjax.layers.init import he_normal
from cnnjax.layers.norm import Norm
from cnnjax.models.variant import Variant


class MLP(nn.Module):
    """Dense layers with norm and activation, then a linear head.

    Args:
      num_classes: width of the head.
      norm: normalization of the hidden layers.
      act: activation function.
      dtype: compute type.
      widths: units of each hidden layer.
      dropout_rate: probability of dropping a hidden unit.

    Raises:
      UserError: a width below 1.

    Shapes: images [N, H, W, C] -> logits [N, num_classes].
    """

    num_classes: int
    norm: Norm
    act: Callable
    dtype: Any
    widths: tuple[int, ...] = (256, 256)
    dropout_rate: float = 0.0

    @nn.compact
    def __call__(self, images, *, train: bool):
        if any(width < 1 for width in self.widths):
            raise UserError(
                f"hidden widths {self.widths} must be positive numbers of units (set "
                "config.model.widths)"
            )
        x = Flatten(name="flatten")(images)
        for i, width in enumerate(self.widths, start=1):
            x = Dense(
                width,
                use_bias=not self.norm.has_bias,
                kernel_init=he_normal,
                dtype=self.dtype,
                name=f"dense{i}",
            )(x)
            # To a norm, a vector is a map of one pixel.  [N, 1, 1, width]
            x = self.norm(name=f"norm{i}")(x[:, None, None, :], train=train)[:, 0, 0]
            x = self.act(x)
            x = Dropout(self.dropout_rate)(x, train=train)
        logits = Dense(
            self.num_classes,
            dtype=self.dtype,
            name="head",
        )(x)
        return logits.astype(jnp.promote_types(jnp.float32, self.dtype))


VARIANTS = {
    "mlp": Variant(
        MLP,
        (28, 28, 1),
        269_322,
        268_800,
        "by hand: 784*256 + 256*256 + 256*10 weights, 2*256 + 10 biases",
        num_classes=10,
        norm={"kind": "none"},
    ),
}
