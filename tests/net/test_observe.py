"""Modules of a net are seen in the order of their calls, and may be replaced."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

import cnnjax
from cnnjax.layers.conv import Dense
from cnnjax.net.observe import observe


class Net(nn.Module):
    @nn.compact
    def __call__(self, x, *, train):
        return self.twice(Dense(3, name="first")(x))

    def twice(self, x):
        return 2 * Dense(3, name="second")(x)


IMAGES = jnp.ones((2, 3))
VARIABLES = Net().init(jax.random.key(0), IMAGES, train=False)


def outputs_within(around):
    with observe(around):
        return Net().apply(VARIABLES, IMAGES, train=False)


def test_calls_of_modules_come_in_order_and_other_methods_are_none():
    seen = []

    def record(call):
        seen.append((call.path, type(call.module), call.kwargs))
        return call.run()

    plain = Net().apply(VARIABLES, IMAGES, train=False)
    np.testing.assert_array_equal(outputs_within(record), plain)
    assert seen == [
        ("", Net, {"train": False}),
        ("first", Dense, {}),
        ("second", Dense, {}),
    ]


def test_what_the_function_returns_takes_the_place_of_the_output():
    def without_second(call):
        return call.args[0] if call.path == "second" else call.run()

    first = Dense(3).apply({"params": VARIABLES["params"]["first"]}, IMAGES)
    np.testing.assert_array_equal(outputs_within(without_second), 2 * first)


def test_nothing_else_intercepts_calls():
    sources = Path(cnnjax.__file__).parent.rglob("*.py")
    found = [path.name for path in sources if "intercept_methods" in path.read_text()]
    assert found == ["observe.py"]
