"""The two forward passes of a net: in training and in evaluation.

Nothing else calls `model.apply`.
"""

import contextlib
from typing import Any

import jax
from flax import linen as nn

from cnnjax.layers.auxiliary import AUXILIARY
from cnnjax.net.eval_statistics import by_batch, of_last_batch


def forward_train(
    model: nn.Module,
    params: Any,
    model_state: Any,
    images: jax.Array,
    key: jax.Array,
    last_batch: bool = False,
) -> tuple[jax.Array, tuple[jax.Array, ...], Any]:
    """Forward pass of training, which updates the running statistics.

    Args:
      model: the net.
      params: its parameters.
      model_state: its other collections.
      images: float [N, H, W, C].
      key: random key for dropout and stochastic depth.
      last_batch: the running statistics of batch norm become those of these images.

    Returns:
      Logits [N, num_classes], the logits of auxiliary heads (none for most nets), and
      the new model state.
    """
    chosen = of_last_batch(model) if last_batch else contextlib.nullcontext(model)
    with chosen as net:
        logits, state = net.apply(
            {"params": params, **model_state},
            images,
            train=True,
            mutable=[*model_state, AUXILIARY],
            rngs={"dropout": key},
        )
    auxiliary = tuple(jax.tree.leaves(state.get(AUXILIARY, {})))
    return logits, auxiliary, {c: state[c] for c in model_state}


def forward_eval(
    model: nn.Module,
    params: Any,
    model_state: Any,
    images: jax.Array,
    batch_statistics: bool = False,
) -> jax.Array:
    """Forward pass that changes nothing: logits [N, num_classes].

    Args:
      model: the net.
      params: its parameters.
      model_state: its other collections.
      images: float [N, H, W, C].
      batch_statistics: batch norm uses the statistics of all these images instead of
        the running ones.
    """
    chosen = by_batch(model) if batch_statistics else contextlib.nullcontext(model)
    with chosen as net:
        variables = {"params": params, **model_state}
        logits: Any = net.apply(variables, images, train=False)
    return logits
