"""The classifier of AlexNet and VGG: a grid of means, dense layers with dropout."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from cnnjax.errors import unknown_name
from cnnjax.layers.conv import Dense
from cnnjax.layers.dropout import Dropout
from cnnjax.layers.flatten import Flatten
from cnnjax.layers.init import he_normal
from cnnjax.layers.pool import AdaptiveAvgPool

# Where the dropout of a hidden dense layer sits.
PLACES = ("inputs", "outputs")


def dense_classifier(
    x: jax.Array,
    num_classes: int,
    *,
    grid: int,
    widths: tuple[int, ...],
    act: Callable[[jax.Array], jax.Array],
    dropout_rate: float,
    dropout_on: str,
    dtype: Any,
    train: bool,
) -> jax.Array:
    """Logits from the last map; call it inside the compact `__call__` of a net.

    The layers become children of the net: `adaptive_pool` where the map is not a grid
    of the right size already, `flatten`, `fc6`, `fc7` and so on, `head`.

    Args:
      x: the map.
      num_classes: width of the head.
      grid: side of the map that the dense layers see.
      widths: of the hidden dense layers.
      act: activation function.
      dropout_rate: of each hidden layer.
      dropout_on: whether it drops the 'inputs' or the 'outputs' of the hidden layers.
      dtype: compute type.
      train: whether this is a training pass.

    Raises:
      UserError: an unknown place of dropout.

    Shapes: [N, H, W, C] -> [N, num_classes], at least float32.
    """
    if dropout_on not in PLACES:
        raise unknown_name(
            "place of dropout", dropout_on, PLACES, "config.model.dropout_on"
        )
    if x.shape[1:3] != (grid, grid):
        x = AdaptiveAvgPool((grid, grid), name="adaptive_pool")(x)
    x = Flatten(name="flatten")(x)
    for i, width in enumerate(widths, start=6):
        dropout = Dropout(dropout_rate, name=f"dropout{i}")
        dense = Dense(width, kernel_init=he_normal, dtype=dtype, name=f"fc{i}")
        if dropout_on == "inputs":
            x = act(dense(dropout(x, train=train)))
        else:
            x = dropout(act(dense(x)), train=train)
    logits = Dense(num_classes, dtype=dtype, name="head")(x)
    return logits.astype(jnp.promote_types(jnp.float32, dtype))
