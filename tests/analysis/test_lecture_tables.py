"""The tables that lectures draw by hand, to the digit.

Conventions there as here: one multiply-add is one operation, 1 KB is 1,024 bytes of
float32 for one image. Where a printed figure is wrong, `docs/lecture_errata.md` shows
the arithmetic, and the right figure stands here.
"""

import jax
import numpy as np
import pytest

from cnnjax.analysis.profile import profile_model
from cnnjax.errors import UserError
from cnnjax.layers.conv import Conv
from cnnjax.layers.functional.window import output_size
from cnnjax.models.registry import create_model
from cnnjax.net.initialize import num_params
from tests.slow import slow

# name, channels, size, memory KB, parameters k, operations M (pooling its window's).
ALEXNET_227 = [
    ("conv1", 64, 56, 784, 23, 73),
    ("pool1", 64, 27, 182, 0, 0.4),
    ("conv2", 192, 27, 547, 307, 224),
    ("pool2", 192, 13, 127, 0, 0.3),
    ("conv3", 384, 13, 254, 664, 112),
    ("conv4", 256, 13, 169, 885, 150),
    ("conv5", 256, 13, 169, 590, 100),
    ("pool5", 256, 6, 36, 0, 0.1),
    ("flatten", 9216, None, 36, 0, 0),
    ("fc6", 4096, None, 16, 37_753, 38),
    ("fc7", 4096, None, 16, 16_781, 17),
    ("head", 1000, None, 4, 4_097, 4),
]
GOOGLENET_STEM = [
    (64, 112, 3136, 9, 118),
    (64, 56, 784, 0, 2),
    (64, 56, 784, 4, 13),
    (192, 56, 2352, 111, 347),
    (192, 28, 588, 0, 1),
]


def profile(name, side, **arguments):
    return profile_model(create_model(name, **arguments), (side, side, 3), name)


def rows(net, kinds=("conv", "pool", "dense", "flatten")):
    return [row for row in net.layers if row.kind in kinds]


def operations_in_millions(row, digits):
    return round((row.multiply_adds + row.pool_operations) / 1e6, digits)


@pytest.fixture(scope="module")
def alexnet():
    return profile("alexnet", 227)


@pytest.mark.parametrize("index", range(len(ALEXNET_227)))
def test_alexnet(alexnet, index):
    assert len(alexnet.layers) == len(ALEXNET_227)
    row = alexnet.layers[index]
    name, channels, size, memory, params, operations = ALEXNET_227[index]
    assert (row.name, row.channels) == (name, channels)
    assert row.size == (size and (size, size))
    assert round(row.activation_bytes / 1024) == memory
    assert round(row.params / 1e3) == params
    digits = 1 if operations < 1 else 0
    assert operations_in_millions(row, digits) == operations


def test_totals_of_alexnet(alexnet):
    net, by_kind = alexnet, alexnet.by_kind()
    assert round(by_kind["conv"]["activation_bytes"] / 2**20, 1) == 1.9
    assert round(net.totals()["multiply_adds"] / 1e9, 1) == 0.7
    # Where it sits: memory and operations in convolutions, parameters in dense layers.
    share = by_kind["dense"]["params"] / net.totals()["params"]
    assert 0.95 < share < 0.97
    share = by_kind["conv"]["multiply_adds"] / net.totals()["multiply_adds"]
    assert 0.91 < share < 0.93


def test_the_printed_dense_layers_of_alexnet_leave_the_biases_out(alexnet):
    dense = [row for row in alexnet.layers if row.kind == "dense"]
    weights = [round((row.params - row.channels) / 1e3) for row in dense]
    assert weights == [37_749, 16_777, 4_096]


def test_alexnet_as_published():
    model = create_model("alexnet_published")
    first = profile("alexnet_published", 227).layers[0]
    assert (first.size, first.channels, first.params) == ((55, 55), 96, 34_944)
    assert round(num_params(model, (227, 227, 3)) / 1e6, 2) == 60.97
    ungrouped = create_model("alexnet_ungrouped")
    assert round(num_params(ungrouped, (227, 227, 3)) / 1e6, 1) == 62.4


def test_the_stem_of_googlenet():
    stem = rows(profile("googlenet", 224, norm="none"))[: len(GOOGLENET_STEM)]
    for row, (channels, size, memory, params, operations) in zip(
        stem, GOOGLENET_STEM, strict=True
    ):
        assert (row.channels, row.size) == (channels, (size, size))
        assert row.activation_bytes / 1024 == memory
        weights = row.params - (row.channels if row.kind == "conv" else 0)
        assert round(weights / 1e3) == params
        assert operations_in_millions(row, 0) == operations
    assert round(sum(row.activation_bytes for row in stem) / 2**20, 1) == 7.5
    convs = [row for row in stem if row.kind == "conv"]
    assert sum(row.params - row.channels for row in convs) == 124_096
    products = sum(row.multiply_adds for row in stem) / 1e6
    pooling = sum(row.pool_operations for row in stem) / 1e6
    assert round(products, 1) == 477.7
    assert round(products + pooling, 1) == 480.8


