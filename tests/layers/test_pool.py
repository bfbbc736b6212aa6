"""Pooling against torch, ties and partial windows included."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.layers.functional import windows
from cnnjax.layers.pool import (
    MAX_SLICES,
    AdaptiveAvgPool,
    AvgPool,
    GlobalAvgPool,
    MaxPool,
    adaptive_avg_pool,
    avg_pool,
    global_avg_pool,
    max_pool,
    pool_of,
)
from cnnjax.onednn import calls

WINDOWS = [(2, 2, 0), (2, 1, 1), (3, 2, 1), (3, 1, 1), (3, 3, 0), (5, 2, 2)]
POOLS = {
    "max": max_pool,
    "avg": avg_pool,
    "avg_inside": functools.partial(avg_pool, count_include_pad=False),
}


def tied_images(height, width):
    """Few distinct values, so that most windows have several maxima."""
    stream = np.random.RandomState(0)
    return stream.randint(-2, 1, (2, height, width, 3)).astype(np.float32)


def in_torch(kind, x, window, strides, padding, ceil_mode):
    """Values, and the gradient under a cotangent of 1, 2, 3, ..."""
    torch = pytest.importorskip("torch", reason="compares with torch")
    functions = torch.nn.functional
    images = torch.tensor(x).permute(0, 3, 1, 2).contiguous().requires_grad_()
    if kind == "max":
        y = functions.max_pool2d(images, window, strides, padding, ceil_mode=ceil_mode)
    else:
        y = functions.avg_pool2d(
            images, window, strides, padding, ceil_mode, kind == "avg"
        )
    y = y.permute(0, 2, 3, 1)
    y.backward(torch.arange(1.0, 1 + y.numel()).reshape(y.shape))
    return y.detach().numpy(), images.grad.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("kind", POOLS)
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("window", "strides", "padding"), WINDOWS)
def test_agrees_with_torch(kind, ceil_mode, window, strides, padding):
    x = tied_images(7, 8)
    y, gradient = in_torch(kind, x, window, strides, padding, ceil_mode)
    pool = functools.partial(
        POOLS[kind],
        window=window,
        strides=strides,
        padding=padding,
        ceil_mode=ceil_mode,
    )
    ours, pull_back = jax.vjp(jax.jit(pool), jnp.asarray(x))
    np.testing.assert_allclose(ours, y, rtol=1e-5, atol=1e-6)
    (of_x,) = pull_back(jnp.arange(1.0, 1 + y.size).reshape(y.shape))
    np.testing.assert_allclose(of_x, gradient, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("kind", ["max", "avg"])
@pytest.mark.parametrize(("window", "strides", "padding"), WINDOWS)
def test_gradients_of_onednn(kind, window, strides, padding, monkeypatch):
    """As for large maps: the same places where values tie, the same sums."""
    if not calls.available():
        pytest.skip("oneDNN is not installed")
    if window**2 > MAX_SLICES:
        pytest.skip("XLA computes large windows")
    monkeypatch.setattr(windows, "SMALLEST_WORK", 0)
    x = jnp.asarray(tied_images(9, 12))
    pool = functools.partial(POOLS[kind], window=window, strides=strides)
    ours = jax.vjp(lambda x: pool(x, padding=padding), x)[1]
    plain = jax.vjp(lambda x: pool(x, padding=padding, impl="xla"), x)[1]
    y = pool(x, padding=padding)
    moved = jax.random.normal(jax.random.key(0), y.shape)
    assert calls.TARGET in jax.jit(ours).lower(moved).as_text()
    assert calls.TARGET not in jax.jit(plain).lower(moved).as_text()
    np.testing.assert_allclose(ours(moved)[0], plain(moved)[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("kind", ["max", "avg"])
def test_second_derivatives_of_onednn(kind, monkeypatch):
    if not calls.available():
        pytest.skip("oneDNN is not installed")
    monkeypatch.setattr(windows, "SMALLEST_WORK", 0)
    x = jax.random.normal(jax.random.key(0), (1, 4, 4, 2))

    def curvature(impl):
        gradient = jax.grad(lambda x: (POOLS[kind](x, 2, 2, impl=impl) ** 3).sum())
        return jax.jvp(gradient, (x,), (x,))[1]

    np.testing.assert_allclose(curvature("auto"), curvature("xla"), rtol=1e-5)


@pytest.mark.parametrize("kind", POOLS)
def test_a_window_larger_than_the_map(kind):
    """Kept in ceil mode if it reaches over the end by less than a stride, as in torch.

    GoogLeNet's pools meet maps of 2 pixels on small images.
    """
    x = tied_images(2, 2)
    y, gradient = in_torch(kind, x, 3, 2, 0, True)
    assert y.shape == (2, 1, 1, 3)
    pool = functools.partial(POOLS[kind], window=3, strides=2, ceil_mode=True)
    ours, pull_back = jax.vjp(pool, jnp.asarray(x))
    np.testing.assert_allclose(ours, y, rtol=1e-6)
    (of_x,) = pull_back(jnp.arange(1.0, 1 + y.size).reshape(y.shape))
    np.testing.assert_allclose(of_x, gradient, rtol=1e-6)
    with pytest.raises(UserError, match="nothing is left"):
        pool(jnp.ones((1, 1, 1, 1)))


def test_ties_go_to_the_first():
    x = jnp.ones((1, 2, 2, 1))
    gradient = jax.grad(lambda x: max_pool(x, 2, 2).sum())(x)
    assert gradient.tolist() == [[[[1.0], [0.0]], [[0.0], [0.0]]]]


def test_uneven_padding():
    x = jnp.asarray(tied_images(5, 5))
    pads = ((1, 0), (0, 2))
    padded = jnp.pad(x, ((0, 0), *pads, (0, 0)), constant_values=-jnp.inf)
    np.testing.assert_array_equal(max_pool(x, 3, 2, pads), max_pool(padded, 3, 2))


@pytest.mark.parametrize("pool", [max_pool, avg_pool])
@pytest.mark.parametrize("window", [2, 4])
def test_keeps_the_type(pool, window):
    x = jnp.asarray(tied_images(6, 6), jnp.bfloat16)
    y, pull_back = jax.vjp(lambda x: pool(x, window, 2), x)
    assert y.dtype == pull_back(y)[0].dtype == jnp.bfloat16


def test_max_pool_under_vmap_and_scan():
    x = jnp.asarray(np.random.RandomState(0).randn(3, 2, 6, 6, 4), jnp.float32)
    gradient = jax.grad(lambda x: jnp.square(max_pool(x, 3, 2, 1)).sum())
    expected = np.stack([jax.jit(gradient)(one) for one in x])
    np.testing.assert_allclose(jax.jit(jax.vmap(gradient))(x), expected, rtol=1e-6)
    np.testing.assert_allclose(jax.lax.map(gradient, x), expected, rtol=1e-6)


def test_global_average():
    x = tied_images(4, 5)
    np.testing.assert_allclose(global_avg_pool(x), x.mean((1, 2)), atol=1e-6)


# Grids that divide the map of 7 x 8, that do not, that repeat rows, of one position.
@pytest.mark.parametrize("size", [(7, 4), (3, 5), (9, 8), (1, 1)])
def test_adaptive_average_agrees_with_torch(size):
    torch = pytest.importorskip("torch", reason="compares with torch")
    x = np.random.RandomState(0).standard_normal((2, 7, 8, 3)).astype(np.float32)
    images = torch.tensor(x).permute(0, 3, 1, 2).requires_grad_()
    theirs = torch.nn.functional.adaptive_avg_pool2d(images, size).permute(0, 2, 3, 1)
    cotangent = np.arange(1.0, 1 + theirs.numel(), dtype=np.float32)
    cotangent = cotangent.reshape(theirs.shape)
    theirs.backward(torch.tensor(cotangent))

    @jax.jit
    def value_and_gradient(x, cotangent):
        y, pull_back = jax.vjp(lambda x: adaptive_avg_pool(x, size), x)
        return y, pull_back(cotangent)[0]

    ours, of_x = value_and_gradient(x, cotangent)
    np.testing.assert_allclose(ours, theirs.detach(), rtol=1e-5, atol=1e-6)
    gradient = images.grad.permute(0, 2, 3, 1)
    np.testing.assert_allclose(of_x, gradient, rtol=1e-5, atol=1e-4)


def test_adaptive_average_over_a_grid_that_divides_is_an_average():
    x = jnp.asarray(tied_images(6, 8))
    expected = avg_pool(x, (2, 4), (2, 4))
    np.testing.assert_allclose(adaptive_avg_pool(x, (3, 2)), expected, atol=1e-6)


class Pools(nn.Module):
    """The pools as children with names, as in a net."""

    @nn.compact
    def __call__(self, x):
        return {
            "max": MaxPool(3, 2, 1, ceil_mode=True, name="max")(x),
            "avg": AvgPool(3, 2, 1, False, name="avg")(x),
            "global": GlobalAvgPool(name="global")(x),
            "adaptive": AdaptiveAvgPool((3, 2), name="adaptive")(x),
        }


def test_modules_are_the_functions():
    x = jnp.asarray(tied_images(7, 8))
    expected = {
        "max": max_pool(x, 3, 2, 1, ceil_mode=True),
        "avg": avg_pool(x, 3, 2, 1, count_include_pad=False),
        "global": global_avg_pool(x),
        "adaptive": adaptive_avg_pool(x, (3, 2)),
    }
    jax.tree.map(np.testing.assert_array_equal, Pools().apply({}, x), expected)


def test_a_module_is_named_where_its_map_vanishes():
    with pytest.raises(UserError, match=r"^avg: nothing is left of a 0x9"):
        jax.eval_shape(lambda x: Pools().apply({}, x), jnp.ones((1, 0, 9, 1)))


def test_pools_by_name():
    assert pool_of("max") is MaxPool
    assert pool_of("avg") is AvgPool
    with pytest.raises(UserError, match=r"did you mean 'max'\?.*config.model.pool"):
        pool_of("mx")


def test_vanishing_output_is_a_sentence():
    with pytest.raises(UserError, match="max_pool: nothing is left of a 1x4 map"):
        max_pool(jnp.ones((1, 1, 4, 1)), 2, 2)
