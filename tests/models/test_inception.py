"""Inception-v3, -v4 and Inception-ResNet: counts by hand, sizes, choices."""

import pytest
from flax.core import meta
from flax.traverse_util import flatten_dict

from cnnjax.errors import UserError
from cnnjax.models.registry import create_model, variant
from cnnjax.net.initialize import abstract_variables
from tests.models.shapes import output_shapes
from tests.slow import slow_but

# The figures of arXiv 1602.07261, typed once more. A convolution is (taps, channels);
# a branch is a list of them, of which `valid` ones are the last where a map shrinks.
STEM_V1 = [  # figure 14: taps, channels before, channels, side
    (9, 3, 32, 149),
    (9, 32, 32, 147),
    (9, 32, 64, 147),
    (1, 64, 80, 73),
    (9, 80, 192, 71),
    (9, 192, 256, 35),
]
STEM_V4 = [  # figure 3
    (9, 3, 32, 149),
    (9, 32, 32, 147),
    (9, 32, 64, 147),
    (9, 64, 96, 73),
    (1, 160, 64, 73),
    (9, 64, 96, 71),
    (1, 160, 64, 73),
    (7, 64, 64, 73),
    (7, 64, 64, 73),
    (9, 64, 96, 71),
    (9, 192, 192, 35),
]
BLOCKS_V1 = [  # figures 10, 11, 13
    [[(1, 32)], [(1, 32), (9, 32)], [(1, 32), (9, 32), (9, 32)]],
    [[(1, 128)], [(1, 128), (7, 128), (7, 128)]],
    [[(1, 192)], [(1, 192), (3, 192), (3, 192)]],
]
BLOCKS_V2 = [  # figures 16, 17, 19
    [[(1, 32)], [(1, 32), (9, 32)], [(1, 32), (9, 48), (9, 64)]],
    [[(1, 192)], [(1, 128), (7, 160), (7, 192)]],
    [[(1, 192)], [(1, 192), (3, 224), (3, 256)]],
]
REDUCTIONS_V1 = [  # figures 7 (k, l, m, n = 192, 192, 256, 384) and 12
    [[(9, 384)], [(1, 192), (9, 192), (9, 256)]],
    [[(1, 256), (9, 384)], [(1, 256), (9, 256)], [(1, 256), (9, 256), (9, 256)]],
]
REDUCTIONS_V2 = [  # figures 7 (k, l, m, n = 256, 256, 384, 384) and 18
    [[(9, 384)], [(1, 256), (9, 256), (9, 384)]],
    [[(1, 256), (9, 384)], [(1, 256), (9, 288)], [(1, 256), (9, 288), (9, 320)]],
]
SIDES, REPEATS = (35, 17, 8), (5, 10, 5)


def by_hand(stem, blocks, reductions, channels):
    """(parameters, multiply-adds, channels of each stage) at 299 pixels."""
    params = products = 0

    def conv(taps, before, width, side, per_channel=2):  # scale and bias of the norm
        nonlocal params, products
        params += taps * before * width + per_channel * width
        products += taps * before * width * side**2

    def follow(branches, sides):
        """Channels of the branches together; the last of each has the last side."""
        for branch in branches:
            before = channels
            for i, (taps, width) in enumerate(branch, start=1):
                conv(taps, before, width, sides[1 if i == len(branch) else 0])
                before = width
        return sum(branch[-1][1] for branch in branches)

    for taps, before, width, side in stem:
        conv(taps, before, width, side)
    found = []
    for i, (side, repeats) in enumerate(zip(SIDES, REPEATS, strict=True)):
        if i:
            channels += follow(reductions[i - 1], (SIDES[i - 1], side))  # and the pool
        for _ in range(repeats):
            width = follow(blocks[i], (side, side))
            conv(1, width, channels, side, per_channel=1)  # a bias, no norm
        found.append(channels)
    return params + channels * 1000 + 1000, products + channels * 1000, tuple(found)


