"""What newer residual nets add to the grammar of blocks, and the ImageNet net."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import linen as nn
from flax.core import meta
from flax.traverse_util import flatten_dict

from cnnjax.errors import UserError
from cnnjax.layers.dropout import Dropout, StochasticDepth
from cnnjax.layers.init import zeros
from cnnjax.models.blocks.residual import reduced_width
from cnnjax.models.registry import create_model
from cnnjax.net.forward import forward_eval, forward_train
from cnnjax.net.initialize import abstract_variables, init_variables, num_params

INPUT = (32, 32, 3)
FEW = {"num_blocks": (2, 1), "widths": (8, 16), "stem_width": 8, "num_classes": 4}


def net(name="resnet18", **arguments):
    return create_model(name, **(FEW | arguments))


def shapes(model, shape=INPUT):
    params = meta.unbox(abstract_variables(model, shape)["params"])
    return {k: v.shape for k, v in flatten_dict(params, sep="/").items()}


def one_seed(model, shape=INPUT):
    return jax.tree.map(lambda leaf: leaf[0], init_variables(model, shape, (0,)))


def evaluate(model, tree, images):
    def run(variables, images):
        return forward_eval(model, variables["params"], variables, images)

    return jax.jit(run)(tree, images)


def kernels(model, block):
    return {
        path.split("/")[1]: shape
        for path, shape in shapes(model).items()
        if path.startswith(f"{block}/conv") and path.endswith("kernel")
    }


def test_cardinality_and_inner_width():
    """Xie et al. 2016, table 1: 32 groups of 4 make 128 channels at width 64."""
    widths = {"widths": (64, 128), "num_blocks": (1, 1)}
    model = net("resnext50_32x4d", **widths)
    assert kernels(model, "stage1_block1") == {
        "conv1": (1, 1, 8, 128),
        "conv2": (3, 3, 4, 128),
        "conv3": (1, 1, 128, 256),
    }
    assert kernels(model, "stage2_block1") == {
        "conv1": (1, 1, 256, 256),
        "conv2": (3, 3, 8, 256),
        "conv3": (1, 1, 256, 512),
    }
    wide = net("wide_resnet50_2", **widths)
    assert kernels(wide, "stage1_block1")["conv2"] == (3, 3, 128, 128)
    basic = net("resnet18", base_width=128)
    assert kernels(basic, "stage1_block1") == {
        "conv1": (3, 3, 8, 16),
        "conv2": (3, 3, 16, 8),
    }


def test_the_blocks_of_senet154():
    """Hu et al. 2017, section 6."""
    found = shapes(create_model("senet154", num_blocks=(1, 1, 1, 1)), (64, 64, 3))
    block = "stage2_block1"
    assert found[f"{block}/conv1/kernel"] == (1, 1, 256, 256)
    assert found[f"{block}/conv2/kernel"] == (3, 3, 4, 512)
    assert found[f"{block}/conv3/kernel"] == (1, 1, 512, 512)
    assert found[f"{block}/shortcut/conv/kernel"] == (3, 3, 256, 512)
    assert found["stage1_block1/shortcut/conv/kernel"] == (1, 1, 128, 256)
    assert found[f"{block}/squeeze_excite/reduce_conv/kernel"] == (1, 1, 512, 32)
    stem = [found[f"stem_conv{i}/kernel"] for i in (1, 2, 3)]
    assert stem == [(3, 3, 3, 64), (3, 3, 64, 64), (3, 3, 64, 128)]


@pytest.mark.parametrize(
    ("features", "reduction", "divisor", "reduced"),
    [
        (256, 16, 1, 16),
        (256, 16, 8, 16),
        (64, 16, 8, 8),
        (192, 16, 8, 16),
        (176, 16, 8, 8),
        (8, 16, 1, 1),
    ],
)
def test_squeezed_channels(features, reduction, divisor, reduced):
    assert reduced_width(features, reduction, divisor) == reduced


def test_the_excited_branch_weighs_its_channels():
    """With gates of one half everywhere, half of the branch is added."""
    images = np.random.RandomState(0).standard_normal((2, *INPUT)).astype(np.float32)
    model = net(num_blocks=(1,), widths=(8,), squeeze_excite=True, act="identity")
    tree = one_seed(model)
    inner = tree["params"]["stage1_block1"]["squeeze_excite"]
    inner["expand_conv"] = jax.tree.map(np.zeros_like, inner["expand_conv"])
    excited = evaluate(model, tree, images)

    plain = model.clone(squeeze_excite=False)
    del tree["params"]["stage1_block1"]["squeeze_excite"]
    without = evaluate(plain, tree, images)
    last = tree["params"]["stage1_block1"]["norm2"]
    last["scale"] = last["scale"] / 2
    halved = evaluate(plain, tree, images)
    np.testing.assert_allclose(excited, halved, rtol=1e-5, atol=1e-6)
    assert np.abs(excited - without).max() > 1e-3


def random_layers(model):
    """(path, class, rate) of the random layers, in the order of the data."""
    found = []

    def note(call, args, kwargs, context):
        module = context.module
        if context.method_name == "__call__" and hasattr(module, "rate"):
            found.append(("/".join(module.path), type(module), module.rate))
        return call(*args, **kwargs)

    with nn.intercept_methods(note):
        abstract_variables(model, INPUT)
    return found


def test_where_dropout_sits():
    model = net("resnet18", block_dropout_rate=0.25, dropout_rate=0.5)
    blocks = ["stage1_block1", "stage1_block2", "stage2_block1"]
    inner = [(f"{block}/dropout", Dropout, 0.25) for block in blocks]
    assert random_layers(model) == [*inner, ("head_dropout", Dropout, 0.5)]
    # Off by default, published in front of the head of SENet-154 alone.
    assert random_layers(net("resnet18")) == [("head_dropout", Dropout, 0.0)]
    published = create_model("senet154_published", num_blocks=(1, 1, 1, 1))
    assert random_layers(published) == [("head_dropout", Dropout, 0.2)]


def test_the_survival_falls_with_the_depth():
    """Huang et al. 2016, equation 4: block l of L is dropped with rate l / L."""
    model = net("resnet18", stochastic_depth_rate=0.6)
    rates = [rate for _, kind, rate in random_layers(model) if kind is StochasticDepth]
    np.testing.assert_allclose(rates, [0.2, 0.4, 0.6])


def test_a_dropped_branch_leaves_the_shortcut():
    model = net(num_blocks=(1,), widths=(8,), stochastic_depth_rate=1.0)
    tree = one_seed(model)
    state = {"batch_stats": tree["batch_stats"]}
    images = np.random.RandomState(0).standard_normal((4, *INPUT)).astype(np.float32)

    def logits(params):
        return forward_train(model, params, state, images, jax.random.key(0))[0]

    logits = jax.jit(logits)
    got = logits(tree["params"])
    last = tree["params"]["stage1_block1"]["norm2"]
    silent = {"scale": np.zeros_like(last["scale"]), "bias": last["bias"]}
    tree["params"]["stage1_block1"]["norm2"] = silent
    np.testing.assert_array_equal(got, logits(tree["params"]))
    assert np.abs(got).max() > 1e-3


def test_scanned_blocks_give_the_same_logits():
    images = np.random.RandomState(0).standard_normal((2, *INPUT))
    arguments = {"num_blocks": (3,), "widths": (8,), "placement": "pre"}
    logits = []
    with jax.enable_x64(True):
        for scan in (False, True):
            model = net("se_resnet18", scan_blocks=scan, dtype="float64", **arguments)
            logits.append(evaluate(model, one_seed(model), images))
    np.testing.assert_allclose(*logits, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("depth", [18, 50])
def test_the_plain_twin_has_the_tree_of_option_a(depth):
    arguments = {"num_blocks": (1, 1), "widths": (8, 16), "stem_width": 8}
    twin = create_model(f"plain{depth}", **arguments)
    residual = create_model(f"resnet{depth}", shortcut="A", **arguments)
    assert dataclasses.replace(twin, residual=True) == residual
    jax.tree.map(np.testing.assert_array_equal, one_seed(twin), one_seed(residual))


def test_the_last_scale_can_start_at_zero():
    declared = abstract_variables(net("resnet50", zero_last_scale=True), INPUT)
    for stage in ("stage1_block1", "stage2_block1"):
        assert declared["params"][stage]["norm3"]["scale"].initializer == zeros
        assert declared["params"][stage]["norm2"]["scale"].initializer != zeros


@pytest.mark.parametrize(
    ("pool", "size", "pooled"),
    # As torch says for maps of 17 and 18 positions.
    [("padded", 33, 9), ("ceil", 33, 8), ("padded", 36, 9), ("ceil", 36, 9)],
)
def test_the_two_pools_of_the_stem(pool, size, pooled):
    model = net(stem_pool=pool)
    _, state = jax.eval_shape(
        lambda key, x: model.init_with_output(
            key, x, train=False, capture_intermediates=True
        ),
        jax.random.key(0),
        np.ones((1, size, size, 3), np.float32),
    )
    (found,) = state["intermediates"]["stem_pool"]["__call__"]
    assert found.shape == (1, pooled, pooled, 8)


def test_the_smallest_images():
    assert num_params(net(), (1, 1, 3)) == num_params(net(), INPUT)
    with pytest.raises(UserError, match="stem_pool: nothing is left of a 1x1 map"):
        num_params(net(stem_pool="ceil"), (2, 2, 3))


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("resnet18", {"stem": "5x5"}, "unknown stem '5x5'.*config.model.stem"),
        ("resnet18", {"stem_pool": "same"}, "unknown pool.*config.model.stem_pool"),
        ("resnet18", {"num_blocks": (2, 0)}, "numbers of blocks.*num_blocks"),
        ("resnet18", {"num_blocks": (2,)}, "one for each of the 2 stage widths"),
        ("resnet18", {"groups": 3}, "stage1_block1/conv1.*divide by 3 groups"),
        (
            "plain18",
            {"stochastic_depth_rate": 0.1},
            "without a shortcut nothing would be left.*0.0 for plain nets",
        ),
        (
            "resnet18",
            {"stochastic_depth_rate": 0.1, "scan_blocks": True},
            "scan_blocks.*stochastic_depth_rate differs from block to block",
        ),
        ("resnet18", {"block_dropout_rate": 1.5}, r"rate must lie in \[0, 1\]"),
    ],
)
def test_wrong_arguments_are_one_sentence(name, arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        num_params(net(name, **arguments), INPUT)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"depth": 26}, "depth 26 is not 6n [+] 4.*nearest are 22 and 28"),
        ({"depth": 4}, "nearest are 10 and 16"),
        ({"widen_factor": 0}, "widening factor 0 must be at least 1"),
    ],
)
def test_wrong_depths_of_wide_nets(arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        num_params(create_model("wide_resnet28_10", **arguments), INPUT)
