"""GoogLeNet: counts by hand, the lecture's tables, sizes, places of norms and heads."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax.core import meta
from flax.traverse_util import flatten_dict

from cnnjax.analysis.complexity import multiply_adds
from cnnjax.errors import UserError
from cnnjax.layers.auxiliary import AUXILIARY
from cnnjax.layers.conv import Conv
from cnnjax.layers.norm import Norm
from cnnjax.models.blocks.inception import Branches
from cnnjax.models.googlenet import inception
from cnnjax.models.registry import create_model, variant
from cnnjax.net.forward import forward_eval
from cnnjax.net.initialize import abstract_variables
from tests.models.shapes import output_shapes

# Table 1 of arXiv 1409.4842, typed once more: side of the map, then channels of the
# 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5 and pool projection convolutions.
TABLE = {
    "3a": (28, 64, 96, 128, 16, 32, 32),
    "3b": (28, 128, 128, 192, 32, 96, 64),
    "4a": (14, 192, 96, 208, 16, 48, 64),
    "4b": (14, 160, 112, 224, 24, 64, 64),
    "4c": (14, 128, 128, 256, 24, 64, 64),
    "4d": (14, 112, 144, 288, 32, 64, 64),
    "4e": (14, 256, 160, 320, 32, 128, 128),
    "5a": (7, 256, 160, 320, 32, 128, 128),
    "5b": (7, 384, 192, 384, 48, 128, 128),
}
# The output column of the table.
CHANNELS = (256, 480, 512, 512, 512, 528, 832, 832, 1024)


LARGE_STEM = [(3 * 49, 64, 112), (64, 64, 56), (64 * 9, 192, 56)]
SMALL = {"stem": [(27, 192, 32)], "larger": 8 / 7, "classes": 10}


def by_hand(
    per_channel, reduced=True, large=5, stem=LARGE_STEM, larger=1, classes=1000
):
    """(parameters with heads, parameters without, multiply-adds) at 224 pixels.

    per_channel is 1 for a bias, 2 for the scale and bias of a norm; maps are `larger`
    than in the table.
    """
    convs = list(stem)
    heads, before = 0, 192
    for name, (side, one, reduce3, three, reduce5, five, pool) in TABLE.items():
        side = round(side * larger)
        if reduced:
            convs += [
                (before, one, side),
                (before, reduce3, side),
                (9 * reduce3, three, side),
                (before, reduce5, side),
                (large**2 * reduce5, five, side),
                (before, pool, side),
            ]
            before = one + three + five + pool
        else:
            convs += [
                (before, one, side),
                (9 * before, three, side),
                (large**2 * before, five, side),
            ]
            before = one + three + five + before
        if name in ("4a", "4d"):
            heads += before * 128 + per_channel * 128
            heads += 2048 * 1024 + 1024 + 1024 * classes + classes
    weights = sum(inputs * width + per_channel * width for inputs, width, _ in convs)
    products = sum(inputs * width * side**2 for inputs, width, side in convs)
    head = before * classes
    without = weights + head + classes
    return without + heads, without, products + head


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("googlenet", {"per_channel": 2, "large": 3}),
        ("googlenet_published", {"per_channel": 1}),
        ("googlenet_bn", {"per_channel": 2}),
        ("googlenet_naive", {"per_channel": 2, "reduced": False}),
        ("googlenet_cifar", {"per_channel": 2} | SMALL),
    ],
)
def test_the_counts_by_hand(name, arguments):
    entry, (with_heads, without, products) = variant(name), by_hand(**arguments)
    assert (entry.num_params, entry.multiply_adds) == (with_heads, products)
    assert f"{without:,}" in entry.source


# -- the lecture's tables --------------------------------------------------------------


def module_of(reduced):
    """1x1x128, 3x3x192, 5x5x96 and pooling; reductions to 64 channels."""
    return Branches(
        inception((128, 64, 192, 64, 96, 64), reduced=reduced),
        functools.partial(Conv, use_bias=True),
        Norm("none"),
        nn.relu,
    )


@pytest.mark.parametrize(
    ("reduced", "channels", "millions"), [(False, 672, 854.2), (True, 480, 271.35)]
)
def test_the_lecture_s_inception_module(reduced, channels, millions):
    module = module_of(reduced)
    image = jax.ShapeDtypeStruct((1, 28, 28, 256), jnp.float32)
    variables = jax.eval_shape(
        lambda x: module.init(jax.random.key(0), x, train=False), image
    )

    def apply(variables, x):
        return module.apply(variables, x, train=False)

    assert jax.eval_shape(apply, variables, image).shape == (1, 28, 28, channels)
    count = multiply_adds(apply, variables, image)
    assert count / 1e6 == pytest.approx(millions, abs=0.05)


def test_the_lecture_s_table_of_the_stem():
    """Channels, side, memory in KB, weights in thousands, millions of multiply-adds."""
    shapes, declared = output_shapes("googlenet_published", 224)
    rows = [
        ("stem_conv1", 64, 112, 3136, 9, 118),
        ("pool1", 64, 56, 784, 0, 2),
        ("stem_conv2", 64, 56, 784, 4, 13),
        ("stem_conv3", 192, 56, 2352, 111, 347),
        ("pool2", 192, 28, 588, 0, 1),
    ]
    total = 0
    for name, channels, side, memory, thousands, millions in rows:
        assert shapes[name] == (side, side, channels)
        assert round(np.prod(shapes[name]) * 4 / 1024) == memory
        if "pool" in name:
            operations = 9 * np.prod(shapes[name])
        else:
            kernel = declared["params"][name]["conv"]["kernel"].value
            assert round(kernel.size / 1000) == thousands
            total += kernel.size
            operations = kernel.size * side**2
        assert round(operations / 1e6) == millions
    assert total == 124_096


@pytest.mark.parametrize("name", ["googlenet", "googlenet_published"])
def test_the_output_sizes_of_table_1(name):
    shapes, _ = output_shapes(name, 224)
    found = [
        shape
        for path, shape in shapes.items()
        if path.startswith("stage") and "/" not in path
    ]
    sides = [row[0] for row in TABLE.values()]
    assert found == [(s, s, c) for s, c in zip(sides, CHANNELS, strict=True)]
    # The map that the dense layers of the published heads were made for.
    assert shapes["auxiliary_shallow/pool"] == (4, 4, 512)
    assert shapes["auxiliary_deep/pool"] == (4, 4, 528)


def test_the_factor_of_the_channels():
    shapes, _ = output_shapes("googlenet", 32, width=0.5)
    halved = [shapes[f"stage{i}_block{j}"][-1] for i, j in ((1, 1), (2, 4), (3, 2))]
    assert halved == [128, 264, 512]
    assert shapes["stem_conv3"][-1] == 96
    assert shapes["auxiliary_deep/conv"] == (4, 4, 64)
    assert shapes["auxiliary_deep/dense"] == (512,)


def test_fewer_modules_at_full_size():
    shapes, _ = output_shapes("googlenet_cifar", 8, num_blocks=(1, 2, 1), width=0.25)
    modules = {path: s for path, s in shapes.items() if "block" in path}
    modules = {path: s for path, s in modules.items() if "/" not in path}
    assert modules == {
        "stage1_block1": (8, 8, 64),
        "stage2_block1": (4, 4, 128),
        "stage2_block2": (4, 4, 128),
        "stage3_block1": (2, 2, 208),
    }
    heads = {path.split("/")[0] for path in shapes if path.startswith("auxiliary")}
    assert heads == {"auxiliary_shallow"}  # the other sits behind the fourth module


# -- norms, heads, sizes ---------------------------------------------------------------


def test_local_response_norm_sits_at_the_two_published_places():
    shapes, _ = output_shapes("googlenet_published", 224)
    assert shapes["norm1"] == (56, 56, 64)
    assert shapes["norm2"] == (56, 56, 192)
    order = [path for path in shapes if path in ("norm1", "norm2", "pool1", "pool2")]
    assert order == ["pool1", "norm1", "norm2", "pool2"]
    shapes, _ = output_shapes("googlenet_bn", 224)
    assert not {"norm1", "norm2"} & shapes.keys()


def test_heads_run_in_training_alone():
    model = create_model("googlenet", num_classes=5, norm="none")
    variables = meta.unbox(abstract_variables(model, (32, 32, 3)))
    images = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)

    def train(variables, images):
        return model.apply(
            variables,
            images,
            train=True,
            mutable=[AUXILIARY],
            rngs={"dropout": jax.random.key(0)},
        )

    logits, state = jax.eval_shape(train, variables, images)
    # torchvision gives (logits, deep head, shallow head); a tree sorts its names.
    order = ["auxiliary_deep_logits", "auxiliary_shallow_logits"]
    assert sorted(state[AUXILIARY]) == order
    heads = jax.tree.leaves(state[AUXILIARY])
    assert [head.shape for head in heads] == [logits.shape] * 2 == [(2, 5)] * 2

    params = variables["params"]
    del params["auxiliary_deep"], params["auxiliary_shallow"]
    alone = jax.eval_shape(lambda p, x: forward_eval(model, p, {}, x), params, images)
    assert alone.shape == (2, 5)
    without = create_model("googlenet", num_classes=5, norm="none")
    without = without.clone(auxiliary_heads=False)
    declared = meta.unbox(abstract_variables(without, (32, 32, 3)))
    assert jax.tree.structure(declared["params"]) == jax.tree.structure(params)


@pytest.mark.parametrize(
    ("normed", "layers"),
    [("none", set()), ("conv", {"conv/norm"}), ("all", {"conv/norm", "dense_norm"})],
)
def test_norms_of_auxiliary_heads(normed, layers):
    model = create_model("googlenet_cifar", auxiliary_norm=normed, norm="batch")
    declared = meta.unbox(abstract_variables(model, (8, 8, 1)))
    head = declared["params"]["auxiliary_deep"]
    # A convolution without a norm has a bias in its place.
    assert ("bias" in head["conv"]["conv"]) == (normed == "none")
    paths = {"/".join(path) for path in flatten_dict(head)}
    scales = {path.removesuffix("/scale") for path in paths if path.endswith("scale")}
    assert scales == layers


@pytest.mark.parametrize(
    ("name", "arguments", "smallest"),
    [
        ("googlenet", {}, 15),
        ("googlenet_published", {}, 79),
        ("googlenet_published", {"auxiliary_heads": False}, 31),
    ],
)
def test_the_smallest_images(name, arguments, smallest):
    model = create_model(name, **arguments)
    abstract_variables(model, (smallest, smallest, 3))
    abstract_variables(model, (smallest, smallest + 6, 1))
    with pytest.raises(UserError, match="nothing is left of a"):
        abstract_variables(model, (smallest - 1, smallest, 3))


@pytest.mark.parametrize(
    ("argument", "value", "sentence"),
    [
        ("auxiliary_pool", "adaptiv", "did you mean 'adaptive'"),
        ("branch3_kernel", 4, "must be odd, not 4 x 4"),
        ("width", 0.0, "must be positive, not 0.0"),
        ("auxiliary_norm", "both", "allowed are"),
        ("stem", "smal", "did you mean 'small'"),
        ("num_blocks", (2, 6, 2), r"2, 5 and 2 modules"),
        ("num_blocks", (2, 0, 2), "3 numbers of at least 1"),
    ],
)
def test_wrong_choices_are_named(argument, value, sentence):
    model = create_model("googlenet", **{argument: value})
    with pytest.raises(UserError, match=sentence) as caught:
        abstract_variables(model, (32, 32, 3))
    assert f"config.model.{argument}" in str(caught.value)
