"""Order of examples: once per epoch, whatever the batch, chunk or point of resuming."""

import jax
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cnnjax.data.order import batch_indices, chunk_indices, eval_batches
from cnnjax.errors import UserError
from tests.slow import slow_but

KEY = jax.random.key(5)
# (batch size, number of examples): batch smaller, larger, equal, a divisor, coprime.
SIZES = [(4, 10), (7, 3), (5, 5), (3, 12), (1, 1)]

# One program for every first step, as training has it.
chunk = jax.jit(chunk_indices, static_argnums=(2, 3, 4))
batch = jax.jit(batch_indices, static_argnums=(2, 3))


@pytest.mark.parametrize("size", slow_but(SIZES[:2], SIZES))
def test_order(size):
    batch_size, num_examples = size
    num_steps = -(-4 * num_examples // batch_size)
    want = np.stack([batch(KEY, step, *size) for step in range(num_steps)])
    assert want.dtype == np.int32

    # Every example exactly once per epoch.
    for epoch in want.ravel()[: 4 * num_examples].reshape(4, num_examples):
        assert sorted(epoch) == list(range(num_examples))

    # The chunk does not matter, nor where it starts.
    np.testing.assert_array_equal(chunk(KEY, 0, num_steps, *size), want)
    for first in range(num_steps - 2):
        np.testing.assert_array_equal(
            chunk(KEY, first, 3, *size), want[first : first + 3]
        )


def test_keys_and_epochs_differ():
    epochs = np.asarray(chunk(KEY, 0, 2, 50, 50))
    assert (epochs[0] != epochs[1]).any()
    assert (epochs != np.asarray(chunk(jax.random.key(6), 0, 2, 50, 50))).any()


def test_x64_mode_gives_the_same_order():
    want = np.asarray(chunk(KEY, 3, 2, 50, 70))
    with jax.enable_x64(True):
        got = np.asarray(chunk(KEY, 3, 2, 50, 70))
    assert got.dtype == np.int32
    np.testing.assert_array_equal(got, want)


def test_many_keys_at_once():
    keys = jax.random.split(KEY, 3)
    stacked = jax.vmap(lambda key: chunk(key, 2, 2, 50, 50))(keys)
    mapped = jax.lax.map(lambda key: chunk(key, 2, 2, 50, 50), keys)
    alone = np.stack([chunk(key, 2, 2, 50, 50) for key in keys])
    np.testing.assert_array_equal(stacked, alone)
    np.testing.assert_array_equal(mapped, alone)


def test_positions_do_not_overflow():
    """Step 2**30 of batch 128 is far beyond 32 bits of images."""
    step, batch_size, num_examples = 2**30, 128, 1000
    epoch, start = divmod(step * batch_size, num_examples)
    orders = [
        jax.random.permutation(jax.random.fold_in(KEY, epoch + e), num_examples)
        for e in range(2)
    ]
    want = np.concatenate(orders)[start : start + batch_size]
    np.testing.assert_array_equal(batch(KEY, step, batch_size, num_examples), want)


def test_more_than_32_bits_is_refused():
    with pytest.raises(UserError, match=r"1281167 examples in batches of 4096"):
        batch_indices(KEY, 0, 4096, 1_281_167)


@given(st.integers(0, 40), st.integers(1, 12))
@settings(max_examples=40, deadline=None)
def test_evaluation_counts_every_example_once(num_examples, batch_size):
    indices, mask = eval_batches(num_examples, batch_size)
    assert indices.shape == mask.shape == (-(-num_examples // batch_size), batch_size)
    assert indices.dtype == np.int32
    assert mask.dtype == np.float32
    assert sorted(indices[mask == 1]) == list(range(num_examples))
    assert mask.sum() == num_examples
    assert (indices >= 0).all()
