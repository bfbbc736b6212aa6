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
from cnnjax.layers.functional.conv import convolution
from cnnjax.layers.functional.implementation import chosen, implementation
from cnnjax.layers.pool import avg_pool, max_pool
from cnnjax.models.registry import create_model
from cnnjax.net.forward import forward_train
from cnnjax.net.initialize import init_variables
from tests.slow import slow_but


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


@pytest.mark.slow
@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    groups=st.integers(1, 3),
    images=st.integers(2, 4),
    size=st.integers(1, 4),
    channels=st.integers(1, 4),
)
def test_batch_norm_of_any_shape(groups, images, size, channels):
    check_batch_norm(groups, images, size, channels)


@pytest.mark.parametrize("shape", [(1, 2, 1, 1), (3, 2, 3, 4)])
def test_batch_norm(shape):
    check_batch_norm(*shape)


def check_batch_norm(groups, images, size, channels):
    with jax.enable_x64(True):
        stream = np.random.RandomState(0)
        x = 3 + 2 * stream.randn(groups, images, size, size, channels)
        scale, bias = stream.randn(2, channels)
        check(lambda x, a, b: batch_normalize(x, a, b, 1e-5)[0], x, scale, bias)
        mean, var = batch_normalize(x, scale, bias, 1e-5)[1:]
        np.testing.assert_allclose(mean, x.mean((1, 2, 3), keepdims=True), atol=1e-12)
        np.testing.assert_allclose(var, x.var((1, 2, 3), keepdims=True), atol=1e-12)


def every_derivative(loss, args, along):
    """First to third derivatives, in each order of the two modes."""
    places = tuple(range(len(args)))

    def directional(function, *args):
        return jax.jvp(function, args, along)[1]

    forward = functools.partial(directional, loss)
    reverse = jax.grad(loss, places)

    def reverse_along(*args):
        pairs = zip(reverse(*args), along, strict=True)
        return sum((gradient * v).sum() for gradient, v in pairs)

    return {
        "forward": forward(*args),
        "reverse": reverse(*args),
        "forward over reverse": directional(reverse, *args),
        "reverse over forward": jax.grad(forward, places)(*args),
        "reverse over reverse": jax.grad(reverse_along, places)(*args),
        "forward over forward": directional(forward, *args),
        "third": jax.grad(functools.partial(directional, forward), places)(*args),
        "of examples": jax.vmap(reverse)(*[jnp.stack([a, 2 * a]) for a in args]),
        "one for all": jax.grad(
            lambda x, *rest: jax.vmap(loss, (0, *[None] * len(rest)))(
                jnp.stack([x, 1 - x]), *rest
            ).sum(),
            places,
        )(*args),
    }


def drawn(*shapes):
    stream = np.random.RandomState(0)
    return tuple(jnp.asarray(stream.randn(*shape)) for shape in shapes)


LOSSES = {
    "batch norm": (
        lambda x, a, b: jnp.sin(batch_normalize(x, a, b, 1e-3)[0]).sum(),
        ((2, 3, 2, 2, 3), (3,), (3,)),
    ),
    "max pool": (lambda x: jnp.sin(max_pool(x, 3, 2, 1)).sum(), ((2, 5, 4, 3),)),
    "convolution": (
        lambda x, w: jnp.sin(convolution(x, w, padding=1, strides=2)).sum(),
        ((2, 5, 6, 3), (3, 3, 3, 4)),
    ),
    "grouped": (
        lambda x, w: jnp.sin(convolution(x, w, groups=2)).sum(),
        ((2, 4, 4, 4), (2, 2, 2, 6)),
    ),
    "depthwise": (
        lambda x, w: jnp.sin(convolution(x, w, padding=1, groups=4)).sum(),
        ((2, 4, 4, 4), (3, 3, 1, 4)),
    ),
    "1x1": (
        lambda x, w: jnp.sin(convolution(x, w, strides=2)).sum(),
        ((2, 4, 4, 4), (1, 1, 4, 3)),
    ),
    "one value": (
        lambda x, w: jnp.sin(convolution(x, w)).sum(),
        ((2, 3, 3, 2), (3, 3, 2, 4)),
    ),
}


DEFAULT = ("batch norm", "max pool", "convolution")


@pytest.mark.parametrize("name", slow_but(DEFAULT, LOSSES))
def test_derivatives_in_both_modes_and_any_order(name):
    """By operations of our own, against those that JAX derives from plain ones."""
    loss, shapes = LOSSES[name]
    with jax.enable_x64(True):
        args, along = drawn(*shapes), drawn(*shapes[:1], *shapes[1:])

        @jax.jit
        def run(args, along):
            return every_derivative(loss, args, along)

        ours = run(args, along)
        with implementation("lax"):
            plain = run(args, along)
        jax.tree.map(
            functools.partial(np.testing.assert_allclose, rtol=1e-9, atol=1e-9),
            ours,
            plain,
        )


def test_hessian_vector_products_of_a_net():
    """Forward over reverse through a whole net, as a user gets it."""
    model = create_model("resnet20_cifar", depth=4, widths=(4,))
    variables = jax.tree.map(
        lambda leaf: jnp.asarray(leaf[0]), init_variables(model, (8, 8, 3), (0,))
    )
    params = variables.pop("params")
    images = jnp.asarray(np.random.RandomState(0).randn(4, 8, 8, 3), jnp.float32)

    def loss(params):
        logits, *_ = forward_train(model, params, variables, images, jax.random.key(0))
        return jnp.square(logits).mean()

    @jax.jit
    def product(params):
        return jax.jvp(jax.grad(loss), (params,), (params,))[1]

    ours = product(params)
    with implementation("lax"):
        plain = product(params)
    ours, plain = (
        jnp.concatenate([leaf.ravel() for leaf in jax.tree.leaves(tree)])
        for tree in (ours, plain)
    )
    assert jnp.linalg.norm(ours - plain) < 1e-4 * jnp.linalg.norm(plain)


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
