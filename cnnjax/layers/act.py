"""Activations by name: functions, or Linen modules where they have parameters."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from cnnjax.errors import unknown_name
from cnnjax.layers.ordinary import as_function

Activation = Callable[[jax.Array], jax.Array]


@jax.custom_jvp
def relu(x: jax.Array) -> jax.Array:
    """max(x, 0); its derivative is read off the result, so that x need not be kept."""
    return jnp.maximum(x, 0)


@relu.defjvp
def _tangent_of_relu(args, tangents):
    y = relu(*args)
    (moving,) = tangents
    return y, jnp.where(y > 0, moving, 0)


def _between(x: jax.Array, low: float, high: float) -> jax.Array:
    """Clips x; unlike `jnp.clip`, the gradient at the two corners is 0, as in torch."""
    return jnp.where(x > low, jnp.where(x < high, x, high), low).astype(x.dtype)


@jax.custom_jvp
def relu6(x: jax.Array) -> jax.Array:
    """min(max(x, 0), 6); Howard et al. 2017, arXiv 1704.04861. As `relu`."""
    return _between(x, 0.0, 6.0)


@relu6.defjvp
def _tangent_of_relu6(args, tangents):
    y = relu6(*args)
    (moving,) = tangents
    return y, jnp.where((y > 0) & (y < 6), moving, 0)


def hard_sigmoid(x: jax.Array) -> jax.Array:
    """relu6(x + 3) / 6; Howard et al. 2019, arXiv 1905.02244, section 5.2."""
    return _between(x + 3.0, 0.0, 6.0) / 6.0


def hard_swish(x: jax.Array) -> jax.Array:
    """x * hard_sigmoid(x); Howard et al. 2019, arXiv 1905.02244, section 5.2."""
    return x * hard_sigmoid(x)


def leaky_relu(x: jax.Array) -> jax.Array:
    """x where positive, 0.01 x elsewhere; Maas et al. 2013, section 2."""
    # Unlike in jax.nn, the slope at 0 is the lower one, as in torch.
    return jnp.where(x > 0, x, 0.01 * x)


def gelu(x: jax.Array) -> jax.Array:
    """x times the normal distribution function; Hendrycks & Gimpel 2016, 1606.08415."""
    return jax.nn.gelu(x, approximate=False)


def gelu_tanh(x: jax.Array) -> jax.Array:
    """The tanh approximation of gelu; Hendrycks & Gimpel 2016, section 2."""
    return jax.nn.gelu(x, approximate=True)


def scaled_tanh(x: jax.Array) -> jax.Array:
    """1.7159 tanh(2 x / 3); LeCun et al. 1998, Gradient-based learning, app. A."""
    return 1.7159 * jnp.tanh(x * (2 / 3))


def identity(x: jax.Array) -> jax.Array:
    """x itself: a net without this nonlinearity."""
    return x


# A function of x, or a Linen module called as `module()(x)`.
ACTIVATIONS: dict[str, Activation] = {
    "relu": relu,
    "relu6": relu6,
    "leaky_relu": leaky_relu,
    "elu": jax.nn.elu,
    "selu": jax.nn.selu,
    "softplus": jax.nn.softplus,
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "silu": jax.nn.silu,
    "mish": jax.nn.mish,
    "sigmoid": jax.nn.sigmoid,
    "hard_sigmoid": hard_sigmoid,
    "hard_swish": hard_swish,
    "tanh": jnp.tanh,
    "scaled_tanh": scaled_tanh,
    "softsign": jax.nn.soft_sign,
    "identity": identity,
}


def make_act(name: str) -> Activation:
    """The activation of that name.

    Raises:
      UserError: for a name that is not in `ACTIVATIONS`.
    """
    if name not in ACTIVATIONS:
        raise unknown_name("activation", name, ACTIVATIONS, "config.model.act")
    return as_function(ACTIVATIONS[name])
