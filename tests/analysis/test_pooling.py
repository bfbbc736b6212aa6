"""Rows of the profile for pooling that a net writes as a function."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnnjax.analysis.profile import profile_model
from cnnjax.analysis.profile_table import as_record, render_profile
from cnnjax.layers.conv import Conv, Dense
from cnnjax.layers.norm import Norm
from cnnjax.layers.pool import AvgPool, GlobalAvgPool, MaxPool
from cnnjax.models.registry import create_model
from tests import ordinary

SHAPE = (16, 16, 3)
FACTS = (
    "kind",
    "output",
    "params",
    "multiply_adds",
    "pool_operations",
    "activation_bytes",
    "receptive_field",
)


class Modules(nn.Module):
    """Pools as modules of ours."""

    @nn.compact
    def __call__(self, x, *, train):
        x = MaxPool(3, 2, 1, name="a")(Conv(4, 3, padding=1, name="conv1")(x))
        x = AvgPool(2, 2, name="b")(Conv(4, 3, padding=1, name="conv2")(x))
        return Dense(5, name="head")(GlobalAvgPool(name="c")(x))


class Functions(nn.Module):
    """The same net, with functions."""

    @nn.compact
    def __call__(self, x, *, train):
        x = Conv(4, 3, padding=1, name="conv1")(x)
        x = nn.max_pool(x, (3, 3), (2, 2), ((1, 1), (1, 1)))
        x = nn.avg_pool(Conv(4, 3, padding=1, name="conv2")(x), (2, 2), (2, 2))
        return Dense(5, name="head")(x.mean((1, 2)))


def test_a_function_has_the_row_of_the_module():
    by_module, by_function = (
        profile_model(net, SHAPE) for net in (Modules(), Functions())
    )
    for ours, other in zip(by_module.layers, by_function.layers, strict=True):
        assert [getattr(ours, f) for f in FACTS] == [getattr(other, f) for f in FACTS]
    names = [row.name for row in by_function.layers]
    assert names == [
        "conv1",
        "max_pool",
        "conv2",
        "avg_pool",
        "global_avg_pool",
        "head",
    ]
    assert by_module.totals() == by_function.totals()


class Statistics(nn.Module):
    """A norm and a gate as functions, and pools of one kind after another."""

    @nn.compact
    def __call__(self, x, *, train):
        x = nn.Conv(4, (3, 3), kernel_init=ordinary.normal)(x)
        x = x - x.mean((1, 2), keepdims=True)
        gate = nn.Dense(4, kernel_init=ordinary.normal)(x.mean((1, 2)))
        x = x * nn.sigmoid(gate)[:, None, None]
        x = nn.max_pool(nn.max_pool(x, (2, 2), (2, 2)), (2, 2), (2, 2))
        x = x * jax.lax.rsqrt((x**2).mean(-1, keepdims=True))
        return jnp.concatenate([x.mean((1, 2)), x.max((1, 2))], -1)


def test_statistics_and_gates_are_no_pools():
    rows = profile_model(Statistics(), SHAPE).layers
    pools = [row.name for row in rows if row.kind == "pool"]
    assert pools == ["max_pool", "max_pool_2", "global_avg_pool", "global_max_pool"]


def test_within_a_module_the_row_has_its_path():
    class Outer(nn.Module):
        @nn.compact
        def __call__(self, x, *, train):
            return Functions(name="body")(x, train=train)

    names = [row.name for row in profile_model(Outer(), SHAPE).layers]
    assert names[1] == "body/max_pool"
    assert names[-2:] == ["body/global_avg_pool", "body/head"]


@pytest.mark.parametrize("kind", ["group", "instance", "local_response"])
def test_our_norms_and_gates_have_no_rows_of_pools(kind):
    norm = Norm(kind)
    net = create_model(
        "resnet20_cifar", norm=norm, depth=8, widths=(4, 6, 8), squeeze_excite=True
    )
    rows = profile_model(net, SHAPE).layers
    assert [row.name for row in rows if row.kind == "pool"] == ["pool"]


def test_the_groups_that_were_chosen_are_said():
    net = create_model("resnet20_cifar", norm="group", depth=8, widths=(16, 36, 64))
    profile = profile_model(net, SHAPE)
    assert "16 groups of 1 in layers of 16 channels (stem_norm and 2 more)" in (
        profile.groups
    )
    assert "18 groups of 2 in layers of 36 channels" in profile.groups
    assert "64 channels" not in profile.groups
    assert as_record(profile)["notes"]["groups"] == profile.groups
    assert "groups: 32 do not divide" in render_profile(profile, "text")
    for norm in ("batch", Norm("group", num_groups=2)):
        other = create_model("resnet20_cifar", norm=norm, depth=8, widths=(4, 6, 8))
        assert profile_model(other, SHAPE).groups == ""
    assert profile_model(create_model("resnet50_gn"), (64, 64, 3)).groups == ""
    assert create_model("resnet50_gn").norm.num_groups == 32


def test_default_groups_are_those_of_flax():
    """Widths of DenseNets that 32 does not divide; the witness is nn.GroupNorm."""
    x = 3 * np.random.RandomState(0).randn(2, 4, 4, 36).astype(np.float32)
    ours = Norm("group", epsilon=1e-5).module()
    variables = ours.init(jax.random.key(0), x, train=False)
    expected = nn.GroupNorm(18, epsilon=1e-5).apply(variables, x)
    np.testing.assert_allclose(
        ours.apply(variables, x, train=True), expected, rtol=1e-4, atol=1e-5
    )
