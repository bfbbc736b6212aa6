"""Many training steps as one pure function of one seed.

Where batches come from is a function `batches(data, seed, first_step, num_steps)` that
gives a function of i, the batch of step first_step + i.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from cnnjax.training.state import TrainState
from cnnjax.training.step import METRICS

# i -> {'images': uint8 [n, H, W, C], 'labels': int32 [n]}, of this shard of the batch.
BatchAt = Callable[[Any], dict[str, jax.Array]]


def over_batches(num: Any, batch_at: BatchAt, body: Callable, carry: Any) -> Any:
    """carry = body(i, batch_at(i), carry), for i from 0 to num - 1.

    The loop carries the batch of its next round, so that XLA cannot mix what comes out
    of a batch with how it was found: the bits do not depend on where it comes from.
    """

    def round(i, carried):
        carry, batch = carried
        return body(i, batch, carry), batch_at(jnp.minimum(i + 1, num - 1))

    return jax.lax.fori_loop(0, num, round, (carry, batch_at(0)))[0]


def make_train_chunk(
    step: Callable, batches: Callable[..., BatchAt], *, max_steps: int
) -> Callable[..., tuple[TrainState, Any]]:
    """Repeats a training step over the stream of shuffled examples.

    Args:
      step: of `make_train_step`.
      batches: where the batches come from.
      max_steps: largest number of steps of one call, and length of the metric rows.

    Returns:
      chunk(state, data, seed, num_steps, learning_rates, hyperparameters) -> (state,
      rows). `num_steps` may be traced, so one program serves every length;
      `learning_rates` [max_steps] has one a step; `hyperparameters` are those of the
      step. `rows` has the step's metrics with a leading axis [max_steps], zeros after
      the steps taken.
    """

    def chunk(state, data, seed, num_steps, learning_rates, hyperparameters):
        # Asking the step for its shapes would trace it twice, which takes seconds.
        zeros = jnp.zeros(max_steps, jnp.float32)
        rows = dict.fromkeys(METRICS, (zeros, zeros))

        def body(i, batch, carry):
            state, rows = carry
            of_seed = batch | {"seed": seed}
            state, metrics = step(state, of_seed, learning_rates[i], hyperparameters)
            rows = jax.tree.map(lambda row, m: row.at[i].set(m), rows, metrics)
            return state, rows

        batch_at = batches(data, seed, state.step, max_steps)
        return over_batches(num_steps, batch_at, body, (state, rows))

    return chunk
