"""Order of examples for data that lives on the device, as pure functions of the step.

Position p of the endless stream of examples is `permutation(epoch)[p % N]` with
epoch = p // N; step s takes positions s * B to (s + 1) * B - 1. So every step has a
full batch, every example is seen once per epoch, batches run on across epoch ends, and
the step number alone determines the data: to resume is to count on.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.errors import UserError

MAX_POSITION = 2**31 - 1  # positions are int32 on the device


def chunk_indices(
    key: jax.Array,
    first_step: jax.Array,
    num_steps: int,
    batch_size: int,
    num_examples: int,
) -> jax.Array:
    """Indices of the examples of several steps in a row.

    The permutation of an epoch is drawn once for each epoch that the chunk can touch,
    not once a step. May be traced with `key` and `first_step` abstract.

    Args:
      key: key of the stream of the data order.
      first_step: number of the first step, int32 scalar, 0 or more.
      num_steps: steps in the chunk, at least 1.
      batch_size: examples a step, at least 1; may exceed `num_examples`.
      num_examples: N, at least 1.

    Returns:
      int32 [num_steps, batch_size].

    Raises:
      UserError: N and the batch size are too large for the data to be resident.
    """
    # Steps after which batches and epochs end together; positions are counted from the
    # last such meeting, so that they never overflow, however long the training.
    steps = num_examples // math.gcd(num_examples, batch_size)
    epochs = steps * batch_size // num_examples
    span = num_steps * batch_size
    if steps * batch_size + span > MAX_POSITION:
        raise UserError(
            f"{num_examples} examples in batches of {batch_size} cannot be counted in "
            "32 bits: choose a batch size (config.train.batch_size) that shares a "
            "factor with config.data.num_train"
        )
    first_step = jnp.asarray(first_step, jnp.int32)
    start = first_step % steps * batch_size
    epoch = first_step // steps * epochs + start // num_examples
    # Starting at the last image of an epoch touches the most epochs.
    touched = (span + num_examples - 2) // num_examples + 1

    def order(epoch: jax.Array) -> jax.Array:
        return jax.random.permutation(jax.random.fold_in(key, epoch), num_examples)

    # A mapped body compiles once, however many epochs there are.
    orders = jax.lax.map(order, epoch + jnp.arange(touched, dtype=jnp.int32))
    stream = orders.astype(jnp.int32).reshape(-1)  # [touched * N]
    indices = jax.lax.dynamic_slice(stream, (start % num_examples,), (span,))
    return indices.reshape(num_steps, batch_size)


def batch_indices(
    key: jax.Array, step: jax.Array, batch_size: int, num_examples: int
) -> jax.Array:
    """Indices of the examples of one step, int32 [batch_size]; see `chunk_indices`."""
    return chunk_indices(key, step, 1, batch_size, num_examples)[0]


def eval_batches(num_examples: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Batches that cover every example exactly once.

    Args:
      num_examples: N, 0 or more.
      batch_size: B, at least 1.

    Returns:
      Indices int32 and mask float32; the last batch is filled up from index 0 on, at
      mask 0.

    Shapes:
      both [ceil(N / B), B].
    """
    num_batches = -(-num_examples // batch_size)
    places = np.arange(num_batches * batch_size, dtype=np.int32)
    mask = (places < num_examples).astype(np.float32)
    indices = places % max(num_examples, 1)
    shape = (num_batches, batch_size)
    return indices.reshape(shape), mask.reshape(shape)
