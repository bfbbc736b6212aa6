"""Activations against torch, corners included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.errors import UserError
from cnnjax.layers.act import ACTIVATIONS, make_act

# Corners of the piecewise functions, and ordinary values around them.
POINTS = np.array([-30, -4, -3, -1.5, -0.3, 0, 0.3, 1.5, 3, 4, 6, 7, 30], np.float32)


def in_torch(name):
    torch = pytest.importorskip("torch", reason="compares with torch")
    functions = torch.nn.functional
    table = {
        "gelu_tanh": lambda x: functions.gelu(x, approximate="tanh"),
        "hard_sigmoid": functions.hardsigmoid,
        "hard_swish": functions.hardswish,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "scaled_tanh": lambda x: 1.7159 * torch.tanh(2 * x / 3),
        "identity": lambda x: x * 1,
    }
    return torch, table[name] if name in table else getattr(functions, name)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_agrees_with_torch(name):
    torch, theirs = in_torch(name)
    x = torch.tensor(POINTS, requires_grad=True)
    y = theirs(x)
    y.sum().backward()
    act = make_act(name)
    np.testing.assert_allclose(act(POINTS), y.detach(), rtol=1e-5, atol=1e-6)
    # hard_swish in torch has another one-sided slope at its corners -3 and 3.
    smooth = np.abs(POINTS) != 3 if name == "hard_swish" else np.full(13, True)
    ours = jax.vmap(jax.grad(act))(jnp.asarray(POINTS))
    np.testing.assert_allclose(ours[smooth], x.grad[smooth], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_keeps_the_type(name):
    x = jnp.asarray(POINTS, jnp.bfloat16)
    assert make_act(name)(x).dtype == jnp.bfloat16
    assert make_act(name)(x).shape == x.shape


def test_unknown_name():
    with pytest.raises(UserError, match=r"did you mean 'relu' or 'relu6'"):
        make_act("relu5")