@pytest.mark.parametrize(
    ("name", "arguments", "channels"),
    [
        (
            "inception_resnet_v1",
            (STEM_V1, BLOCKS_V1, REDUCTIONS_V1, 256),
            (256, 896, 1792),
        ),
        (
            "inception_resnet_v2_published",
            (STEM_V4, BLOCKS_V2, REDUCTIONS_V2, 384),
            (384, 1152, 2144),
        ),
    ],
)
def test_the_counts_by_hand(name, arguments, channels):
    assert by_hand(*arguments) == (
        variant(name).num_params,
        variant(name).multiply_adds,
        channels,
    )


STAGES = {
    "inception_v3": [(35, 288), (17, 768), (8, 2048)],
    "inception_v4": [(35, 384), (17, 1024), (8, 1536)],
    "inception_resnet_v1": [(35, 256), (17, 896), (8, 1792)],
    "inception_resnet_v2": [(35, 320), (17, 1088), (8, 2080)],
    "inception_resnet_v2_published": [(35, 384), (17, 1152), (8, 2144)],
}


@pytest.mark.parametrize("name", slow_but(["inception_v3"], STAGES))
def test_the_maps_at_the_end_of_each_stage(name):
    shapes, _ = output_shapes(name, 299)
    found = []
    for stage in (1, 2, 3):
        blocks = [path for path in shapes if path.startswith(f"stage{stage}_block")]
        side, other, channels = shapes[[p for p in blocks if "/" not in p][-1]]
        assert side == other
        found.append((side, channels))
    assert found == STAGES[name]


SMALLEST = {
    "inception_v3": {"auxiliary_heads": False},
    "inception_v4": {"num_blocks": (1, 1, 1)},
    "inception_resnet_v1": {"num_blocks": (1, 1, 1)},
    "inception_resnet_v2": {"num_blocks": (1, 1, 1)},
}


@pytest.mark.parametrize("name", slow_but(["inception_resnet_v1"], SMALLEST))
def test_the_smallest_images_have_75_pixels(name):
    model = create_model(name, **SMALLEST[name])
    abstract_variables(model, (75, 80, 1))
    with pytest.raises(UserError, match="nothing is left of a 2x3 map"):
        abstract_variables(model, (74, 80, 3))


def test_the_auxiliary_head_of_v3_says_what_it_needs():
    model = create_model("inception_v3")
    with pytest.raises(
        UserError, match=r"images of 299 .*not 16 x 17.*auxiliary_heads="
    ):
        abstract_variables(model, (298, 299, 3))


def test_the_auxiliary_head_of_v3_without_its_second_norm():
    images = (299, 299, 3)
    paths = {}
    for normed in ("all", "conv"):
        model = create_model("inception_v3", auxiliary_norm=normed)
        params = meta.unbox(abstract_variables(model, images))["params"]
        paths[normed] = {"/".join(path) for path in flatten_dict(params)}
    conv2 = "auxiliary/conv2"
    assert paths["all"] - paths["conv"] == {
        f"{conv2}/norm/scale",
        f"{conv2}/norm/bias",
    }
    assert paths["conv"] - paths["all"] == {f"{conv2}/conv/bias"}


def test_a_plain_last_block_has_no_activation_behind_the_addition():
    counts = []
    for plain in (False, True):
        calls = 0

        def act(x):
            nonlocal calls
            calls += 1
            return x

        model = create_model(
            "inception_resnet_v1", num_blocks=(1, 1, 2), plain_last_block=plain
        )
        abstract_variables(model.clone(act=act), (75, 75, 3))
        counts.append(calls)
    assert counts[0] == counts[1] + 1


@pytest.mark.parametrize(
    ("name", "argument", "value", "sentence"),
    [
        ("inception_v3", "auxiliary_norm", "none", "allowed are"),
        ("inception_v4", "num_blocks", (1, 2), r"three numbers of at least 1, not"),
        ("inception_v4", "num_blocks", (0, 1, 1), r"three numbers of at least 1, not"),
        ("inception_resnet_v2", "stem", "v5", "unknown stem 'v5'"),
        ("inception_resnet_v2", "widths", "v3", "unknown set of widths 'v3'"),
        ("inception_resnet_v2", "scales", (0.1,), r"take three scales, not"),
    ],
)
def test_wrong_choices_are_named(name, argument, value, sentence):
    model = create_model(name, **{argument: value})
    with pytest.raises(UserError, match=rf"{sentence}.*config.model.{argument}"):
        abstract_variables(model, (75, 75, 3))
