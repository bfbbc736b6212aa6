"""One block against the paper's figures, written out in NumPy."""

import jax
import numpy as np
import pytest

from cnnjax.layers.act import make_act
from cnnjax.layers.conv import Conv
from cnnjax.layers.norm import Norm
from cnnjax.models.blocks.residual import PLACEMENTS, ResidualBlock
from cnnjax.models.blocks.shortcut import SHORTCUTS

EPSILON = 1e-5
RATE = 0.5


def block_of(**arguments):
    defaults = {
        "width": 6,
        "stride": 2,
        "bottleneck": False,
        "stride_on_3x3": False,
        "residual": True,
        "placement": "post",
        "shortcut": "A",
        "first": False,
        "conv": Conv,
        "norm": Norm("batch", epsilon=EPSILON),
        "act": make_act("relu"),
        "zero_last_scale": False,
        "gate_bias": -1.0,
        "shortcut_dropout_rate": RATE,
    }
    return ResidualBlock(**(defaults | arguments))


def random_variables(block, x):
    """Variables of the block with every value random, variances positive."""
    shapes = jax.eval_shape(
        lambda key: block.init(key, x, train=False), jax.random.key(0)
    )
    stream = np.random.RandomState(0)

    def draw(path, leaf):
        values = stream.standard_normal(leaf.shape)
        positive = path[-1].key in ("var", "scale")
        return (np.abs(values) + 0.5 if positive else 0.5 * values).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)


def convolve(x, params, stride):
    kernel = params["kernel"].astype(float)
    size = kernel.shape[0]
    pad = size // 2
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), (1, 2))
    windows = windows[:, ::stride, ::stride]  # [N, H', W', C, h, w]
    y = np.einsum("nijchw,hwco->nijo", windows, kernel)
    return y + params.get("bias", 0.0)


class Reference:
    """The parts of a block by the names of its parameters."""

    def __init__(self, variables):
        self.params, self.stats = variables["params"], variables["batch_stats"]

    def norm(self, x, *path):
        params, stats = self.params, self.stats
        for name in path:
            params, stats = params[name], stats[name]
        y = (x - stats["mean"]) / np.sqrt(stats["var"].astype(float) + EPSILON)
        return y * params["scale"] + params["bias"]

    def conv(self, x, i, stride):
        return convolve(x, self.params[f"conv{i}"], stride)

    def shortcut(self, kind, x, stride, features):
        if kind in ("B", "C"):
            inner = self.params["shortcut"]
            x = convolve(x, inner["conv"], stride)
            return self.norm(x, "shortcut", "norm") if "norm" in inner else x
        x = x[:, ::stride, ::stride]
        return np.concatenate([x, np.zeros((*x.shape[:3], features - x.shape[3]))], 3)

    def gate(self, x, stride):
        return 1 / (1 + np.exp(-convolve(x, self.params["gate_conv"], stride)))


def relu(x):
    return np.maximum(x, 0)


def branch_of(ref, placement, x):
    """(what the shortcut starts from if it is shared, residual branch).

    He et al. 2016, figure 4 (a) to (e), two convolutions, the first of stride 2.
    """
    if placement in ("post", "no_act_after_add"):
        y = relu(ref.norm(ref.conv(x, 1, 2), "norm1"))
        return x, ref.norm(ref.conv(y, 2, 1), "norm2")
    if placement == "norm_after_act":
        y = ref.norm(relu(ref.conv(x, 1, 2)), "norm1")
        return x, ref.norm(relu(ref.conv(y, 2, 1)), "norm2")
    if placement == "norm_after_add":
        y = relu(ref.norm(ref.conv(x, 1, 2), "norm1"))
        return x, ref.conv(y, 2, 1)
    if placement in ("act_before_add", "act_around_add"):
        y = relu(ref.norm(ref.conv(x, 1, 2), "norm1"))
        return x, relu(ref.norm(ref.conv(y, 2, 1), "norm2"))
    if placement == "act_only_pre":
        activated = relu(x)
        y = ref.norm(ref.conv(activated, 1, 2), "norm1")
        return activated, ref.norm(ref.conv(relu(y), 2, 1), "norm2")
    activated = relu(ref.norm(x, "norm1"))
    y = relu(ref.norm(ref.conv(activated, 1, 2), "norm2"))
    return activated, ref.conv(y, 2, 1)


