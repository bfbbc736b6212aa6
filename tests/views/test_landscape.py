"""Landscapes: directions by hand, surfaces by single points, a dense Hessian."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from cnnjax.models.registry import create_model
from cnnjax.net.stacked import unscan
from cnnjax.views.curvature import first_vector, largest_eigenvalue, sharpness
from cnnjax.views.landscape import (
    around,
    directions,
    loss_and_errors,
    projected,
    surface,
)
from tests.models.entries import one_seed
from tests.slow import slow

SHAPE = (6, 6, 1)
STREAM = np.random.RandomState(0)
IMAGES = STREAM.standard_normal((10, *SHAPE))
LABELS = STREAM.randint(0, 3, 10)
SMALL = {"depth": 8, "widths": (2, 2, 2), "num_classes": 3}


def small_net():
    """In float64, with blocks, a projection and batch norm."""
    net = create_model("resnet20_cifar", dtype="float64", scan_blocks=False, **SMALL)
    variables = one_seed(net, SHAPE)
    return net, jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables)


def small_mlp():
    """The same of two dense layers."""
    net = create_model("mlp", widths=(3,), num_classes=3, act="gelu", dtype="float64")
    variables = one_seed(net, SHAPE)
    return net, jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), variables)


def test_directions_have_the_norm_of_each_filter():
    with jax.enable_x64(True):
        _, variables = small_net()
    first, second = directions(variables["params"], seed=3)
    for leaf, one, other in zip(
        *map(jax.tree.leaves, (variables["params"], first, second)), strict=True
    ):
        if leaf.ndim < 2:
            assert not one.any()
            continue
        axes = tuple(range(leaf.ndim - 1))
        for drawn in (one, other):
            np.testing.assert_allclose(
                (drawn**2).sum(axes), (leaf**2).sum(axes), rtol=1e-12
            )
        assert np.abs(one - other).max() > 0
    again = directions(variables["params"], seed=3)[0]
    jax.tree.map(np.testing.assert_array_equal, first, again)


def test_points_of_a_surface_are_losses_of_moved_weights():
    with jax.enable_x64(True):
        net, variables = small_net()
        params, state = variables["params"], {"batch_stats": variables["batch_stats"]}
        along = directions(params, 0)
        xs, ys = np.array([-0.5, 0.0, 0.7]), np.array([0.0, 0.3])
        x = jnp.asarray(IMAGES)
        found = surface(around(net, variables, x, LABELS, along), xs, ys)
        moved = jax.tree.map(lambda p, a, b: p + 0.7 * a + 0.3 * b, params, *along)
        one = jax.jit(lambda p: loss_and_errors(net, p, state, x, LABELS))
        loss, error = one(moved)
        middle, _ = one(params)
    assert found.losses.shape == found.errors.shape == (2, 3)
    assert found.losses[1, 2] == pytest.approx(float(loss), rel=1e-10)
    assert found.errors[1, 2] == pytest.approx(100 * float(error))
    assert found.losses[0, 1] == pytest.approx(float(middle), rel=1e-10)
    there = projected(moved, params, along)
    np.testing.assert_allclose(there, [0.7, 0.3], rtol=1e-10)


def in_lengths_of_filters(params):
    """One number for each weight: the norm of its filter; 0 without a filter."""

    def of_leaf(leaf):
        if leaf.ndim < 2:
            return np.zeros(leaf.shape)
        columns = leaf.reshape(-1, leaf.shape[-1])
        norms = [np.linalg.norm(column) for column in columns.T]
        return np.tile(norms, (len(columns), 1)).reshape(leaf.shape)

    return np.asarray(ravel_pytree(jax.tree.map(of_leaf, params))[0])


@pytest.mark.parametrize("kind", [small_mlp, slow(small_net)])
def test_the_largest_eigenvalue_is_that_of_the_dense_hessian(kind):
    with jax.enable_x64(True):
        net, variables = kind()
        state = {c: tree for c, tree in variables.items() if c != "params"}
        flat, back = ravel_pytree(variables["params"])
        x = jnp.asarray(IMAGES)

        def loss(flat):
            return loss_and_errors(net, back(flat), state, x, LABELS)[0]

        dense = np.asarray(jax.jit(jax.jacrev(jax.grad(loss)))(flat))
        options = {"most": 120, "tolerance": 1e-7}
        found = [
            sharpness(net, variables, x, LABELS, by_filter=by_filter, **options)
            for by_filter in (False, True)
        ]
    lengths = in_lengths_of_filters(variables["params"])
    by_filter = lengths * dense * lengths[:, None]
    for hessian, of in zip((dense, by_filter), found, strict=True):
        values = np.linalg.eigvalsh((hessian + hessian.T) / 2)
        assert values[0] < 0 < values[-1]
        assert of.value == pytest.approx(values[-1], rel=1e-6)
        assert of.residual <= 1e-6 * abs(values[0] - values[-1])


NEAR_ZERO = np.random.default_rng(0).uniform(-0.1, 0.1, 200)


@pytest.mark.parametrize(
    "values",
    [
        [-2.0, -1.0, -0.001],
        [3.0, 1.0, -0.5],
        [5.0, -5.0],
        [-100.0, 0.5, *NEAR_ZERO],
        [2.0],
    ],
    ids=lambda values: str(values[:2]),
)
def test_negative_eigenvalues_of_larger_size_do_not_disturb(values):
    bends = jnp.asarray(values)
    value, residual, products = jax.jit(
        lambda start: largest_eigenvalue(
            lambda w: 0.5 * (bends * w**2).sum(), jnp.zeros(len(bends)), start
        )
    )(first_vector(jnp.zeros(len(bends), np.float32), 0))
    assert value == pytest.approx(max(values), rel=2e-3)
    assert residual <= 1e-3 * abs(value)
    assert products < 60


@pytest.mark.slow
def test_stacked_blocks_have_the_landscape_of_separate_ones():
    net = create_model("resnet20_cifar", scan_blocks=True, depth=20, widths=(2, 2, 2))
    variables = one_seed(net, SHAPE)
    plain, separate = unscan(net, variables, SHAPE)
    along = directions(separate["params"], 0, 1)
    given = jnp.asarray(IMAGES, jnp.float32), LABELS, along
    ours, theirs = (
        surface(around(*pair, *given), np.array([0.0, 0.5])).losses
        for pair in ((net, variables), (plain, separate))
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)
