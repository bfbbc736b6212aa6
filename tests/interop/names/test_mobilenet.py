"""MobileNet V1, V2 and V3 against torchvision and timm."""

import numpy as np
import pytest

from cnnjax import interop
from cnnjax.errors import UserError
from tests.peers import arrays, check_evaluation, check_names, check_training, peer
from tests.slow import slow

TIMM = [
    "mobilenetv1_100",
    "mobilenetv1_125",
    "mobilenetv2_035",
    "mobilenetv2_050",
    "mobilenetv2_075",
    "mobilenetv2_100",
    "mobilenetv2_140",
    "mobilenetv3_large_100",
    "mobilenetv3_small_100",
]
TORCHVISION = ["mobilenet_v2", "mobilenet_v3_large", "mobilenet_v3_small"]
EVERY = [(n, "timm") for n in TIMM] + [(n, "torchvision") for n in TORCHVISION]
# One of each structure and naming scheme; timm names the blocks of V2 and V3
# alike.
QUICK = [
    slow("mobilenetv1_100", "timm"),
    slow("mobilenet_v2", "torchvision"),
    slow("mobilenet_v3_small", "torchvision"),
    ("mobilenetv3_small_100", "timm"),
]


@pytest.mark.parametrize(("name", "source"), EVERY)
def test_names_and_shapes(name, source):
    check_names(name, source)


@pytest.mark.parametrize(("name", "source"), QUICK)
def test_logits_and_the_way_back(name, source):
    check_evaluation(name, source, 32)


def training_peer(name, source):
    """Without dropout, whose random numbers differ; timm has none by default."""
    changes = {} if source == "timm" else {"dropout": 0.0}
    return peer(source, name, num_classes=10, **changes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "source"),
    [("mobilenetv1_100", "timm"), ("mobilenet_v3_small", "torchvision")],
)
def test_training(name, source):
    net = training_peer(name, source)
    changes = {"num_classes": 10, "dropout_rate": 0.0}
    check_training(name, source, 32, net=net, num_images=8, **changes)


def test_an_epsilon_that_no_shape_would_show():
    state_dict = arrays(peer("timm", "mobilenetv3_small_100"))
    with pytest.raises(UserError, match="use the entry 'mobilenetv3_small_100'"):
        interop.from_torch("mobilenet_v3_small", state_dict, source="timm")
    ours = interop.from_torch("mobilenetv3_small_100", state_dict, source="timm")
    np.testing.assert_array_equal(
        ours["params"]["hidden"]["kernel"],
        state_dict["conv_head.weight"][:, :, 0, 0].T,
    )


def test_groups_of_narrow_layers_are_to_be_given():
    """Only torchvision's `norm_layer` has the number of groups, no weight does."""
    for convert in (interop.from_torch, interop.to_torch):
        with pytest.raises(UserError, match=r"not all its widths \(16, 24, 32, 64 and"):
            convert("mobilenet_v2", {}, norm="group")


def test_the_twin_with_full_convolutions_has_no_peer():
    with pytest.raises(UserError, match="no MobileNet with full convolutions"):
        interop.from_torch("mobilenet_v1_full", {}, source="timm")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "source"), EVERY)
def test_logits_of_every_entry(name, source):
    check_evaluation(name, source, 64)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "source"),
    [("mobilenet_v2", "torchvision"), ("mobilenet_v3_large", "torchvision")],
)
def test_training_of_the_large_ones(name, source):
    net = training_peer(name, source)
    changes = {"num_classes": 10, "dropout_rate": 0.0}
    check_training(name, source, 64, net=net, num_images=8, **changes)
