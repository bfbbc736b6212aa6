"""What saves memory saves it, and changes nothing else."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.analysis.complexity import equations
from cnnjax.net.forward import forward_train
from cnnjax.run.programs import compile_programs, memory
from cnnjax.run.setup import initial_state
from tests.run.laid_out import assert_close, cached, train
from tests.run.tiny import RESNET, tiny_run
from tests.slow import slow

DEEP = {"depth": 20, "widths": (4, 4, 4)}


def net_run(arguments=None, **changes):
    return tiny_run("resnet20_cifar", arguments or RESNET, **changes)


def deep_run(**arguments):
    return net_run(
        DEEP | arguments,
        data__image_size=16,
        train__batch_size=24,
        seeds__count=1,
    )


@functools.cache
def temporary_bytes(**arguments):
    return memory(deep_run(**arguments))["train"]["temporary"]


@pytest.mark.slow
def test_rematerialisation_saves_temporary_memory():
    """Of a net written out, where XLA on CPU needs to be told."""
    assert temporary_bytes(remat="block") < 0.8 * temporary_bytes(remat="none")


@pytest.mark.slow
def test_microbatches_save_temporary_memory():
    kind = {"norm__kind": "layer", "train__batch_size": 24, "data__image_size": 16}
    whole, divided = (
        memory(net_run(train__microbatches=num, **kind))["train"]["temporary"]
        for num in (1, 4)
    )
    assert divided < 0.5 * whole


def test_the_state_is_handed_over_to_the_program():
    run = net_run()
    programs = compile_programs(run, initial_state(run))
    state = run.parallel.put(initial_state(run))
    programs.advance(state, 0, 1)
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state))


def test_bfloat16_computes_with_parameters_and_statistics_in_float32():
    run = net_run(train__dtype="bfloat16")
    state, rows = train(run)
    kinds = {leaf.dtype for leaf in jax.tree.leaves(state.replace(step=None))}
    assert kinds == {jnp.dtype("float32")}
    one = jax.tree.map(lambda leaf: leaf[0], state)
    images = np.zeros((2, 4, 4, 3), np.float32)
    traced = jax.make_jaxpr(
        lambda: forward_train(
            run.model, one.params, one.model_state, images, jax.random.key(0)
        )
    )()
    products = [
        equation.outvars[0].aval.dtype
        for equation, _ in equations(traced.jaxpr)
        if equation.primitive.name in ("conv_general_dilated", "dot_general")
    ]
    assert set(products) == {jnp.dtype("bfloat16")}
    # bfloat16 has eight bits: a relative error of 1/256 in each product.
    losses = rows["loss"][0], cached(net_run)[1]["loss"][0]
    np.testing.assert_allclose(*losses, rtol=0.1)
    assert np.abs(losses[0] - losses[1]).max() > 0


@pytest.mark.parametrize("mode", [slow("jit"), "shard_map"])
def test_bfloat16_over_devices(mode):
    laid_out = net_run(
        train__dtype="bfloat16", parallel__mode=mode, parallel__layout="data=4"
    )
    assert_close(
        train(laid_out)[1]["loss"],
        cached(net_run)[1]["loss"],
        rtol=0.1,
    )
