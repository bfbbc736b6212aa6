"""Auxiliary heads: there in training alone, and heard by the loss with their weight."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnnjax.layers.auxiliary import AUXILIARY, auxiliary_head
from cnnjax.layers.conv import Dense
from cnnjax.net.forward import forward_eval, forward_train
from cnnjax.training.loss import cross_entropy


class Head(nn.Module):
    """A linear classifier that tells of its calls."""

    note: Callable

    @nn.compact
    def __call__(self, x, *, train: bool):
        self.note(train)
        return Dense(3, name="dense")(x.mean((1, 2)))


class Net(nn.Module):
    """Scales its input; two heads look at it on the way."""

    note: Callable

    @nn.compact
    def __call__(self, x, *, train: bool):
        def build(name):
            return Head(self.note, name=name)

        auxiliary_head(self, build, "auxiliary1", x, train=train)
        x = 2.0 * x
        auxiliary_head(self, build, "auxiliary2", x, train=train)
        return Dense(3, name="head")(x.mean((1, 2)))


@pytest.fixture
def case():
    calls = []
    net = Net(calls.append)
    images = np.random.RandomState(0).standard_normal((4, 2, 2, 5)).astype(np.float32)
    params = net.init(jax.random.key(0), images, train=False)["params"]
    calls.clear()
    return net, params, images, calls


def dense(params, x):
    kernel, bias = np.asarray(params["kernel"]), np.asarray(params["bias"])
    return x.mean((1, 2)) @ kernel + bias


def test_the_variables_are_declared_without_training(case):
    _, params, _, _ = case
    assert set(params) == {"auxiliary1", "auxiliary2", "head"}


def test_training_gives_the_logits_of_the_heads_in_order(case):
    net, params, images, calls = case
    logits, heads, state = forward_train(net, params, {}, images, jax.random.key(0))
    assert calls == [True, True]
    assert state == {}
    first, second = heads
    expected = [
        dense(params["head"], 2 * images),
        dense(params["auxiliary1"]["dense"], images),
        dense(params["auxiliary2"]["dense"], 2 * images),
    ]
    for ours, by_hand in zip((logits, first, second), expected, strict=True):
        np.testing.assert_allclose(ours, by_hand, rtol=1e-5, atol=1e-6)


def test_evaluation_skips_them(case):
    net, params, images, calls = case
    logits = forward_eval(net, params, {}, images)
    assert calls == []
    np.testing.assert_allclose(
        logits, dense(params["head"], 2 * images), rtol=1e-5, atol=1e-6
    )
    _, state = net.apply({"params": params}, images, train=False, mutable=[AUXILIARY])
    assert not state.get(AUXILIARY)
    without = {"head": params["head"]}
    np.testing.assert_array_equal(forward_eval(net, without, {}, images), logits)


def test_gradients_reach_the_trunk_through_them(case):
    """d(main + w * auxiliary) = d main + w * d auxiliary, against torch by formula."""
    torch = pytest.importorskip("torch", reason="compares with torch")
    net, params, images, _ = case
    labels, weight = np.array([0, 2, 1, 1]), 0.3

    def loss(images):
        logits, heads, _ = forward_train(net, params, {}, images, jax.random.key(0))
        targets = jax.nn.one_hot(labels, 3)
        main, first, second = (
            cross_entropy(z, targets).mean() for z in (logits, *heads)
        )
        return main + weight * (first + second)

    ours = jax.grad(loss)(jnp.asarray(images))

    x = torch.tensor(images).requires_grad_()

    def in_torch(params, x):
        kernel, bias = (torch.tensor(np.asarray(params[k])) for k in ("kernel", "bias"))
        return torch.nn.functional.cross_entropy(
            x.mean((1, 2)) @ kernel + bias, torch.tensor(labels)
        )

    total = in_torch(params["head"], 2 * x)
    total = total + weight * in_torch(params["auxiliary1"]["dense"], x)
    total = total + weight * in_torch(params["auxiliary2"]["dense"], 2 * x)
    total.backward()
    np.testing.assert_allclose(ours, x.grad, rtol=1e-4, atol=1e-6)
