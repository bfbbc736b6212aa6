"""The implementations against each other: pools, batch norm, and nets as a whole."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnnjax.errors import UserError
from cnnjax.layers.functional.batch_norm import batch_normalize
from cnnjax.layers.functional.implementation import chosen, implementation
from cnnjax.layers.pool import avg_pool, max_pool
from cnnjax.models.registry import create_model
from cnnjax.net.forward import forward_train
from cnnjax.net.initialize import init_variables


def check(function, *arrays):
    """Values and gradients of 'auto' equal those of 'lax' in float64."""

    def both(impl, *arrays):
        with implementation(impl):
            out, pull_back = jax.vjp(function, *arrays)
        stream = np.random.RandomState(1)
        return out, pull_back(jax.tree.map(lambda y: stream.randn(*y.shape), out))

    for ours, theirs in zip(
        *(
            jax.tree.leaves(jax.jit(functools.partial(both, impl))(*arrays))
            for impl in ("auto", "lax")
        ),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-12, atol=1e-12)


pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
pads = st.tuples(st.integers(0, 1), st.integers(0, 1))


@pytest.mark.slow
@pytest.mark.parametrize("pool", [max_pool, avg_pool])
@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    size=st.tuples(st.integers(3, 8), st.integers(3, 8)),
    window=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=pair,
    padding=st.tuples(pads, pads),
    ceil_mode=st.booleans(),
)
def test_pools(pool, size, window, strides, padding, ceil_mode):
    for axis in (0, 1):
        # torch, too, wants some of the image under each window.
        assume(2 * max(padding[axis]) <= window[axis])
        assume(size[axis] + sum(padding[axis]) >= window[axis])
    with jax.enable_x64(True):
        x = np.random.RandomState(0).permutation(3 * 2 * size[0] * size[1])
        x = jnp.asarray(x.reshape(2, *size, 3), jnp.float64)
        check(lambda x: pool(x, window, strides, padding, ceil_mode=ceil_mode), x)


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    groups=st.integers(1, 3),
    images=st.integers(2, 4),
    size=st.integers(1, 4),
    channels=st.integers(1, 4),
)
def test_batch_norm(groups, images, size, channels):
    with jax.enable_x64(True):
        stream = np.random.RandomState(0)
        x = 3 + 2 * stream.randn(groups, images, size, size, channels)
        scale, bias = stream.randn(2, channels)
        check(lambda x, a, b: batch_normalize(x, a, b, 1e-5)[0], x, scale, bias)
        mean, var = batch_normalize(x, scale, bias, 1e-5)[1:]
        np.testing.assert_allclose(mean, x.mean((1, 2, 3), keepdims=True), atol=1e-12)
        np.testing.assert_allclose(var, x.var((1, 2, 3), keepdims=True), atol=1e-12)


@pytest.mark.slow
def test_hessian_vector_products_of_a_net():
    """Forward over reverse, which the fast implementations forbid."""
    model = create_model("resnet20_cifar", depth=8, widths=(4, 8, 8))
    variables = jax.tree.map(
        lambda leaf: jnp.asarray(leaf[0]), init_variables(model, (8, 8, 3), (0,))
    )
    params = variables.pop("params")
    images = jnp.asarray(np.random.RandomState(0).randn(4, 8, 8, 3), jnp.float32)

    def loss(params):
        logits, *_ = forward_train(model, params, variables, images, jax.random.key(0))
        return jnp.square(logits).mean()

    def product(params):
        return jax.jvp(jax.grad(loss), (params,), (params,))[1]

    with pytest.raises(TypeError, match="custom_vjp"):
        jax.jit(product)(params)
    with implementation("lax"):
        ours = jax.jit(product)(params)
        gradient = jax.jit(jax.grad(loss))
        ahead = gradient(jax.tree.map(lambda leaf: 1.01 * leaf, params))
        behind = gradient(jax.tree.map(lambda leaf: 0.99 * leaf, params))
    difference = (ahead["head"]["bias"] - behind["head"]["bias"]) / 0.02
    np.testing.assert_allclose(ours["head"]["bias"], difference, rtol=0.05, atol=1e-3)


def test_it_holds_within_the_block_only():
    with implementation("lax"):
        assert chosen() == "lax"
        with implementation("xla"):
            assert chosen() == "xla"
            assert chosen("auto") == "auto"
        assert chosen() == "lax"
    assert chosen() == "auto"


def test_unknown_name():
    with pytest.raises(UserError, match="allowed are auto, lax, xla"):
        chosen("fast")
