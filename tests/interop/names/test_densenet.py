"""DenseNet against torchvision and timm."""

import re

import jax
import numpy as np
import pytest

from cnnjax import interop
from tests.peers import (
    arrays,
    check_evaluation,
    check_names,
    check_training,
    peer,
    randomised,
)
from tests.slow import slow

torchvision = pytest.importorskip(
    "torchvision", reason="compares with torchvision: extra `peers`"
)

# Two layers per block cover all cases, and compile in seconds.
SMALL = {"layers": (2, 1, 2, 1), "growth_rate": 8}
EVERY = [
    ("densenet121", "torchvision"),
    ("densenet161", "torchvision"),
    ("densenet169", "torchvision"),
    ("densenet201", "torchvision"),
    ("densenet121", "timm"),
    ("densenet264d", "timm"),
]


def small(num_classes=1000):
    net = torchvision.models.DenseNet(8, (2, 1, 2, 1), 16, num_classes=num_classes)
    return randomised(net.double())


def small_deep():
    return peer("timm", "densenet264d", growth_rate=8, block_config=(2, 1, 2, 1))


def test_logits_and_the_way_back():
    check_evaluation("densenet121", "torchvision", 32, net=small(), **SMALL)


@pytest.mark.slow
def test_the_deep_stem():
    check_evaluation("densenet264d", "timm", 32, net=small_deep(), **SMALL)


@pytest.mark.slow
def test_training():
    changes = {"num_classes": 10, **SMALL}
    check_training("densenet121", "torchvision", 32, net=small(10), **changes)


@pytest.mark.parametrize(
    ("name", "source"), [*EVERY[:1], *(slow(*case) for case in EVERY[1:])]
)
def test_names_and_shapes(name, source):
    check_names(name, source)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "source"), EVERY)
def test_logits_of_every_entry(name, source):
    check_evaluation(name, source, 64)


@pytest.mark.slow
def test_training_of_the_whole_net():
    check_training("densenet121", "torchvision", 64)


def test_released_files_have_older_names():
    """'denselayer1.norm.1.weight' where the net has 'denselayer1.norm1.weight'."""
    today = arrays(small())
    older = {
        re.sub(r"(denselayer\d+\.(norm|conv))(\d)", r"\1.\3", name): value
        for name, value in today.items()
    }
    assert "features.denseblock1.denselayer1.norm.1.weight" in older
    for source in ("torchvision", "timm"):
        ours = [
            interop.from_torch("densenet121", names, source=source, **SMALL)
            for names in (today, older)
        ]
        jax.tree.map(np.testing.assert_array_equal, *ours)
