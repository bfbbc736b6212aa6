"""Every normalization against NumPy; running statistics; errors."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import traverse_util

from cnnjax.errors import UserError
from cnnjax.layers.functional.moments import normalize
from cnnjax.layers.group_norm import default_groups
from cnnjax.layers.init import Initializer, ones, zeros
from cnnjax.layers.norm import NORMS, Norm

SHAPE = (4, 3, 5, 6)
EPSILON = 1e-3
# The settings that `BY_HAND` is written for.
OPTIONS = {"group": {"num_groups": 2}, "local_response": {"response_alpha": 0.1}}


def build(kind, **options):
    return Norm(kind, **{"epsilon": EPSILON, **OPTIONS.get(kind, {}), **options})


def draw(shape=SHAPE, dtype=np.float32, seed=0):
    return jnp.asarray(3 + 2 * np.random.RandomState(seed).randn(*shape), dtype)


class Normed(nn.Module):
    """A norm as nets call it; its variables lie under 'norm'."""

    norm: Norm
    scale_init: Initializer = ones

    @nn.compact
    def __call__(self, x, *, train):
        return self.norm(name="norm", scale_init=self.scale_init)(x, train=train)


def variables_of(module, x):
    """Variables with parameters that are not all alike, such as scale and bias."""
    variables = module.init(jax.random.key(0), x, train=False)

    def differing(path, leaf):
        steps = jnp.arange(leaf.size, dtype=leaf.dtype).reshape(leaf.shape)
        return steps - 2 if path[-1].key == "bias" else 1 + steps / 4

    params = variables.get("params", {})
    varied = jax.tree_util.tree_map_with_path(differing, params)
    return variables | ({"params": varied} if params else {})


def train(module, variables, x):
    """Output and variables after one training step."""
    state = [name for name in variables if name != "params"]
    apply = functools.partial(module.apply, train=True, mutable=state)
    y, moved = jax.jit(apply)(variables, x)
    return y, {**variables, **moved}


def with_axes(x, axes):
    mean = x.mean(axes, keepdims=True)
    variance = ((x - mean) ** 2).mean(axes, keepdims=True)
    return (x - mean) / np.sqrt(variance + EPSILON)


def local_response(x):
    y = np.empty_like(x)
    for channel in range(x.shape[-1]):
        window = x[..., max(0, channel - 2) : channel + 3]
        total = (window**2).sum(-1)
        y[..., channel] = x[..., channel] / (2.0 + 0.1 * total) ** 0.75
    return y


def in_groups(x):
    halves = np.split(x, 2, axis=-1)
    return np.concatenate([with_axes(half, (1, 2, 3)) for half in halves], axis=-1)


BY_HAND = {
    "batch": lambda x: with_axes(x, (0, 1, 2)),
    "layer": lambda x: with_axes(x, (1, 2, 3)),
    "layer_channel": lambda x: with_axes(x, (3,)),
    "instance": lambda x: with_axes(x, (1, 2)),
    "group": in_groups,
    "local_response": local_response,
    "none": lambda x: x,
}


@pytest.mark.parametrize("kind", BY_HAND)
def test_agrees_with_numpy(kind):
    module, x = build(kind)(), draw()
    variables = variables_of(module, x)
    expected = BY_HAND[kind](np.asarray(x, np.float64))
    if "params" in variables:
        params = jax.tree.map(np.asarray, variables["params"])
        expected = expected * params["scale"] + params["bias"]
    y, _ = train(module, variables, x)
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", NORMS)
def test_what_shifts_is_said(kind):
    """A convolution in front has a bias, unless the norm adds one of its own."""
    module, x = Normed(build(kind)), draw()
    variables = module.init(jax.random.key(0), x, train=False)
    leaves = traverse_util.flatten_dict(variables.get("params", {}), sep="/")
    biases = [leaf for path, leaf in leaves.items() if path.endswith("bias")]
    assert build(kind).has_bias == bool(biases)
    assert all(leaf.shape == (6,) and not leaf.any() for leaf in biases)


@pytest.mark.parametrize("kind", NORMS)
def test_the_initial_scale_is_taken(kind):
    """Where there is a scale, the net chooses how it starts."""
    module, x = Normed(build(kind), zeros), draw()
    variables = module.init(jax.random.key(0), x, train=False)
    leaves = traverse_util.flatten_dict(variables.get("params", {}), sep="/")
    scales = [leaf for path, leaf in leaves.items() if path.endswith("scale")]
    assert not any(leaf.any() for leaf in scales)


@pytest.mark.parametrize("kind", NORMS)
def test_types(kind):
    module = Normed(build(kind))
    x = draw(dtype=jnp.bfloat16)
    variables = variables_of(module, x)
    y, moved = train(module, variables, x)
    assert y.dtype == jnp.bfloat16
    assert module.apply(moved, x, train=False).dtype == jnp.bfloat16
    assert {leaf.dtype for leaf in jax.tree.leaves(moved)} <= {jnp.dtype("float32")}
    exact, _ = train(module, variables, x.astype(jnp.float32))
    np.testing.assert_allclose(y.astype(np.float32), exact, rtol=0.01, atol=0.01)


def test_float64_statistics():
    with jax.enable_x64(True):
        x = draw(dtype=np.float64)
        module = build("batch")()
        y, _ = train(module, module.init(jax.random.key(0), x, train=False), x)
        assert y.dtype == jnp.float64
        np.testing.assert_allclose(y, with_axes(np.asarray(x), (0, 1, 2)), atol=1e-12)


def test_large_mean_does_not_cancel():
    x = draw() + 1e4
    y, _ = train(build("batch")(), variables_of(build("batch")(), x), x)
    centred, _ = train(build("batch")(), variables_of(build("batch")(), x), x - 1e4)
    np.testing.assert_allclose(y, centred, atol=0.02)


@pytest.mark.parametrize("kind", NORMS)
def test_only_statistics_of_a_batch_let_examples_see_each_other(kind):
    """What has no running statistics is the same alone, together and in evaluation."""
    module, x = Normed(build(kind)), draw()
    variables = variables_of(module, x)
    alone, _ = train(module, variables, x[:1])
    together, moved = train(module, variables, x)
    evaluated = module.apply(variables, x, train=False)
    if moved.keys() - {"params"}:
        assert np.abs(alone - together[:1]).max() > 1e-3
        assert np.abs(evaluated - together).max() > 1e-3
        return
    np.testing.assert_allclose(alone, together[:1], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(evaluated, together, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", NORMS)
def test_hashable_and_equal(kind):
    assert build(kind) == build(kind)
    assert len({build(kind), build(kind)}) == 1


@pytest.mark.parametrize("running_variance", ["biased", "unbiased"])
def test_running_statistics(running_variance):
    module = build("batch", momentum=0.8, running_variance=running_variance)()
    variables = module.init(jax.random.key(0), draw(), train=False)
    mean, var = np.zeros(6), np.ones(6)
    ddof = 1 if running_variance == "unbiased" else 0
    for step in range(3):
        x = draw(seed=step)
        _, variables = train(module, variables, x)
        flat = np.asarray(x, np.float64).reshape(-1, 6)
        mean = 0.8 * mean + 0.2 * flat.mean(0)
        var = 0.8 * var + 0.2 * flat.var(0, ddof=ddof)
    np.testing.assert_allclose(variables["batch_stats"]["mean"], mean, rtol=1e-5)
    np.testing.assert_allclose(variables["batch_stats"]["var"], var, rtol=1e-5)


def test_momentum_zero_gives_the_statistics_of_the_batch():
    module, x = build("batch", momentum=0.0, running_variance="biased")(), draw()
    y, variables = train(module, variables_of(module, x), x)
    np.testing.assert_allclose(
        module.apply(variables, x, train=False), y, rtol=1e-4, atol=1e-5
    )


def test_evaluation_uses_the_running_statistics_and_moves_nothing():
    module, x = build("batch")(), draw()
    variables = variables_of(module, x)
    variables["batch_stats"] = {"mean": jnp.arange(6.0), "var": 1 + jnp.arange(6.0)}
    y, moved = module.apply(variables, x, train=False, mutable=["batch_stats"])
    params, steps = jax.tree.map(np.asarray, variables["params"]), np.arange(6.0)
    expected = (np.asarray(x) - steps) / np.sqrt(1 + steps + EPSILON)
    expected = expected * params["scale"] + params["bias"]
    np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)
    for name, leaf in variables["batch_stats"].items():
        np.testing.assert_array_equal(moved["batch_stats"][name], leaf)


def test_ghost_batches_are_separate_batches():
    """Outputs and gradients of the parts; running statistics: the mean over parts."""
    x, whole = draw((6, 3, 5, 6)), build("batch", momentum=0.5)()
    ghost = build("batch", momentum=0.5, examples_per_statistic=2)()
    variables = variables_of(whole, x)
    y, moved = train(ghost, variables, x)
    parts = [train(whole, variables, part) for part in jnp.split(x, 3)]
    np.testing.assert_allclose(
        y, np.concatenate([part for part, _ in parts]), rtol=1e-4, atol=1e-5
    )
    for name, leaf in moved["batch_stats"].items():
        of_parts = [stats["batch_stats"][name] for _, stats in parts]
        np.testing.assert_allclose(leaf, np.mean(of_parts, 0), rtol=1e-5)

    def loss(module, x):
        return (jnp.cos(train(module, variables, x)[0])).sum()

    of_part = jax.jit(jax.grad(functools.partial(loss, whole)))
    gradients = [of_part(part) for part in jnp.split(x, 3)]
    ours = jax.jit(jax.grad(functools.partial(loss, ghost)))(x)
    np.testing.assert_allclose(ours, np.concatenate(gradients), rtol=1e-3, atol=1e-5)


def test_initialization_takes_no_statistics():
    """`init` may be given one image, whatever the groups are."""
    module = build("batch", examples_per_statistic=32)()
    variables = module.init(jax.random.key(0), draw((1, 1, 1, 6)), train=True)
    assert not variables["batch_stats"]["mean"].any()


def test_groups_by_number_and_by_size_agree():
    by_number, by_size = (
        Norm("group", **{key: 3})() for key in ("num_groups", "channels_per_group")
    )
    x = draw((2, 3, 3, 9))
    variables = variables_of(by_number, x)
    np.testing.assert_array_equal(
        by_number.apply(variables, x, train=True),
        by_size.apply(variables, x, train=True),
    )


@pytest.mark.parametrize(
    ("shape", "groups"),
    [
        ((2, 2, 2, 64), 32),
        ((2, 2, 2, 24), 24),
        ((2, 2, 2, 36), 18),
        ((2, 2, 2, 37), 1),
        # On one position a group has at least two channels.
        ((2, 1, 1, 24), 12),
        ((2, 1, 1, 7), 1),
    ],
)
def test_default_groups_are_the_largest_divisor_up_to_32(shape, groups):
    x = draw(shape)
    by_default, by_number = (
        build("group", num_groups=number)() for number in (None, groups)
    )
    variables = variables_of(by_number, x)
    np.testing.assert_array_equal(
        by_default.apply(variables, x, train=True),
        by_number.apply(variables, x, train=True),
    )
    assert default_groups(shape[-1], shape[1] * shape[2]) == groups


@pytest.mark.parametrize(
    ("kind", "options", "words"),
    [
        ("bacth", {}, "did you mean 'batch'.*config.norm.kind"),
        ("batch", {"momentum": 1.5}, "config.norm.momentum.*1.5"),
        ("batch", {"epsilon": -1.0}, "config.norm.epsilon"),
        ("batch", {"examples_per_statistic": 0}, "config.norm.examples_per_statistic"),
        ("batch", {"running_variance": "robust"}, "config.norm.running_variance"),
        ("group", {"num_groups": 2, "channels_per_group": 2}, "or neither"),
        ("local_response", {"response_size": 0}, "config.norm.response_size"),
    ],
)
def test_bad_choices_are_sentences(kind, options, words):
    with pytest.raises(UserError, match=words):
        build(kind, **options)


@pytest.mark.parametrize(
    ("kind", "options", "shape", "words"),
    [
        (
            "batch",
            {"examples_per_statistic": 4},
            (6, 2, 2, 3),
            "is 4 .* of 6 .* 4 and 8",
        ),
        ("batch", {"examples_per_statistic": 1}, (6, 1, 1, 3), "single value"),
        (
            "group",
            {"num_groups": 4},
            (2, 2, 2, 6),
            r"groups = 4 .* 6 .*\[1, 2, 3, 6",
        ),
        ("instance", {}, (2, 1, 1, 3), "single value.* 3 channels .*[1]"),
        (
            "group",
            {"num_groups": None, "channels_per_group": 4},
            (2, 2, 2, 6),
            r"channels_per_group = 4 .* 6 .*\[1, 2, 3, 6",
        ),
    ],
)
def test_misfits_are_sentences(kind, options, shape, words):
    module = build(kind, **options)()
    params = {"scale": jnp.ones(shape[-1]), "bias": jnp.zeros(shape[-1])}
    stats = {"mean": jnp.zeros(shape[-1]), "var": jnp.ones(shape[-1])}
    with pytest.raises(UserError, match=words):
        train(module, {"params": params, "batch_stats": stats}, draw(shape))


@pytest.mark.parametrize(
    ("kind", "divided", "words"),
    [
        ("batch", (1, 3, True), None),  # a layer is given all 24 images
        ("batch", (1, 3, False), "groups of 6 images, with 8 images"),
        ("batch", (1, 2, False), None),
        ("batch", (4, 1, True), None),
        ("batch", (3, 1, True), "micro-batches of 8 images"),
        ("group", (3, 1, False), None),
    ],
)
def test_divided_batches_fit_the_groups_or_are_refused(kind, divided, words):
    microbatches, num_devices, whole = divided
    reason = Norm(kind, examples_per_statistic=6).refusal(
        24, microbatches=microbatches, num_devices=num_devices, whole=whole
    )
    assert reason is None if words is None else words in reason


def test_float64_images_are_normalized_in_float64():
    """By float32 statistics, as those of a file are."""
    stream = np.random.RandomState(0)
    x, mean, var = stream.standard_normal((3, 4, 5))
    mean, var = mean[:1].astype(np.float32), np.abs(var[:1]).astype(np.float32)
    with jax.enable_x64(True):
        ours = normalize(jnp.asarray(x), *map(jnp.asarray, (mean, var)), 1e-5)
    expected = (x - mean.astype(float)) / np.sqrt(var.astype(float) + 1e-5)
    np.testing.assert_allclose(ours, expected, rtol=1e-13)
