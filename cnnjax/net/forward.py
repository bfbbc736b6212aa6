"""The two forward passes of a net: in training and in evaluation.

Nothing else calls `model.apply`.
"""

import contextlib
from typing import Any

import jax
from flax import linen as nn

from cnnjax.layers.auxiliary import AUXILIARY
from cnnjax.net.eval_statistics import by_batch, of_last_batch
from cnnjax.net.held import catching_features, holding, marked


def forward_train(
    model: nn.Module,
    params: Any,
    model_state: Any,
    images: jax.Array,
    key: jax.Array,
    last_batch: bool = False,
    stays: tuple[str, ...] = (),
    features: jax.Array | None = None,
) -> tuple[jax.Array, tuple[jax.Array, ...], Any]:
    """Forward pass of training, which updates the running statistics.

    Args:
      model: the net.
      params: its parameters.
      model_state: its other collections.
      images: float [N, H, W, C].
      key: random key for dropout and stochastic depth.
      last_batch: the running statistics of batch norm become those of these images.
      stays: batch norms (`held.statistics_paths`) that normalize by their running
        statistics, and leave them.
      features: what the head is given, in place of what the net computes of the images.

    Returns:
      Logits [N, num_classes], the logits of auxiliary heads (none for most nets), and
      the new model state.
    """
    chosen = of_last_batch(model) if last_batch else contextlib.nullcontext(model)
    with chosen as net, holding(stays, features):
        logits, state = net.apply(
            {"params": params, **model_state, **marked(model_state, stays)},
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
    features: jax.Array | None = None,
) -> jax.Array:
    """Forward pass that changes nothing: logits [N, num_classes].

    Args:
      model: the net.
      params: its parameters.
      model_state: its other collections.
      images: float [N, H, W, C].
      batch_statistics: batch norm uses the statistics of all these images instead of
        the running ones.
      features: as of `forward_train`.
    """
    chosen = by_batch(model) if batch_statistics else contextlib.nullcontext(model)
    with chosen as net, holding((), features):
        variables = {"params": params, **model_state}
        logits: Any = net.apply(variables, images, train=False)
    return logits


def features_of(
    model: nn.Module, params: Any, model_state: Any, images: jax.Array
) -> jax.Array:
    """What the head is given in evaluation: [N, ...].

    Args:
      model: a net with a child `head`.
      params: its parameters.
      model_state: its other collections.
      images: float [N, H, W, C].
    """
    found: list[jax.Array] = []
    with catching_features(found):
        forward_eval(model, params, model_state, images)
    return found[0]
