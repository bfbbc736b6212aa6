"""The state of a training run, and its named random streams."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

# One number a stream: adding a stream never moves the others.
STREAMS = {"shuffle": 0, "augment": 1, "dropout": 2}


class TrainState(struct.PyTreeNode):
    """Everything that changes from step to step; arrays only.

    Args:
      step: int32, number of optimizer steps taken.
      params: trainable values.
      model_state: all other collections of the net, {} if it has none.
      opt_state: state of the optax transformation.
      ema: moving averages {'params': ..., 'model_state': ...}, or None.
    """

    step: jax.Array
    params: Any
    model_state: Any
    opt_state: Any
    ema: Any


def weights_of(state: TrainState, weights: str) -> tuple[Any, Any]:
    """(params, model_state) that belong together: what a net is evaluated with.

    Args:
      state: of a run.
      weights: 'raw', or 'ema' for the moving averages, which the state must have.
    """
    if weights == "ema":
        return state.ema["params"], state.ema["model_state"]
    return state.params, state.model_state


def stream_key(seed: jax.Array, stream: str, step: jax.Array | None = None):
    """Random key of a stream, for one step or for the whole run.

    Args:
      seed: integer, may be traced.
      stream: a key of `STREAMS`.
      step: the step whose key is wanted; None for streams that count by themselves.
    """
    key = jax.random.fold_in(jax.random.key(seed), STREAMS[stream])
    return key if step is None else jax.random.fold_in(key, step)


def improved_weights(improved: jax.Array, new: Any, best: Any) -> Any:
    """The new weights of a seed if it improved, else the best so far."""
    return jax.tree.map(lambda a, b: jnp.where(improved, a, b), new, best)
