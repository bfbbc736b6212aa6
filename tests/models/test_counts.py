"""Parameters and multiply-adds of every entry, to the last digit.

`peer_complexity.csv` holds what was counted in torchvision 0.28 and timm 1.0.31. The
figures of entries without a peer are counted by hand in the tests of their families.
"""

import csv
import pathlib

import jax
import pytest

from cnnjax.analysis.complexity import model_multiply_adds
from cnnjax.models.registry import create_model, list_models, variant
from cnnjax.net.initialize import abstract_variables
from tests.models.entries import few_by_default

with (pathlib.Path(__file__).parent / "peer_complexity.csv").open() as _file:
    PEERS = {row["model"]: row for row in csv.DictReader(_file)}
# Norms over standardized weights and a stem of their own: not an architecture here.
NOT_HERE = {"resnetv2_50x1_bit"}


@pytest.mark.parametrize("name", few_by_default(list_models()))
def test_the_counts_are_the_stated_ones(name):
    entry = variant(name)
    # Equal blocks as one scanned body count the same, and are traced sooner.
    scan = {"scan_blocks": True} if "scan_blocks" in entry.defaults() else {}
    model = create_model(name, **scan)
    declared = abstract_variables(model, entry.input_shape)
    params = sum(leaf.size for leaf in jax.tree.leaves(declared["params"]))
    assert params == entry.num_params
    products = model_multiply_adds(model, entry.input_shape, declared)
    assert products == entry.multiply_adds


@pytest.mark.parametrize("name", [name for name in PEERS if name not in NOT_HERE])
def test_the_stated_counts_are_those_of_the_peers(name):
    entry, row = variant(name), PEERS[name]
    assert entry.input_shape == (int(row["input_px"]), int(row["input_px"]), 3)
    assert entry.num_classes == 1000
    assert entry.num_params == int(row["params"])
    assert entry.multiply_adds == int(row["macs"])


@pytest.mark.parametrize(
    ("depth", "count"),
    [
        (20, 269_722),
        (32, 464_154),
        (44, 658_586),
        (56, 853_018),
        (110, 1_727_962),
        (1202, 19_421_274),
    ],
)
def test_published_counts_of_the_cifar_nets(depth, count):
    assert variant(f"resnet{depth}_cifar").num_params == count
    assert variant(f"plain{depth}_cifar").num_params == count
    # By hand: two convolutions and two norms (scale, bias) in each of n blocks a stage.
    n = (depth - 2) // 6
    total = 3 * 9 * 16 + 2 * 16 + 64 * 10 + 10
    for before, width in ((16, 16), (16, 32), (32, 64)):
        total += (
            before * 9 * width + (2 * n - 1) * width * 9 * width + 2 * n * 2 * width
        )
    assert total == count
    # Every 3x3 convolution but the first of a stage: 32 * 32 * 9 * 16 * 16 products.
    unit, stem, head = 32 * 32 * 9 * 16 * 16, 32 * 32 * 27 * 16, 640
    products = stem + head + 6 * n * unit - 2 * (unit // 2)
    assert variant(f"resnet{depth}_cifar").multiply_adds == products
