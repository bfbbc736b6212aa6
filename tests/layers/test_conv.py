"""Modules `Conv` and `Dense`: parameters, types, errors."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.errors import UserError
from cnnjax.layers.conv import Conv, Dense
from cnnjax.layers.functional.conv import convolution

KEY = jax.random.key(0)


def images(*shape, dtype=jnp.float32):
    return jnp.asarray(np.random.RandomState(0).randn(*shape), dtype)


def test_conv_is_the_function_and_a_bias():
    x = images(2, 6, 6, 4)
    conv = Conv(6, (3, 2), strides=(2, 1), padding=1, groups=2, use_bias=True)
    variables = conv.init(KEY, x)
    params = variables["params"]
    assert jax.tree.map(jnp.shape, params) == {"kernel": (3, 2, 2, 6), "bias": (6,)}
    params["bias"] = jnp.arange(6.0)
    expected = convolution(
        x, params["kernel"], strides=(2, 1), padding=1, groups=2
    ) + jnp.arange(6.0).reshape(1, 1, 1, 6)
    np.testing.assert_allclose(conv.apply({"params": params}, x), expected, rtol=1e-5)


def test_conv_has_no_bias_unless_asked():
    assert set(Conv(3, 3, padding=1).init(KEY, images(1, 4, 4, 2))["params"]) == {
        "kernel"
    }


@pytest.mark.parametrize(
    "module", [Conv(3, 3, padding=1, dtype=jnp.bfloat16), Dense(3, dtype=jnp.bfloat16)]
)
def test_compute_type(module):
    x = images(1, 4, 4, 2)
    variables = module.init(KEY, x)
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype("float32")}
    assert module.apply(variables, x).dtype == jnp.bfloat16


def test_both_implementations_agree():
    x = images(2, 5, 5, 3)
    variables = Conv(4, 3, 2, 1).init(KEY, x)
    auto, lax = (Conv(4, 3, 2, 1, impl=i).apply(variables, x) for i in ("auto", "lax"))
    np.testing.assert_allclose(auto, lax, rtol=1e-5, atol=1e-5)


def test_dense():
    x = images(3, 5)
    params = Dense(2).init(KEY, x)["params"]
    params["bias"] = jnp.array([1.0, 2.0])
    expected = np.asarray(x) @ np.asarray(params["kernel"]) + np.array([[1.0, 2.0]])
    np.testing.assert_allclose(
        Dense(2).apply({"params": params}, x), expected, rtol=1e-5
    )
    assert set(Dense(2, use_bias=False).init(KEY, x)["params"]) == {"kernel"}


def test_vanishing_output_is_a_sentence():
    class Net(nn.Module):
        @nn.compact
        def __call__(self, x):
            return Conv(3, (7, 5), strides=2, padding=1, name="stem_conv")(x)

    with pytest.raises(UserError) as error:
        Net().init(KEY, images(1, 4, 8, 2))
    for part in ("stem_conv", "4x8", "7x5", "stride 2x2", "((1, 1), (1, 1))"):
        assert part in str(error.value)


@pytest.mark.parametrize(("channels", "features"), [(4, 6), (6, 4)])
def test_groups_must_divide(channels, features):
    with pytest.raises(UserError, match=f"{channels} input and {features} output"):
        Conv(features, 1, groups=3).init(KEY, images(1, 2, 2, channels))


def test_groups_must_be_positive():
    with pytest.raises(UserError, match="at least 1"):
        Conv(4, 1, groups=0).init(KEY, images(1, 2, 2, 4))
