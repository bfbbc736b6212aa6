"""BN-Inception and Inception-v2: counts by hand, from the tables typed once more."""

import jax
import pytest
from flax.core import meta

from cnnjax.errors import UserError
from cnnjax.models.registry import create_model, variant
from cnnjax.net.initialize import abstract_variables

# Figure 5 of arXiv 1502.03167: side of the input, its channels, #1x1, #3x3 reduce,
# #3x3, #double 3x3 reduce, #double 3x3, projection (None: the map passes through).
FIGURE_5 = [
    (28, 192, 64, 64, 64, 64, 96, 32),
    (28, 256, 64, 64, 96, 64, 96, 64),
    (28, 320, 0, 128, 160, 64, 96, None),
    (14, 576, 224, 64, 96, 96, 128, 128),
    (14, 576, 192, 96, 128, 96, 128, 128),
    (14, 576, 160, 128, 160, 128, 160, 96),
    (14, 576, 96, 128, 192, 160, 192, 96),
    (14, 576, 0, 128, 192, 192, 256, None),
    (7, 1024, 352, 192, 320, 160, 224, 128),
    (7, 1024, 352, 192, 320, 192, 224, 128),
]


class Sum:
    """Parameters and multiply-adds of convolutions with a norm behind each."""

    def __init__(self):
        self.params = self.products = 0

    def conv(self, taps, before, width, side, per_channel=2):
        self.params += taps * before * width + per_channel * width
        self.products += taps * before * width * side**2
        return width


def bn_inception_by_hand(separable, projection):
    """(parameters, multiply-adds) of figure 5 with 1,000 classes."""
    of = Sum()
    if separable:  # eight filters of 7 x 7 for each of three channels, then 1 x 1
        of.conv(49, 1, 24, 112, per_channel=0)
        of.conv(1, 24, 64, 112)
    else:
        of.conv(49, 3, 64, 112)
    of.conv(1, 64, 64, 56)
    of.conv(9, 64, 192, 56)
    channels = 192
    for side, _, one, reduce3, three, reduce_d, double, pooled in FIGURE_5:
        out = side // 2 if pooled is None else side
        width = of.conv(1, channels, one, side) if one else 0
        of.conv(1, channels, reduce3, side)
        width += of.conv(9, reduce3, three, out)
        of.conv(1, channels, reduce_d, side)
        of.conv(9, reduce_d, double, side)
        width += of.conv(9, double, double, out)
        if pooled is None:
            width += channels
        else:
            pooled = projection if pooled == 96 else pooled
            width += of.conv(1, channels, pooled, side)
        channels = width
    assert channels == 1024
    return of.params + 1024 * 1000 + 1000, of.products + 1024 * 1000


def test_the_table_of_figure_5_fits_together():
    """The channels that a module gives are those that the next one takes."""
    rows = [*FIGURE_5, (7, 1024)]
    for row, after in zip(FIGURE_5, rows[1:], strict=False):
        pooled = row[1] if row[7] is None else row[7]
        assert row[2] + row[4] + row[6] + pooled == after[1]


@pytest.mark.parametrize(
    ("name", "separable", "projection"),
    [("bn_inception", False, 128), ("bn_inception_published", True, 96)],
)
def test_bn_inception_by_hand(name, separable, projection):
    entry = variant(name)
    counted = (entry.num_params, entry.multiply_adds)
    assert counted == bn_inception_by_hand(separable, projection)


def inception_v2_by_hand():
    """(parameters, multiply-adds) of table 1 of arXiv 1512.00567, and of its head."""
    of = Sum()
    for row in (  # taps, channels before, channels, side of the output
        (9, 3, 32, 149),
        (9, 32, 32, 147),
        (9, 32, 64, 147),
        (9, 64, 80, 71),
        (9, 80, 192, 35),
        (9, 192, 288, 35),
    ):
        of.conv(*row)

    def module(channels, side, *branches):
        width = 0
        for branch in branches:
            before = channels
            for taps, wide in branch[:-1]:
                before = of.conv(taps, before, wide, side)
            last = branch[-1]
            for taps, wide in last if isinstance(last, list) else [last]:
                width += of.conv(taps, before, wide, side)
        return width

    def reduction(channels, sides, *branches):
        width = channels
        for branch in branches:
            before = channels
            for i, (taps, wide) in enumerate(branch, start=1):
                side = sides[1 if i == len(branch) else 0]
                before = of.conv(taps, before, wide, side)
            width += before
        return width

    channels = 288
    for _ in range(3):  # figure 5
        channels = module(
            channels,
            35,
            [(1, 64)],
            [(1, 48), (9, 64)],
            [(1, 64), (9, 96), (9, 96)],
            [(1, 64)],
        )
        assert channels == 288
    channels = reduction(channels, (35, 17), [(9, 384)], [(1, 64), (9, 96), (9, 96)])
    for n in (128, 160, 160, 160, 192):  # figure 6
        assert channels == 768
        channels = module(
            channels,
            17,
            [(1, 192)],
            [(1, n), (7, n), (7, 192)],
            [(1, n), (7, n), (7, n), (7, n), (7, 192)],
            [(1, 192)],
        )
    head = Sum()
    head.conv(1, 768, 128, 5)
    head.conv(25, 128, 768, 1, per_channel=1)
    head.params += 768 * 1000 + 1000
    channels = reduction(
        channels,
        (17, 8),
        [(1, 192), (9, 320)],
        [(1, 192), (7, 192), (7, 192), (9, 192)],
    )
    assert channels == 1280
    for _ in range(2):  # figure 7
        spread = [(3, 384), (3, 384)]
        channels = module(
            channels,
            8,
            [(1, 320)],
            [(1, 384), spread],
            [(1, 448), (9, 384), spread],
            [(1, 192)],
        )
        assert channels == 2048
    params = of.params + 2048 * 1000 + 1000
    return params + head.params, of.products + 2048 * 1000, params


def test_inception_v2_by_hand():
    params, products, without = inception_v2_by_hand()
    entry = variant("inception_v2")
    assert (entry.num_params, entry.multiply_adds) == (params, products)
    net = create_model("inception_v2", auxiliary_heads=False)
    variables = meta.unbox(abstract_variables(net, (299, 299, 3)))
    leaves = jax.tree.leaves(variables["params"])
    assert sum(leaf.size for leaf in leaves) == without


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stem": "large"}, "config.model.stem"),
        ({"projection": 0}, "config.model.projection"),
        ({"num_blocks": (2, 5, 2)}, "figure 5 has 2, 4 and 2 modules"),
    ],
)
def test_wrong_values(changes, words):
    with pytest.raises(UserError, match=words):
        abstract_variables(create_model("bn_inception", **changes), (64, 64, 3))
