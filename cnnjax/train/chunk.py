"""Many training steps on resident data as one pure function of one seed."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from cnnjax.batch import part
from cnnjax.data.resident import chunk_indices
from cnnjax.train.state import TrainState, stream_key
from cnnjax.train.step import METRICS


def make_train_chunk(
    step: Callable, *, batch_size: int, num_train: int, max_steps: int
) -> Callable[..., tuple[TrainState, Any]]:
    """Repeats a training step over the stream of shuffled examples.

    Args:
      step: of `make_train_step`.
      batch_size: images a step.
      num_train: training images; they come first in the resident data.
      max_steps: largest number of steps of one call, and length of the metric rows.

    Returns:
      chunk(state, data, seed, num_steps, rates, factors) -> (state, rows). `num_steps`
      may be traced, so one program serves every length; `rates` [max_steps] are the
      learning rates of the steps, and `factors` are as in the step. `rows` has the
      step's metrics with a leading axis [max_steps], zeros behind the steps taken.
    """

    def chunk(state, data, seed, num_steps, rates, factors):
        indices = chunk_indices(
            stream_key(seed, "shuffle"), state.step, max_steps, batch_size, num_train
        )

        def batch(i):
            chosen = part().own(indices[i])
            return {
                "images": data["images"][chosen],
                "labels": data["labels"][chosen],
                "seed": seed,
            }

        # Not by asking the step for its shapes: tracing it twice takes its time.
        zeros = jnp.zeros(max_steps, jnp.float32)
        rows = dict.fromkeys(METRICS, (zeros, zeros))

        def body(i, carry):
            state, rows = carry
            state, metrics = step(state, batch(i), rates[i], factors)
            rows = jax.tree.map(lambda row, m: row.at[i].set(m), rows, metrics)
            return state, rows

        return jax.lax.fori_loop(0, num_steps, body, (state, rows))

    return chunk
