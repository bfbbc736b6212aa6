"""Counts of the residual nets without a peer, layer by layer from the papers' tables.

Nothing here calls a model: the arithmetic is first held against figures that were
counted in torchvision and timm, then the registry against the arithmetic.
"""

import csv
import pathlib

import pytest

from cnnjax.models.registry import variant

with (pathlib.Path(__file__).parent / "peer_complexity.csv").open() as _file:
    PEERS = {row["model"]: row for row in csv.DictReader(_file)}

BASIC = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
BOTTLENECK = {50: (3, 4, 6, 3), 101: (3, 4, 23, 3), 152: (3, 8, 36, 3)}
BOTTLENECK[200] = (3, 24, 36, 3)
DEEP = BASIC | BOTTLENECK


class Count:
    """Adds layers up: weights, values of norms and biases, multiply-adds."""

    def __init__(self):
        self.weights = self.others = self.products = 0

    def conv(self, channels, features, size, side):
        self.weights += channels * features * size * size
        self.products += channels * features * size * size * side * side

    def norm(self, channels):
        self.others += 2 * channels

    def head(self, channels, num_classes):
        self.conv(channels, num_classes, 1, 1)
        self.others += num_classes

    def both(self):
        return self.weights + self.others, self.products


def stages(count, num_blocks, widths, channels, side, **choices):
    """Adds the blocks; gives the channels of the last one."""
    for stage, (blocks, width) in enumerate(zip(num_blocks, widths, strict=True)):
        for i in range(blocks):
            before, stride = side, 2 if stage and not i else 1
            side //= stride
            channels = block(count, channels, width, before, side, **choices)
    return channels


def block(count, channels, width, before, side, bottleneck, on_1x1, pre, projects):
    features = 4 * width if bottleneck else width
    layers = [(channels, width, 3, side), (width, width, 3, side)]
    if bottleneck:
        layers = [
            (channels, width, 1, side if on_1x1 else before),
            (width, width, 3, side),
            (width, features, 1, side),
        ]
    for layer in layers:
        count.conv(*layer)
        count.norm(layer[0] if pre else layer[1])
    if projects and (channels != features or before != side):
        count.conv(channels, features, 1, side)
        if not pre:
            count.norm(features)
    return features


def imagenet(depth, on_1x1=False, pre=False, projects=True):
    count = Count()
    count.conv(3, 64, 7, 112)
    if not pre:
        count.norm(64)
    choices = {"on_1x1": on_1x1, "pre": pre, "projects": projects}
    choices["bottleneck"] = depth in BOTTLENECK
    channels = stages(count, DEEP[depth], (64, 128, 256, 512), 64, 56, **choices)
    if pre:
        count.norm(channels)
    count.head(channels, 1000)
    return count


def small_images(n, widths, bottleneck=False, projects=True):
    """Pre-activation nets of three stages at 32 pixels, 10 classes."""
    count = Count()
    count.conv(3, 16, 3, 32)
    choices = {"on_1x1": True, "pre": True, "projects": projects}
    choices["bottleneck"] = bottleneck
    channels = stages(count, (n, n, n), widths, 16, 32, **choices)
    count.norm(channels)
    count.head(channels, 10)
    return count


def stated(name):
    return variant(name).num_params, variant(name).multiply_adds


@pytest.mark.parametrize("depth", DEEP)
def test_the_arithmetic_is_that_of_the_peers(depth):
    row = PEERS[f"resnet{depth}"]
    assert imagenet(depth).both() == (int(row["params"]), int(row["macs"]))
    if depth in (50, 101, 152):
        row = PEERS[f"resnetv2_{depth}"]
        assert imagenet(depth, pre=True).both() == (
            int(row["params"]),
            int(row["macs"]),
        )


@pytest.mark.parametrize("depth", [18, 34, 50, 101, 152])
def test_published_and_plain_nets(depth):
    published = imagenet(depth, on_1x1=True, projects=depth in BOTTLENECK)
    assert stated(f"resnet{depth}_published") == published.both()
    assert stated(f"plain{depth}") == imagenet(depth, projects=False).both()


@pytest.mark.parametrize(
    ("depth", "printed"), [(18, 1.8), (34, 3.6), (50, 3.8), (101, 7.6), (152, 11.3)]
)
def test_published_multiply_adds(depth, printed):
    """He et al. 2015, table 1, prints one decimal, cut off at 34 and 50 layers."""
    billions = stated(f"resnet{depth}_published")[1] / 1e9
    assert -0.05 <= billions - printed < 0.1


@pytest.mark.parametrize("depth", DEEP)
def test_preactivation_nets(depth):
    assert stated(f"preact_resnet{depth}") == imagenet(depth, pre=True).both()


@pytest.mark.parametrize(("depth", "printed"), [(110, 1.7), (164, 1.7), (1001, 10.2)])
def test_preactivation_nets_for_small_images(depth, printed):
    """He et al. 2016, table 4, in millions, without the norms."""
    bottleneck = depth != 110
    n = (depth - 2) // (9 if bottleneck else 6)
    count = small_images(n, (16, 32, 64), bottleneck, projects=bottleneck)
    assert stated(f"preact_resnet{depth}_cifar") == count.both()
    assert round(count.weights / 1e6, 1) == printed


@pytest.mark.parametrize(
    ("depth", "factor", "printed"),
    [
        (40, 1, 0.6),
        (40, 2, 2.2),
        (40, 4, 8.9),
        (40, 8, 35.7),
        (28, 10, 36.5),
        (28, 12, 52.5),
        (22, 8, 17.2),
        (22, 10, 26.8),
        (16, 8, 11.0),
        (16, 10, 17.1),
        (16, 4, None),
        (28, 2, None),
    ],
)
def test_wide_nets(depth, factor, printed):
    """Zagoruyko & Komodakis 2016, table 4, in millions."""
    widths = [factor * width for width in (16, 32, 64)]
    counts = small_images((depth - 4) // 6, widths).both()
    assert stated(f"wide_resnet{depth}_{factor}") == counts
    assert printed is None or round(counts[0] / 1e6, 1) == printed
