"""Squeeze and excitation against its formula, in NumPy and in torch."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.layers.conv import Conv
from cnnjax.layers.squeeze_excite import SqueezeExcite

GATES = {
    "sigmoid": lambda z: 1 / (1 + np.exp(-z)),
    "hard_sigmoid": lambda z: np.clip(z + 3, 0, 6) / 6,
}


def layer(gate="sigmoid", act=jax.nn.relu):
    conv = functools.partial(Conv, dtype=jnp.float32)
    return SqueezeExcite(3, conv, act, gate)


def drawn(seed=0):
    """A map of 8 channels, and weights large enough to reach the ends of the gates."""
    stream = np.random.RandomState(seed)
    x = stream.standard_normal((2, 5, 4, 8)).astype(np.float32)
    shapes = {
        "reduce_conv": {"kernel": (1, 1, 8, 3), "bias": (3,)},
        "expand_conv": {"kernel": (1, 1, 3, 8), "bias": (8,)},
    }
    params = {
        name: {
            leaf: (3 * stream.standard_normal(shape)).astype(np.float32)
            for leaf, shape in leaves.items()
        }
        for name, leaves in shapes.items()
    }
    return x, params


@pytest.mark.parametrize("gate", GATES)
def test_agrees_with_the_formula(gate):
    x, params = drawn()
    ours = layer(gate).apply({"params": params}, x)
    first, second = params["reduce_conv"], params["expand_conv"]
    squeezed = x.mean((1, 2)) @ first["kernel"][0, 0] + first["bias"]
    hidden = np.maximum(squeezed, 0)
    weights = GATES[gate](hidden @ second["kernel"][0, 0] + second["bias"])
    np.testing.assert_allclose(ours, x * weights[:, None, None], rtol=1e-4, atol=1e-5)
    assert weights.min() < 0.1
    assert weights.max() > 0.9


def test_declares_what_the_formula_needs():
    x, params = drawn()
    ours = layer().init(jax.random.key(0), x)["params"]
    assert jax.tree.map(np.shape, ours) == jax.tree.map(np.shape, params)


def test_the_activation_is_the_given_one():
    x, params = drawn()
    with_relu = layer().apply({"params": params}, x)
    with_tanh = layer(act=jnp.tanh).apply({"params": params}, x)
    assert np.abs(with_relu - with_tanh).max() > 1e-2


@pytest.mark.parametrize("gate", GATES)
def test_gradients_agree_with_torch(gate):
    torch = pytest.importorskip("torch", reason="compares with torch")
    functions = torch.nn.functional
    x, params = drawn()
    cotangent = np.random.RandomState(1).standard_normal(x.shape).astype(np.float32)

    def ours(params, x):
        return (layer(gate).apply({"params": params}, x) * cotangent).sum()

    of_params, of_x = jax.grad(ours, argnums=(0, 1))(params, x)

    images = torch.tensor(x).requires_grad_()
    weights = {
        name: {leaf: torch.tensor(v).requires_grad_() for leaf, v in leaves.items()}
        for name, leaves in params.items()
    }
    y = images.mean((1, 2))
    y = y @ weights["reduce_conv"]["kernel"][0, 0] + weights["reduce_conv"]["bias"]
    y = torch.relu(y) @ weights["expand_conv"]["kernel"][0, 0]
    y = y + weights["expand_conv"]["bias"]
    gates = {"sigmoid": torch.sigmoid, "hard_sigmoid": functions.hardsigmoid}
    result = images * gates[gate](y)[:, None, None]
    (result * torch.tensor(cotangent)).sum().backward()

    np.testing.assert_allclose(of_x, images.grad, rtol=1e-4, atol=1e-5)
    for name, leaves in weights.items():
        for leaf, theirs in leaves.items():
            np.testing.assert_allclose(
                of_params[name][leaf], theirs.grad, rtol=1e-3, atol=1e-4
            )
