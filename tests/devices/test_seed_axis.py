"""Seeds trained together equal each seed trained alone."""

import dataclasses

import jax
import numpy as np
import pytest

from cnnjax.devices import parallel
from cnnjax.devices.available import is_accelerated
from cnnjax.devices.seed_axis import choose_seed_mode, over_seeds
from cnnjax.run.programs import compile_programs
from cnnjax.run.setup import initial_state
from tests.run.tiny import RESNET, tiny_run

NOISY = {"augment__crop_pad": 1, "augment__flip": True, "train__ema_decay": 0.9}
NUM_STEPS = 4


def small_run(mode, first, count):
    return tiny_run(
        "resnet20_cifar",
        RESNET,
        seeds__first=first,
        seeds__count=count,
        train__seed_mode=mode,
        **NOISY,
    )


def train(run, programs=None):
    start = initial_state(run)
    programs = programs or compile_programs(run, start)
    state, rows = programs.advance(parallel.to_device(start), 0, NUM_STEPS)
    state = parallel.to_host(state)
    weights = parallel.to_device((state.params, state.model_state))
    return state, rows, programs.evaluate(*weights, ("validation",))["validation"]


@pytest.fixture(scope="module")
def alone():
    """Seeds 3, 4 and 5; the program of one seed takes the seed as an argument."""
    runs = [small_run("loop", seed, 1) for seed in (3, 4, 5)]
    programs = compile_programs(runs[0], initial_state(runs[0]))
    return [
        train(run, dataclasses.replace(programs, seeds=np.array(run.seeds, np.int32)))
        for run in runs
    ]


def compare(compare_leaves, together, alone):
    state, rows, evaluations = together
    for i, (one_state, one_rows, one_evaluation) in enumerate(alone):
        pairs = (state, one_state), (rows, one_rows)
        for many, one in pairs:
            own = jax.tree.map(lambda leaf, i=i: leaf[i], many)
            jax.tree.map(compare_leaves, own, jax.tree.map(lambda leaf: leaf[0], one))
        for name, value in one_evaluation[0].items():
            compare_leaves(evaluations[i][name], value)


def test_one_after_another_is_bit_for_bit_alone(alone):
    compare(np.testing.assert_array_equal, train(small_run("loop", 3, 3)), alone)


def test_vectorised_is_alone_up_to_rounding(alone):
    """Grouped convolutions and batched products add in another order."""

    def close(a, b):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)

    compare(close, train(small_run("vmap", 3, 3)), alone)


def test_seeds_have_different_weights_and_different_data(alone):
    (a, rows_a, _), (b, rows_b, _), _ = alone
    assert np.abs(a.params["head"]["kernel"] - b.params["head"]["kernel"]).max() > 0.1
    assert rows_a["loss"][0][0, 0] != rows_b["loss"][0][0, 0]


def test_auto_loops_on_cpu_and_keeps_what_is_asked_for():
    assert choose_seed_mode("vmap") == "vmap"
    if not is_accelerated():
        assert choose_seed_mode("auto") == "loop"


@pytest.mark.parametrize("mode", ["loop", "vmap"])
def test_shared_arguments_are_not_mapped(mode):
    def function(own, shared, other):
        return own + shared.sum() * other

    run = over_seeds(function, (True, False, True), mode)
    own, other, shared = np.arange(3.0), np.array([1.0, 2.0, 4.0]), np.ones(5)
    np.testing.assert_array_equal(run(own, shared, other), own + 5 * other)