def test_vgg_16():
    net = profile("vgg16", 224)
    totals, kinds = net.totals(), net.by_kind()
    assert totals["params"] == 138_357_544
    assert round(totals["multiply_adds"] / 1e9, 2) == 15.47
    maps = kinds["conv"]["activation_bytes"] + kinds["pool"]["activation_bytes"]
    assert round(maps / 2**20, 1) == 57.5
    assert round(kinds["conv"]["activation_bytes"] / 2**20, 1) == 51.7
    # The lecture's 13.6 G and 48.6 MB have two convolutions in stage 3, not three.
    third = [row for row in rows(net, ("conv",)) if row.size == (56, 56)][-1]
    assert round((totals["multiply_adds"] - third.multiply_adds) / 1e9, 1) == 13.6
    two = kinds["conv"]["activation_bytes"] - third.activation_bytes
    assert round(two / 2**20, 1) == 48.6
    # "24M * 4 bytes": its own rows, the image among them, add up to 15.2 M values.
    values = totals["activation_bytes"] / 4 + 224 * 224 * 3
    assert round(values / 1e6, 1) == 15.2


@pytest.mark.parametrize(
    ("name", "printed"),
    [
        ("resnet18", 1.814),
        slow("resnet34", 3.664),
        ("resnet50_published", 3.86),
        slow("resnet50", 4.089),
        slow("resnet101_published", 7.57),
        slow("resnet101", 7.801),
        slow("resnet152_published", 11.28),
        slow("resnet152", 11.514),
    ],
)
def test_resnets(name, printed):
    digits = len(str(printed).partition(".")[2])
    multiply_adds = profile(name, 224).totals()["multiply_adds"]
    assert round(multiply_adds / 1e9, digits) == printed


def counted(side, *layers):
    """(params, multiply-adds, receptive field) of convolutions one after another."""
    shape, params, products = (1, side, side, 3), 0, 0
    for features, size, padding, channels in layers:
        conv = Conv(features, size, padding=padding, use_bias=False)
        x = jax.ShapeDtypeStruct((1, side, side, channels), np.float32)
        y, variables = jax.eval_shape(
            lambda x, conv=conv: conv.init_with_output(jax.random.key(0), x), x
        )
        params += variables["params"]["kernel"].size
        products += y.size * size * size * channels
        shape = y.shape
    return shape, params, products


def test_a_large_filter_against_a_stack_of_small_ones():
    c = 10
    assert counted(16, (c, 5, 2, c))[1] == 25 * c * c
    assert counted(16, (c, 3, 1, c), (c, 3, 1, c))[1] == 18 * c * c
    assert counted(16, (c, 7, 3, c))[1] == 49 * c * c
    assert counted(16, *[(c, 3, 1, c)] * 3)[1] == 27 * c * c


def test_filters_with_biases():
    conv = Conv(6, 5, use_bias=True)
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), np.float32)
    params = jax.eval_shape(lambda x: conv.init(jax.random.key(0), x), image)
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == 456 == 6 * 76


def test_a_bottleneck_of_1x1_saves_nine_tenths():
    assert counted(32, (32, 5, 2, 200))[2] == 163_840_000
    reduce, expand = counted(32, (16, 1, 0, 200))[2], counted(32, (32, 5, 2, 16))[2]
    assert (round(reduce / 1e6, 2), round(expand / 1e6, 2)) == (3.28, 13.11)
    assert round((reduce + expand) / 1e6, 2) == 16.38


def test_blocks_of_resnets_cost_about_the_same():
    """18 H W C^2 for a basic block of width C, 17 for a bottleneck around 4 C."""
    side, c = 8, 16
    basic = counted(side, (c, 3, 1, c), (c, 3, 1, c))[2]
    bottleneck = counted(side, (c, 1, 0, 4 * c), (c, 3, 1, c), (4 * c, 1, 0, c))[2]
    assert (basic, bottleneck) == (18 * 64 * c * c, 17 * 64 * c * c)


def test_the_output_size_rule():
    no_pad = ((0, 0), (0, 0))
    assert output_size((7, 7), (3, 3), (1, 1), no_pad) == (5, 5)
    assert output_size((7, 7), (3, 3), (2, 2), no_pad) == (3, 3)
    assert output_size((7, 7), (3, 3), (3, 3), no_pad) == (2, 2)  # floor of 2.33
    with pytest.raises(UserError, match="6 and 9"):
        output_size((7, 7), (3, 3), (3, 3), no_pad, exact=True)
