"""Small parts that most nets are made of: `Flatten` and `ConvNormAct`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.layers.act import identity
from cnnjax.layers.conv import Conv
from cnnjax.layers.conv_norm_act import ConvNormAct
from cnnjax.layers.flatten import Flatten
from cnnjax.layers.functional.conv import convolution
from cnnjax.layers.norm import Norm

KEY = jax.random.key(0)


def images(*shape):
    return np.random.RandomState(0).standard_normal(shape).astype(np.float32)


def test_flatten_goes_channel_by_channel_as_torch():
    torch = pytest.importorskip("torch", reason="compares with torch")
    x = images(2, 3, 4, 5)
    theirs = torch.tensor(x).permute(0, 3, 1, 2).flatten(1)
    np.testing.assert_array_equal(Flatten().apply({}, jnp.asarray(x)), theirs)


def test_place_of_a_value_in_the_vector():
    x = jnp.zeros((1, 3, 4, 5)).at[0, 1, 2, 3].set(1)
    assert Flatten().apply({}, x).argmax() == 3 * 12 + 1 * 4 + 2


def unit(act=jax.nn.relu, norm="batch", **arguments):
    conv = functools.partial(Conv, use_bias=not Norm(norm).has_bias)
    return ConvNormAct(6, 3, **arguments, conv=conv, norm=Norm(norm), act=act)


def shapes(module, x):
    declare = functools.partial(module.init, train=False)
    return jax.tree.map(jnp.shape, jax.eval_shape(declare, KEY, x))


def variables_of(kernel_channels):
    return {
        "params": {
            "conv": {"kernel": images(3, 3, kernel_channels, 6)},
            "norm": {"scale": np.ones(6), "bias": np.linspace(-1, 1, 6)},
        },
        "batch_stats": {"norm": {"mean": np.zeros(6), "var": np.full(6, 4.0)}},
    }


def test_convolution_norm_activation_in_this_order():
    x = images(2, 5, 6, 4)
    variables = jax.tree.map(jnp.float32, variables_of(2))
    module = unit(strides=2, padding=1, groups=2)
    ours = jax.jit(lambda v, x: module.apply(v, x, train=False))(variables, x)
    kernel = variables["params"]["conv"]["kernel"]
    y = convolution(jnp.asarray(x), kernel, strides=2, padding=1, groups=2)
    y = y / np.sqrt(4 + 1e-5) + np.linspace(-1, 1, 6).reshape(1, 1, 1, 6)
    assert ours.shape == (2, 3, 3, 6)
    assert (np.asarray(ours) == 0).any()
    np.testing.assert_allclose(ours, np.maximum(y, 0), rtol=1e-5, atol=1e-6)


def test_the_norm_sees_whether_it_trains():
    x = images(4, 5, 5, 4)
    variables = jax.tree.map(jnp.float32, variables_of(4))
    train = functools.partial(
        unit(act=identity).apply, train=True, mutable=["batch_stats"]
    )
    y, state = jax.jit(train)(variables, x)
    np.testing.assert_allclose(y.mean((0, 1, 2)), np.linspace(-1, 1, 6), atol=1e-5)
    np.testing.assert_allclose(y.std((0, 1, 2)), np.ones(6), rtol=1e-3)
    assert np.abs(state["batch_stats"]["norm"]["mean"]).max() > 1e-3


def test_children_and_bias_follow_the_norm():
    x = images(1, 5, 5, 4)
    conv = {"kernel": (3, 3, 4, 6)}
    norm = {"scale": (6,), "bias": (6,)}
    assert shapes(unit(), x)["params"] == {"conv": conv, "norm": norm}
    plain = shapes(unit(norm="none"), x)
    assert plain == {"params": {"conv": conv | {"bias": (6,)}}}
