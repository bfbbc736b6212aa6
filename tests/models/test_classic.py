"""LeNet, AlexNet, ZFNet, NiN and VGG: counts by hand, and what makes each its own.

The counts are worked out here from the papers' tables, never by calling the nets.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.models.lenet import TABLE_I, TrainedPool
from cnnjax.models.registry import create_model, variant
from cnnjax.net.forward import forward_eval
from cnnjax.net.initialize import abstract_variables, init_variables

# A convolution: (output side, input channels of one filter, side of it, filters).
ALEXNET = [
    (55, 3, 11, 96),
    (27, 96, 5, 256),
    (13, 256, 3, 384),
    (13, 384, 3, 384),
    (13, 384, 3, 256),
]
# The two processors: filters of conv2, conv4 and conv5 see half of the maps.
TWO_TOWERS = [
    (side, channels // 2 if i in (2, 4, 5) else channels, window, filters)
    for i, (side, channels, window, filters) in enumerate(ALEXNET, start=1)
]
ZFNET = [
    (110, 3, 7, 96),
    (26, 96, 5, 256),
    (13, 256, 3, 384),
    (13, 384, 3, 384),
    (13, 384, 3, 256),
]
ZFNET_WIDE = [
    *ZFNET[:2],
    (13, 256, 3, 512),
    (13, 512, 3, 1024),
    (13, 1024, 3, 512),
]
NIN_CIFAR = [
    (32, 3, 5, 192),
    (32, 192, 1, 160),
    (32, 160, 1, 96),
    (16, 96, 5, 192),
    (16, 192, 1, 192),
    (16, 192, 1, 192),
    (8, 192, 3, 192),
    (8, 192, 1, 192),
    (8, 192, 1, 10),
]
NIN = [
    (54, 3, 11, 96),
    (54, 96, 1, 96),
    (54, 96, 1, 96),
    (27, 96, 5, 256),
    (27, 256, 1, 256),
    (27, 256, 1, 256),
    (13, 256, 3, 384),
    (13, 384, 1, 384),
    (13, 384, 1, 384),
    (6, 384, 3, 1024),
    (6, 1024, 1, 1024),
    (6, 1024, 1, 1000),
]


def dense(*widths):
    """Dense layers between these widths, as windows over one position."""
    return [(1, a, 1, b) for a, b in itertools.pairwise(widths)]


def params(layers):
    return sum((window**2 * c + 1) * filters for _, c, window, filters in layers)


def products(layers):
    return sum(side**2 * window**2 * c * filters for side, c, window, filters in layers)


def vgg_convolutions(depths, size):
    """Configurations A, B, D, E: the map halves and the width doubles, up to 512."""
    layers, channels = [], 3
    for stage, depth in enumerate(depths):
        width = min(64 << stage, 512)
        for _ in range(depth):
            layers.append((size >> stage, channels, 3, width))
            channels = width
    return layers


IMAGENET_HEAD = (4096, 4096, 1000)
BY_HAND = {
    "lenet5": [(28, 1, 5, 6), (10, 6, 5, 16), *dense(400, 120, 84, 10)],
    "alexnet_published": TWO_TOWERS + dense(9216, *IMAGENET_HEAD),
    "alexnet_ungrouped": ALEXNET + dense(9216, *IMAGENET_HEAD),
    "zfnet_published": ZFNET + dense(9216, *IMAGENET_HEAD),
    "zfnet": ZFNET_WIDE + dense(512 * 36, *IMAGENET_HEAD),
    "nin_cifar": NIN_CIFAR,
    "nin": NIN,
    "vgg11_lrn": vgg_convolutions((1, 1, 2, 2, 2), 224)
    + dense(512 * 49, *IMAGENET_HEAD),
}
VGG_DEPTHS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3)}
VGG_DEPTHS |= {19: (2, 2, 4, 4, 4)}


@pytest.mark.parametrize("name", BY_HAND)
def test_counts_by_hand(name):
    """That the nets have these counts is tested for every entry in test_counts.py."""
    assert variant(name).num_params == params(BY_HAND[name])
    assert variant(name).multiply_adds == products(BY_HAND[name])


@pytest.mark.parametrize("depth", VGG_DEPTHS)
def test_counts_of_the_small_vggs_by_hand(depth):
    convolutions = vgg_convolutions(VGG_DEPTHS[depth], 32)
    head = dense(512, 10)
    norms = sum(2 * filters for *_, filters in convolutions)
    entry = variant(f"vgg{depth}_bn_cifar")
    assert entry.num_params == params(convolutions + head) + norms
    assert entry.multiply_adds == products(convolutions + head)


def test_counts_that_the_papers_print():
    assert round(variant("alexnet_published").num_params / 1e6) == 61
    # LeCun et al. 1998, section II.B: C1 156, S2 12, C3 1,516, S4 32, C5 48,120, F6
    # 10,164; together 60,000. The output layer here is linear: 84 * 10 + 10.
    declared = abstract_variables(create_model("lenet5_published"), (28, 28, 1))
    sizes = {
        layer: sum(leaf.size for leaf in jax.tree.leaves(leaves))
        for layer, leaves in declared["params"].items()
    }
    assert sizes == {
        "conv1": 156,
        "pool1": 12,
        "conv2": 1516,
        "pool2": 32,
        "dense1": 48_120,
        "dense2": 10_164,
        "head": 850,
    }
    assert variant("lenet5_published").num_params == 60_000 + 850
    # The 36 filters that table I leaves out are multiplied as zeros.
    assert variant("lenet5_published").multiply_adds == products(BY_HAND["lenet5"])
    # Simonyan & Zisserman 2014, table 2, in millions.
    millions = {11: 133, 13: 133, 16: 138, 19: 144}
    for depth, count in millions.items():
        assert round(variant(f"vgg{depth}").num_params / 1e6) == count


def trace(name, shape=None, **arguments):
    """(name of the layer, class, shape of its output) in the order of the calls."""
    seen = []

    def note(call, args, kwargs, context):
        y = call(*args, **kwargs)
        if context.method_name == "__call__" and len(context.module.path) == 1:
            layer = context.module
            seen.append((layer.name, type(layer).__name__, y.shape[1:]))
        return y

    with nn.intercept_methods(note):
        abstract_variables(
            create_model(name, **arguments), shape or variant(name).input_shape
        )
    return seen


def names_in(layers):
    return [name for name, *_ in layers]


def sizes_in(layers):
    return {name: shape for name, _, shape in layers}


def test_layers_of_alexnet_as_published():
    """Krizhevsky et al. 2012, section 3.5: norm before the pool in layers 1 and 2."""
    layers = trace("alexnet_published")
    assert names_in(layers) == [
        *("conv1", "norm1", "pool1", "conv2", "norm2", "pool2"),
        *("conv3", "conv4", "conv5", "pool5", "flatten"),
        *("fc6", "dropout6", "fc7", "dropout7", "head"),
    ]
    norms = {kind for name, kind, _ in layers if name.startswith("norm")}
    assert norms == {"LocalResponseNorm"}
    sizes = sizes_in(layers)
    assert sizes["conv1"] == (55, 55, 96)
    assert sizes["pool1"] == (27, 27, 96)
    assert sizes["pool2"] == (13, 13, 256)
    assert sizes["pool5"] == (6, 6, 256)
    assert sizes["flatten"] == (9216,)


def test_another_norm_sits_behind_every_convolution():
    names = names_in(trace("alexnet_published", norm="batch"))
    for i in range(1, 6):
        assert names.index(f"norm{i}") == names.index(f"conv{i}") + 1


def test_layers_of_zfnet():
    """Zeiler & Fergus 2013, figure 3: sizes, and norm behind the pool."""
    layers = trace("zfnet_published")
    assert names_in(layers)[:6] == [
        "conv1",
        "pool1",
        "norm1",
        "conv2",
        "pool2",
        "norm2",
    ]
    sides = {
        name: shape[0] for name, _, shape in layers if name[:4] in ("conv", "pool")
    }
    assert sides == {
        "conv1": 110,
        "pool1": 55,
        "conv2": 26,
        "pool2": 13,
        "conv3": 13,
        "conv4": 13,
        "conv5": 13,
        "pool5": 6,
    }


def test_layers_of_torchvisions_alexnet():
    layers = trace("alexnet")
    dense = ["flatten", "dropout6", "fc6", "dropout7", "fc7", "head"]
    assert names_in(layers)[-6:] == dense
    # The lecture's input: no other size in the grid of the dense layers, either.
    sizes = sizes_in(trace("alexnet", (227, 227, 3)))
    assert sizes["conv1"] == (56, 56, 64)
    assert sizes["flatten"] == (9216,)
    assert "adaptive_pool" not in sizes
    assert sizes_in(trace("alexnet", (300, 260, 3)))["adaptive_pool"] == (6, 6, 256)


def test_layers_of_nin():
    sizes = sizes_in(trace("nin"))
    sides = [sizes[f"stage{stage}_pool"][0] for stage in (1, 2, 3)]
    assert sides == [27, 13, 6]
    assert sizes["head"] == (6, 6, 1000)
    small = trace("nin_cifar")
    kinds = {name: kind for name, kind, _ in small if name.endswith("pool")}
    assert kinds == {
        "stage1_pool": "MaxPool",
        "stage2_pool": "AvgPool",
        "global_pool": "GlobalAvgPool",
    }
    assert sizes_in(small)["head"] == (8, 8, 10)


def test_local_response_norm_in_vgg_is_configuration_a_lrn():
    layers = trace("vgg11_lrn")
    norms = [layer for layer in layers if "norm" in layer[0]]
    assert norms == [("stage1_norm1", "LocalResponseNorm", (224, 224, 64))]


def test_vgg_without_dense_layers():
    layers = names_in(trace("vgg16_bn_cifar"))
    assert layers[-3:] == ["stage5_pool", "global_pool", "head"]
    assert sum("conv" in name for name in layers) == 13


def test_bias_of_vggs_convolutions():
    def with_bias(**arguments):
        model = create_model("vgg11_bn_cifar", **arguments)
        declared = abstract_variables(model, (32, 32, 3))["params"]
        convolutions = [leaf for name, leaf in declared.items() if "conv" in name]
        return sum("bias" in leaf for leaf in convolutions)

    assert with_bias() == 8  # as in torchvision
    assert with_bias(conv_bias=False) == 0
    assert with_bias(conv_bias=False, norm="none") == 8


# Table I of LeCun et al. 1998 as it is printed: rows are maps of S2, columns of C3.
TABLE = (
    "X...XXX..XXXX.XX",
    "XX...XXX..XXXX.X",
    "XXX...XXX..X.XXX",
    ".XXX..XXXX..X.XX",
    "..XXX..XXXX.XX.X",
    "...XXX..XXXX.XXX",
)


def lenet(images, params=None, **arguments):
    """Parameters, and logits of the published form."""
    model = create_model("lenet5_published", **arguments)
    if params is None:
        variables = init_variables(model, (28, 28, 1), (0,))
        params = jax.tree.map(lambda leaf: leaf[0], variables["params"])
    return params, jax.jit(lambda p, x: forward_eval(model, p, {}, x))(params, images)


def test_partial_connections_are_all_connections_with_zeros():
    columns = [[r for r in range(6) if TABLE[r][c] == "X"] for c in range(16)]
    assert [sorted(maps) for maps in TABLE_I] == columns
    images = np.random.RandomState(0).standard_normal((2, 28, 28, 1))
    images = images.astype(np.float32)
    params, logits = lenet(images)
    kernel = np.zeros((5, 5, 6, 16), np.float32)
    pairs = [(row, column) for column, maps in enumerate(TABLE_I) for row in maps]
    for connection, (row, column) in enumerate(pairs):
        kernel[:, :, row, column] = params["conv2"]["kernel"][:, :, 0, connection]
    params = {**params, "conv2": {**params["conv2"], "kernel": kernel}}
    _, full = lenet(images, params, connections="all")
    np.testing.assert_allclose(logits, full, rtol=1e-4, atol=1e-5)


def test_subsampling_is_a_scaled_mean_through_the_activation():
    images = np.random.RandomState(0).standard_normal((1, 28, 28, 2))
    images = images.astype(np.float32)
    pool = TrainedPool()
    params = {"coefficient": jnp.array([2.0, -1.0]), "offset": jnp.array([0.5, 0.0])}
    y = pool.apply({"params": params}, images)
    means = images.reshape(1, 14, 2, 14, 2, 2).mean((2, 4))
    np.testing.assert_allclose(y, means * [2.0, -1.0] + [0.5, 0.0], rtol=1e-5)
    # The rectifier is called behind both: conv1, pool1, conv2, pool2, dense1, dense2.
    called = []
    model = create_model("lenet5_published").clone(act=lambda x: called.append(1) or x)
    abstract_variables(model, (28, 28, 1))
    assert len(called) == 6


def test_sizes_that_the_published_stride_cannot_take():
    wanted = r"conv1: \(224 - 11 \+ 0\) / 4 \+ 1 is not a whole number.*223 and 227"
    with pytest.raises(UserError, match=wanted):
        trace("alexnet_published", (224, 224, 3))
    for side in (223, 67):
        assert sizes_in(trace("alexnet_published", (side, side, 3)))["head"] == (1000,)


@pytest.mark.parametrize(
    ("name", "side", "layer"),
    [
        ("alexnet", 32, "pool5"),
        ("zfnet", 12, "conv2"),
        ("vgg16", 31, "stage5_pool"),
        ("nin", 8, "stage1_conv1"),
    ],
)
def test_a_map_that_vanishes_is_named(name, side, layer):
    with pytest.raises(UserError, match=f"^{layer}: nothing is left"):
        trace(name, (side, side, 3))


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("alexnet", {"groups": (1, 2)}, r"groups \(1, 2\) must be 5 numbers of at le"),
        ("alexnet", {"strides": (0, 1, 1, 1, 1)}, "config.model.strides .* least 1"),
        ("alexnet", {"paddings": (-1, 0, 0, 0, 0)}, "config.model.paddings .* least 0"),
        ("alexnet", {"pool_window": 0}, r"config.model.pool_window \(0,\)"),
        ("alexnet", {"dense_widths": (0,)}, "config.model.dense_widths"),
        ("alexnet", {"pool": "man"}, "did you mean 'max'.*config.model.pool"),
        ("alexnet", {"dropout_on": "input"}, "did you mean 'inputs'"),
        ("alexnet", {"response_norm": "pool"}, "config.model.response_norm"),
        ("vgg11", {"depths": (1, 1)}, "config.model.widths .* must be 2 numbers"),
        ("vgg11", {"depths": (1, 1, 0, 1, 1)}, "config.model.depths .* at least 1"),
        ("vgg11", {"head": "gpa"}, "did you mean 'gap'"),
        ("nin", {"pools": ("max",)}, "must be 3 kinds.* 4 stages of config.model.wid"),
        ("nin_cifar", {"widths": ((1,), (), (2,))}, "config.model.widths .* least 1"),
        ("lenet5", {"pool": "traned"}, "did you mean 'trained'"),
        ("lenet5", {"connections": "tabel"}, "did you mean 'table'"),
    ],
)
def test_wrong_choices_are_named(name, arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        trace(name, **arguments)
