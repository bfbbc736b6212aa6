"""Trains a small run under a layout of devices, for comparison with one device."""

import functools

import jax
import numpy as np

from cnnjax.devices.layout import DATA, HOST, SEEDS
from cnnjax.run.delivery import resident_batches, resident_data, resident_shapes
from cnnjax.run.setup import initial_state
from cnnjax.training.chunk import make_train_chunk
from cnnjax.training.step import make_train_step

MODES = ("jit", "shard_map", "pmap")
NUM_STEPS = 20
# Sums of some hundred to some ten thousand float32 terms in another order differ by
# about 1e-6 of their size (eps is 1.2e-7), and twenty steps of these nets let that grow
# a few times; other statistics of a batch norm make differences above 1e-2.
CLOSE = {"rtol": 1e-3, "atol": 1e-4}


def train(run):
    """State and rows after `NUM_STEPS` steps, on the host, for all seeds."""
    start, seeds = initial_state(run), np.array(run.seeds, np.int32)
    rates = run.schedule(np.arange(NUM_STEPS)).astype(np.float32)
    chunk = make_train_chunk(
        make_train_step(
            run.model, run.optimizer, run.augment.train, run.train.microbatches
        ),
        resident_batches(run.train.batch_size, len(run.dataset.train)),
        max_steps=NUM_STEPS,
    )
    program = run.parallel.compile(
        chunk,
        (SEEDS, DATA, SEEDS, HOST, HOST, HOST),
        (
            start,
            resident_shapes(run.dataset),
            seeds,
            np.int32(1),
            rates,
            run.hyperparameters,
        ),
        donate=(0,),
        results=(0, None),
    )
    put = run.parallel.put
    placed = put(start), put(resident_data(run.dataset), DATA), put(seeds)
    state, rows = program(*placed, np.int32(NUM_STEPS), rates, run.hyperparameters)
    return run.parallel.to_host(state), run.parallel.to_host(rows)


@functools.cache
def cached(make_run, *arguments):
    """`train` of a run that several tests compare with."""
    return train(make_run(*arguments))


def assert_close(a, b, **tolerance):
    tolerance = tolerance or CLOSE

    def close(path, x, y):
        np.testing.assert_allclose(
            x, y, **tolerance, err_msg=jax.tree_util.keystr(path)
        )

    jax.tree_util.tree_map_with_path(close, a, b)


def assert_equal(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def largest_difference(a, b):
    differences = jax.tree.map(lambda x, y: np.abs(x - y).max(), a, b)
    return max(jax.tree.leaves(differences))