def expected(variables, placement, shortcut, x, first):
    ref = Reference(variables)
    if shortcut in ("B", "C"):
        has_norm = "norm" in variables["params"]["shortcut"]
        assert has_norm == (placement not in ("pre", "act_only_pre"))
    activated, branch = branch_of(ref, placement, x)
    start = activated if first or shortcut in ("B", "C") else x
    skip = ref.shortcut(shortcut, start, 2, branch.shape[-1])
    if shortcut == "none":
        total = branch
    elif shortcut == "scaled":
        total = 0.5 * branch + 0.5 * skip
    elif shortcut == "exclusive_gate":
        gate = ref.gate(start, 2)
        total = gate * branch + (1 - gate) * skip
    elif shortcut == "shortcut_gate":
        total = branch + (1 - ref.gate(start, 2)) * skip
    else:  # A, B, C; in evaluation also dropout
        total = branch + skip
    if placement in ("post", "act_around_add"):
        return relu(total)
    return relu(ref.norm(total, "norm_out")) if placement == "norm_after_add" else total


X = np.random.RandomState(1).standard_normal((2, 5, 6, 4)).astype(np.float32)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("shortcut", SHORTCUTS)
@pytest.mark.parametrize("placement", PLACEMENTS)
def test_a_block_is_what_the_figure_shows(placement, shortcut, first):
    block = block_of(placement=placement, shortcut=shortcut, first=first)
    variables = random_variables(block, X)
    got = block.apply(variables, X, train=False)
    want = expected(variables, placement, shortcut, X.astype(float), first)
    # Values are of order 10; float32 keeps 7 digits.
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


def test_the_plain_twin_is_the_branch():
    twin = block_of(residual=False)
    variables = random_variables(twin, X)
    _, branch = branch_of(Reference(variables), "post", X.astype(float))
    got = twin.apply(variables, X, train=False)
    np.testing.assert_allclose(got, relu(branch), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("on_3x3", [False, True])
def test_a_bottleneck_is_1x1_3x3_1x1(on_3x3):
    block = block_of(width=3, bottleneck=True, stride_on_3x3=on_3x3)
    variables = random_variables(block, X)
    ref, x = Reference(variables), X.astype(float)
    y = relu(ref.norm(ref.conv(x, 1, 1 if on_3x3 else 2), "norm1"))
    y = relu(ref.norm(ref.conv(y, 2, 2 if on_3x3 else 1), "norm2"))
    y = ref.norm(ref.conv(y, 3, 1), "norm3")
    want = relu(y + ref.shortcut("A", x, 2, 12))
    got = block.apply(variables, X, train=False)
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("bottleneck", [False, True])
def test_with_the_last_scale_at_zero_a_block_starts_as_the_identity(bottleneck):
    width = 1 if bottleneck else 4
    for placement, want in (("post", np.maximum(X, 0)), ("act_only_pre", X)):
        block = block_of(
            width=width,
            stride=1,
            bottleneck=bottleneck,
            placement=placement,
            zero_last_scale=True,
        )
        variables = block.init(jax.random.key(0), X, train=False)
        for train in (False, True):
            got, _ = block.apply(variables, X, train=train, mutable=["batch_stats"])
            np.testing.assert_array_equal(got, want)


def test_the_dropout_shortcut_drops_half_in_training_only():
    block = block_of(stride=1, width=4, shortcut="dropout", placement="pre")
    plain = block_of(stride=1, width=4, shortcut="none", placement="pre")
    x = np.ones((64, 2, 2, 4), np.float32) + X[:1, :1, :1]
    variables = random_variables(block, x)

    def run(net, seed):
        rngs = {"dropout": jax.random.key(seed)}
        return net.apply(variables, x, train=True, mutable=["batch_stats"], rngs=rngs)

    skip = run(block, 0)[0] - run(plain, 0)[0]
    kept = np.isclose(skip, x / (1 - RATE), rtol=1e-4, atol=1e-4)
    dropped = np.isclose(skip, 0, atol=1e-4)
    assert (kept ^ dropped).all()
    # 1,024 coins: five standard deviations are 0.08.
    assert abs(dropped.mean() - RATE) < 0.08
    assert np.abs(skip - (run(block, 1)[0] - run(plain, 1)[0])).max() > 0.1
