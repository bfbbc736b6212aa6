"""Initial values: the same everywhere, for every net that shares a path."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnnjax.layers import init
from cnnjax.layers.conv import Conv
from cnnjax.models import create_model
from cnnjax.models.initialize import abstract_variables, init_variables

SHAPE = (3, 3, 64, 128)
DISTRIBUTIONS = {
    "he_normal": np.sqrt(2 / (9 * 64)),
    "he_normal_fan_out": np.sqrt(2 / (9 * 128)),
    "lecun_normal": np.sqrt(1 / (9 * 64)),
    "glorot_uniform": np.sqrt(2 / (9 * 64 + 9 * 128)),
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


def test_a_foreign_initializer_is_named():
    class Foreign(nn.Module):
        @nn.compact
        def __call__(self, images, *, train):
            x = Conv(2, 1, name="ours")(images)
            return nn.Conv(2, (1, 1), name="theirs")(x)

    with pytest.raises(TypeError, match=r"params/theirs/(kernel|bias) was declared"):
        init_variables(Foreign(), (4, 4, 1), (0,))
