"""Normalizations against torch: outputs, all gradients, running statistics."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.layers.norm import Norm
from tests.slow import slow, slow_but

torch = pytest.importorskip("torch", reason="compares with torch")

CHANNELS = 6


class ChannelsLast(torch.nn.LayerNorm):
    """Layer norm over the channels of an NCHW map."""

    def forward(self, x):
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


# kind: our options, their module.
PAIRS = {
    "batch": ({}, lambda: torch.nn.BatchNorm2d(CHANNELS)),
    "layer": ({}, lambda: torch.nn.GroupNorm(1, CHANNELS)),
    "layer_channel": ({}, lambda: ChannelsLast(CHANNELS)),
    "instance": ({}, lambda: torch.nn.InstanceNorm2d(CHANNELS, affine=True)),
    "group": ({"num_groups": 3}, lambda: torch.nn.GroupNorm(3, CHANNELS)),
    # torch divides alpha by the size of the window.
    "local_response": (
        {"response_size": 3, "response_alpha": 0.1, "response_k": 1.5},
        lambda: torch.nn.LocalResponseNorm(3, alpha=0.3, beta=0.75, k=1.5),
    ),
}


def ours(kind, x, cotangent):
    options, _ = PAIRS[kind]
    module = Norm(kind, **options)()
    variables = module.init(jax.random.key(0), x, train=False)
    stats = {k: v for k, v in variables.items() if k != "params"}
    channels = jnp.arange(1.0, 1 + CHANNELS)
    params = {"scale": channels, "bias": -channels} if "params" in variables else {}

    def apply(params, x):
        collections = {"params": params, **stats}
        return module.apply(collections, x, train=True, mutable=["batch_stats"])

    y, pull_back, moved = jax.vjp(apply, params, x, has_aux=True)
    of_params, of_x = pull_back(cotangent)
    return y, of_x, of_params, moved.get("batch_stats", {})


def theirs(kind, x, cotangent):
    _, build = PAIRS[kind]
    module = build().train()
    if kind != "local_response":
        channels = torch.arange(1.0, 1 + CHANNELS)
        module.weight.data, module.bias.data = channels, -channels
    images = torch.tensor(np.asarray(x)).permute(0, 3, 1, 2).contiguous()
    y = module(images.requires_grad_()).permute(0, 2, 3, 1)
    y.backward(torch.tensor(np.asarray(cotangent)))
    of_params = {}
    if kind != "local_response":
        of_params = {"scale": module.weight.grad, "bias": module.bias.grad}
    stats = {}
    if kind == "batch":
        stats = {"mean": module.running_mean, "var": module.running_var}
    return y.detach(), images.grad.permute(0, 2, 3, 1), of_params, stats


@pytest.mark.parametrize("kind", slow_but(("batch", "group"), PAIRS))
def test_agrees_with_torch(kind):
    stream = np.random.RandomState(0)
    x, cotangent = (
        jnp.asarray(1 + 2 * stream.randn(4, 3, 5, CHANNELS), jnp.float32)
        for _ in range(2)
    )
    results = ours(kind, x, cotangent), theirs(kind, x, cotangent)
    assert jax.tree.structure(results[0]) == jax.tree.structure(results[1])
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), *results
    )


WINDOWS = (2, 3, 11, 12, 13, 32, 33, 70, 75, 2**32, 10**30)


@pytest.mark.parametrize("size", slow_but((2, 12, 33, 10**30), WINDOWS))
@pytest.mark.parametrize("channels", [1, slow(6), 40])
def test_local_response_of_any_window(channels, size):
    """Also of more channels than there are, and than there can be."""
    widest = 2 * channels + 1  # reaches from any channel to both ends
    odd = size if size <= widest else widest
    options = {"response_size": size, "response_alpha": 0.1, "response_k": 1.5}
    module = Norm("local_response", **options)()
    reference = torch.nn.LocalResponseNorm(odd, alpha=0.1 * odd, beta=0.75, k=1.5)
    x = np.random.default_rng(0).normal(size=(2, 3, 3, channels)).astype(np.float32)
    cotangent = np.cos(np.arange(x.size, dtype=np.float32)).reshape(x.shape)
    y, pull_back = jax.vjp(lambda x: module.apply({}, x, train=True), jnp.asarray(x))
    images = torch.tensor(x).permute(0, 3, 1, 2).contiguous().requires_grad_()
    expected = reference(images)
    expected.backward(torch.tensor(cotangent).permute(0, 3, 1, 2))
    for mine, other in ((y, expected.detach()), (pull_back(cotangent)[0], images.grad)):
        other = other.permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(mine, other, rtol=1e-5, atol=1e-6)
