"""Initial values: the same everywhere, for every net that shares a path."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.traverse_util import flatten_dict

from cnnjax.layers import init
from cnnjax.layers.conv import Conv
from cnnjax.models.registry import create_model
from cnnjax.net.initialize import (
    KernelInit,
    abstract_variables,
    draw_variables,
    init_variables,
)

SHAPE = (3, 3, 64, 128)
DISTRIBUTIONS = {
    "he_normal": np.sqrt(2 / (9 * 64)),
    "he_normal_fan_out": np.sqrt(2 / (9 * 128)),
    "lecun_normal": np.sqrt(1 / (9 * 64)),
    "glorot_uniform": np.sqrt(2 / (9 * 64 + 9 * 128)),
    "glorot_normal": np.sqrt(2 / (9 * 64 + 9 * 128)),
    "normal": 1.0,
}
GOLDEN = [-0.043202, -0.141192, -0.171065, 0.035431]


@pytest.mark.parametrize("name", DISTRIBUTIONS)
@pytest.mark.parametrize("host", [True, False])
def test_moments_are_the_stated_ones(name, host):
    """Both ways of drawing, on the host and by Linen's protocol."""
    initializer, std = getattr(init, name), DISTRIBUTIONS[name]
    if host:
        values = initializer.draw(0, "conv/kernel", SHAPE)
    else:
        values = np.asarray(initializer(jax.random.key(0), SHAPE))
    assert values.shape == SHAPE
    assert values.dtype == np.float32
    # Five standard errors over n values: std / sqrt(n), and at most std / sqrt(2 n).
    assert abs(values.mean()) < 5 * std / np.sqrt(values.size)
    assert abs(values.std() - std) < 5 * std / np.sqrt(2 * values.size)
    if name == "glorot_uniform":
        assert np.abs(values).max() <= np.sqrt(3) * std
    else:  # a normal distribution has tails: 4.6 std at one in 240,000 a side
        assert np.abs(values).max() > 3.5 * std


@pytest.mark.parametrize("name", init.KERNELS)
def test_distributions_are_those_of_torch(name):
    """Two samples of one distribution, by Kolmogorov and Smirnov's test.

    Fixed seeds: the samples are the same each time.
    """
    torch = pytest.importorskip("torch")
    stats = pytest.importorskip("scipy.stats")
    filling = torch.nn.init
    of_torch = {
        "he_normal": lambda w: filling.kaiming_normal_(w, nonlinearity="relu"),
        "he_normal_fan_out": lambda w: filling.kaiming_normal_(
            w, mode="fan_out", nonlinearity="relu"
        ),
        "lecun_normal": lambda w: filling.kaiming_normal_(w, nonlinearity="linear"),
        "glorot_normal": filling.xavier_normal_,
        "glorot_uniform": filling.xavier_uniform_,
        "orthogonal": filling.orthogonal_,
        "normal": filling.normal_,
    }[name]
    torch.manual_seed(0)
    theirs = of_torch(torch.empty(64, 24, 3, 3)).numpy().reshape(-1)
    ours = init.KERNELS[name].draw(0, "conv/kernel", (3, 3, 24, 64)).reshape(-1)
    assert stats.ks_2samp(ours, theirs).pvalue > 0.01
    assert stats.ks_2samp(1.1 * ours, theirs).pvalue < 1e-4  # what would be seen


@pytest.mark.parametrize("shape", [(3, 3, 4, 20), (2, 2, 3, 40), (50, 10)])
@pytest.mark.parametrize("host", [True, False])
def test_orthogonal_kernels(shape, host):
    twice = init.orthogonal.times(2.0)
    if host:
        values = twice.draw(0, "conv/kernel", shape)
    else:
        values = np.asarray(twice(jax.random.key(0), shape))
    matrix = values.reshape(-1, shape[-1])
    small = matrix.T @ matrix if len(matrix) > len(matrix.T) else matrix @ matrix.T
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-5)


@pytest.mark.parametrize("name", [*init.KERNELS, "zeros", "ones"])
def test_a_factor_multiplies_the_values(name):
    initializer = getattr(init, name)
    one, three = (i.draw(0, "a", (3, 4)) for i in (initializer, initializer.times(3)))
    np.testing.assert_allclose(three, 3 * one, rtol=1e-6)


def test_section_init_changes_the_kernels_alone():
    """Of a net with a stack of blocks, norms, biases and a dense head."""
    model = create_model(
        "resnet20_cifar", depth=14, widths=(4, 8), scan_blocks=True, norm="batch"
    )
    declared = abstract_variables(model, (8, 8, 3))

    def drawn(kernel, scale):
        changed = KernelInit(kernel, scale).applied(declared)
        return flatten_dict(draw_variables(changed, (0,)), sep="/")

    own, scaled, other = drawn("", 1.0), drawn("", 0.5), drawn("normal", 0.01)
    kernels = [path for path in own if path.endswith("/kernel")]
    assert len(kernels) > 5
    for path, values in own.items():
        expected = values * 0.5 if path in kernels else values
        np.testing.assert_allclose(scaled[path], expected, rtol=1e-6)
        if path not in kernels:
            np.testing.assert_array_equal(other[path], values)
    values = np.concatenate([other[path].reshape(-1) for path in kernels])
    assert values.std() == pytest.approx(0.01, rel=5 / np.sqrt(2 * values.size))


