"""Logits, gradients and running statistics against nets written in torch.

In float64, where two right programs agree to about 1e-12 and nothing else does.
"""

import jax
import numpy as np
import pytest

from cnnjax.models.registry import create_model
from cnnjax.net.forward import forward_eval, forward_train
from cnnjax.net.initialize import init_variables
from cnnjax.training.loss import cross_entropy
from tests.slow import slow_but

torch = pytest.importorskip("torch")
reference = pytest.importorskip("benchmarks.peers.torch_resnet")

CLOSE = {"rtol": 1e-8, "atol": 1e-10}
CASES = {
    "resnet8": ({"depth": 8}, ("BasicBlock", 1, (16, 32, 64), "A")),
    "resnet20": ({"depth": 20}, ("BasicBlock", 3, (16, 32, 64), "A")),
    "projections": (
        {"depth": 6, "widths": (4, 8), "shortcut": "B"},
        ("BasicBlock", 1, (4, 8), "B"),
    ),
    "bottleneck": (
        {"depth": 8, "widths": (4, 6), "block": "bottleneck"},
        ("Bottleneck", 1, (4, 6), "A"),
    ),
    "preactivation": (
        {"depth": 10, "widths": (4, 8), "placement": "pre"},
        ("PreActBlock", 2, (4, 8), "A"),
    ),
}


@pytest.fixture(
    scope="module",
    params=slow_but(CASES.keys() - {"resnet20"}, CASES),
)
def pair(request):
    """Our net and its float64 variables, and the torch net with the same."""
    arguments, (block, *rest) = CASES[request.param]
    with jax.enable_x64(True):
        model = create_model("resnet20_cifar", dtype="float64", **arguments)
        variables = init_variables(model, (16, 16, 3), (0,))
    stream = np.random.RandomState(0)
    # Norms away from their start, or a missing scale or bias would not be seen.
    variables = jax.tree.map(
        lambda v: v[0] + 0.1 * np.abs(stream.standard_normal(v.shape[1:])), variables
    )
    params = variables.pop("params")
    net = reference.ResNet(getattr(reference, block), *rest).double()
    state = reference.torch_tensors(params, variables["batch_stats"])
    counters = {k: v for k, v in net.state_dict().items() if "num_batches" in k}
    net.load_state_dict(state | counters, strict=True)
    images = stream.standard_normal((3, 6, 16, 16, 3))
    labels = stream.randint(0, 10, (3, 6))
    return model, params, variables, net, images, labels


def test_logits_of_an_evaluation(pair):
    model, params, state, net, images, _ = pair
    with jax.enable_x64(True):
        ours = jax.jit(lambda x: forward_eval(model, params, state, x))(images[0])
    net.eval()
    with torch.no_grad():
        theirs = net(torch.tensor(images[0].transpose(0, 3, 1, 2))).numpy()
    assert ours.dtype == np.float64
    assert np.abs(theirs).max() > 0.1
    np.testing.assert_allclose(ours, theirs, **CLOSE)


def test_gradients_and_running_statistics_of_training(pair):
    """Three batches in a row: the statistics move each time, unbiased as in torch."""
    model, params, state, net, images, labels = pair

    def loss(params, state, images, labels):
        key = jax.random.key(0)
        logits, _, state = forward_train(model, params, state, images, key)
        targets = jax.nn.one_hot(labels, 10, dtype=logits.dtype)
        return cross_entropy(logits, targets).mean(), state

    net.train()
    with jax.enable_x64(True):
        gradient = jax.jit(jax.value_and_grad(loss, has_aux=True))
        for x, y in zip(images, labels, strict=True):
            (ours, state), grads = gradient(params, state, x, y)
            net.zero_grad()
            logits = net(torch.tensor(x.transpose(0, 3, 1, 2)))
            theirs = torch.nn.functional.cross_entropy(logits, torch.tensor(y))
            theirs.backward()
            np.testing.assert_allclose(ours, theirs.item(), **CLOSE)
    named = dict(net.named_parameters())
    ours = reference.torch_tensors(grads)
    assert ours.keys() == named.keys()
    for name, grad in ours.items():
        np.testing.assert_allclose(grad, named[name].grad, err_msg=name, **CLOSE)
    buffers = dict(net.named_buffers())
    for name, value in reference.torch_tensors(state["batch_stats"]).items():
        np.testing.assert_allclose(value, buffers[name], err_msg=name, **CLOSE)
