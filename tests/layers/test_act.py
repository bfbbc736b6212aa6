"""Activations against torch, corners included."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.layers.act import ACTIVATIONS, make_act
from cnnjax.layers.ordinary import ActOfModule

# Corners of the piecewise functions, and ordinary values around them.
POINTS = np.array([-30, -4, -3, -1.5, -0.3, 0, 0.3, 1.5, 3, 4, 6, 7, 30], np.float32)


# Names of torch.nn.functional, where they are not ours.
IN_TORCH = {
    "gelu_tanh": lambda f, x: f.gelu(x, approximate="tanh"),
    "hard_sigmoid": lambda f, x: f.hardsigmoid(x),
    "hard_swish": lambda f, x: f.hardswish(x),
    "scaled_tanh": lambda f, x: 1.7159 * f.tanh(2 * x / 3),
    "identity": lambda f, x: x * 1,
}


class Act(nn.Module):
    """An activation as nets call it: a function, or a module with parameters."""

    name_of_act: str

    @nn.compact
    def __call__(self, x):
        return make_act(self.name_of_act)(x)


def applied(name, x):
    y, _ = Act(name).init_with_output(jax.random.key(0), x)
    return y


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_agrees_with_torch(name):
    torch = pytest.importorskip("torch", reason="compares with torch")
    functions = torch.nn.functional
    if isinstance(make_act(name), ActOfModule):
        pytest.skip(f"{name} has parameters, torch.nn.functional none")
    if name not in IN_TORCH and not hasattr(functions, name):
        pytest.skip(f"torch.nn.functional has no {name}")
    x = torch.tensor(POINTS.astype(np.float64), requires_grad=True)
    y = (
        IN_TORCH[name](functions, x)
        if name in IN_TORCH
        else getattr(functions, name)(x)
    )
    y.sum().backward()
    act = make_act(name)
    with jax.enable_x64(True):
        points = jnp.asarray(POINTS, jnp.float64)
        values, ours = act(points), jax.vmap(jax.grad(act))(points)
    np.testing.assert_allclose(values, y.detach(), rtol=1e-7, atol=1e-9)
    np.testing.assert_allclose(act(POINTS), y.detach(), rtol=1e-5, atol=1e-6)
    # hard_swish in torch has another one-sided slope at its corners -3 and 3.
    smooth = np.abs(POINTS) != 3 if name == "hard_swish" else np.full(13, True)
    np.testing.assert_allclose(ours[smooth], x.grad[smooth], rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_shape_type_and_gradient(name):
    x = jnp.asarray(POINTS)[None, None, None]  # channels of one pixel
    assert applied(name, x).shape == x.shape
    assert applied(name, x.astype(jnp.bfloat16)).dtype == jnp.bfloat16
    gradient = jax.grad(lambda x: applied(name, x).sum())(x)
    assert jnp.isfinite(gradient).all()
    assert gradient.any()


def test_unknown_name():
    with pytest.raises(UserError, match=r"did you mean 'relu' or 'relu6'"):
        make_act("relu5")
