"""Dropout and stochastic depth: rates, expectation, streams."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.errors import UserError
from cnnjax.layers.dropout import Dropout, StochasticDepth

LAYERS = [Dropout, StochasticDepth]


def apply(layer, x, train=True, seed=0):
    return layer.apply({}, x, train=train, rngs={"dropout": jax.random.key(seed)})


@pytest.mark.parametrize("layer", LAYERS)
def test_evaluation_changes_nothing_and_needs_no_stream(layer):
    x = jnp.ones((2, 3, 3, 2))
    np.testing.assert_array_equal(layer(0.5).apply({}, x, train=False), x)
    np.testing.assert_array_equal(layer(0.0).apply({}, x, train=True), x)


@pytest.mark.parametrize("layer", LAYERS)
def test_rate_and_expectation(layer):
    x = jnp.ones((4000, 1, 1, 1))
    y = apply(layer(0.3), x)
    np.testing.assert_allclose(np.unique(y), [0.0, 1 / 0.7], rtol=1e-6)
    # Five standard deviations of a mean of 4000 coins.
    assert abs(float(y.mean()) - 1.0) < 5 * np.sqrt(0.3 / 0.7 / 4000)


@pytest.mark.parametrize("layer", LAYERS)
def test_certain_drop_is_zero_and_keeps_the_type(layer):
    y = apply(layer(1.0), jnp.ones((2, 1, 1, 3), jnp.bfloat16))
    assert y.dtype == jnp.bfloat16
    assert not y.any()
    assert apply(layer(0.5), jnp.ones((2, 1, 1, 3), jnp.bfloat16)).dtype == jnp.bfloat16


@pytest.mark.parametrize(("per", "num_coins"), [("example", 64), ("batch", 1)])
def test_stochastic_depth_drops_whole_branches(per, num_coins):
    seen = set()
    for seed in range(8):
        y = apply(StochasticDepth(0.5, per), jnp.ones((64, 2, 2, 3)), seed=seed)
        assert all(len(np.unique(branch)) == 1 for branch in y)
        seen.add(len(np.unique(y)))
    assert seen == ({1} if num_coins == 1 else {2})


@pytest.mark.parametrize("layer", LAYERS)
@pytest.mark.parametrize("rate", [-0.1, 1.5])
def test_rate_out_of_range(layer, rate):
    with pytest.raises(UserError, match=r"must lie in \[0, 1\]"):
        apply(layer(rate), jnp.ones((1, 1, 1, 1)))


def test_unknown_coin():
    with pytest.raises(UserError, match="'example' and 'batch'"):
        apply(StochasticDepth(0.5, "pixel"), jnp.ones((1, 1, 1, 1)))