def test_without_a_choice_the_values_are_the_net_s_own():
    declared = abstract_variables(create_model("mlp", widths=(8,)), (4, 4, 1))
    same = KernelInit("", 1.0).applied(declared)
    jax.tree.map(
        np.testing.assert_array_equal,
        draw_variables(declared, (0,)),
        draw_variables(same, (0,)),
    )


def test_dense_layers_count_their_inputs():
    assert init.he_normal.std((50, 10)) == pytest.approx(np.sqrt(2 / 50))
    assert init.glorot_uniform.std((50, 10)) == pytest.approx(np.sqrt(2 / 60))


def test_a_leaf_depends_on_seed_and_path_alone():
    draw = init.he_normal.draw
    shape = (3, 3, 4, 4)
    np.testing.assert_array_equal(
        draw(0, "a/kernel", shape), draw(0, "a/kernel", shape)
    )
    values = [
        draw(seed, path, shape) for seed in (0, 1, 10) for path in ("a", "b", "0:a")
    ]
    flat = np.stack(values).reshape(len(values), -1)
    correlation = np.corrcoef(flat) - np.eye(len(values))
    # 144 values: a correlation has a standard error of 1/12.
    assert np.abs(correlation).max() < 5 / 12


def test_golden_values():
    """Update only with a CHANGELOG entry: every published number changes with it."""
    values = init.he_normal.draw(0, "stem_conv/kernel", (3, 3, 3, 16))
    np.testing.assert_allclose(
        values.reshape(-1)[:4],
        GOLDEN,
        atol=1e-6,
        err_msg="initial values have changed: results of earlier versions cannot be "
        "repeated; if that is wanted, say so in CHANGELOG.md and put the new values in",
    )


def test_nets_share_what_they_have_in_common():
    small, deep = (
        init_variables(
            create_model("resnet20_cifar", depth=depth, widths=(4, 8)), (8, 8, 3), (3,)
        )["params"]
        for depth in (6, 10)
    )
    assert deep.keys() - small.keys() == {"stage1_block2", "stage2_block2"}
    for name in small:
        jax.tree.map(np.testing.assert_array_equal, small[name], deep[name])


def test_seeds_differ_and_stack_in_order():
    model = create_model("mlp", widths=(8,))
    together = init_variables(model, (4, 4, 1), (5, 0, 5))
    alone = init_variables(model, (4, 4, 1), (5,))
    kernel = together["params"]["dense1"]["kernel"]
    assert kernel.shape == (3, 16, 8)
    assert kernel.dtype == np.float32
    jax.tree.map(
        lambda many, one: np.testing.assert_array_equal(many[2], one[0]),
        together,
        alone,
    )
    assert np.abs(kernel[0] - kernel[1]).max() > 0.1


def test_norms_start_as_the_identity_of_statistics():
    model = create_model("mlp", widths=(8,), norm="batch")
    variables = init_variables(model, (4, 4, 1), (0,))
    norm, stats = variables["params"]["norm1"], variables["batch_stats"]["norm1"]
    assert np.unique(norm["scale"]) == np.unique(stats["var"]) == 1
    assert not norm["bias"].any()
    assert not stats["mean"].any()


def test_linen_init_works_as_usual():
    """Raw arrays of the same shapes, from a JAX key; no boxes."""
    model = create_model("mlp", widths=(8,))
    variables = model.init(jax.random.key(0), jnp.ones((2, 4, 4, 1)), train=False)
    host = init_variables(model, (4, 4, 1), (0,))
    leaves = jax.tree.leaves(variables)
    assert all(isinstance(leaf, jax.Array) for leaf in leaves)
    shapes = jax.tree.map(lambda leaf: leaf.shape, variables)
    assert shapes == jax.tree.map(lambda leaf: leaf.shape[1:], host)
    kernel = np.asarray(variables["params"]["head"]["kernel"])
    assert np.abs(kernel - host["params"]["head"]["kernel"][0]).max() > 0.1


def test_declarations_end_with_their_context():
    model = create_model("mlp", widths=(8,))
    abstract = abstract_variables(model, (4, 4, 1))
    assert isinstance(abstract["params"]["dense1"]["kernel"], init.Declared)
    assert isinstance(init.ones(None, (2,)), jax.Array)


def test_layers_of_others_beside_ours():
    """Each starts as it would alone: ours from our streams, theirs from Flax's."""

    class Both(nn.Module):
        @nn.compact
        def __call__(self, images, *, train):
            x = Conv(2, 1, name="ours")(images)
            return nn.Conv(2, (1, 1), name="theirs")(x)

    params = init_variables(Both(), (4, 4, 1), (7,))["params"]
    ours = init.he_normal.draw(7, "params/ours/kernel", (1, 1, 1, 2))
    np.testing.assert_array_equal(params["ours"]["kernel"][0], ours)
    flax = Both().init(jax.random.key(7), jnp.ones((1, 4, 4, 1)), train=False)
    theirs = flax["params"]["theirs"]["kernel"]
    np.testing.assert_array_equal(params["theirs"]["kernel"][0], theirs)
