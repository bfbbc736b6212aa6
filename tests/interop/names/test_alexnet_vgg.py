"""AlexNet and VGG against torchvision and timm.

The dense layers hold 100 million weights of which nothing new is learnt: here they are
narrow. The slow tests take the nets whole.
"""

import numpy as np
import pytest

from cnnjax import interop
from cnnjax.errors import UserError
from tests.peers import (
    arrays,
    check_evaluation,
    check_names,
    check_training,
    peer,
    randomised,
    torch,
)
from tests.slow import slow

torchvision = pytest.importorskip(
    "torchvision", reason="compares with torchvision: extra `peers`"
)
timm = pytest.importorskip("timm", reason="compares with timm: extra `peers`")

VGGS = [f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")]
NARROW = {"dense_widths": (12, 8), "num_classes": 10}
# On both sides, as the random numbers of dropout differ.
NO_DROPOUT = NARROW | {"dropout_rate": 0.0}


def narrow(classifier, inputs):
    """The dense layers of the same sequence, with 12, 8 and 10 outputs."""
    widths = iter([(inputs, 12), (12, 8), (8, 10)])
    layers = [
        torch.nn.Linear(*next(widths)) if isinstance(layer, torch.nn.Linear) else layer
        for layer in classifier
    ]
    return torch.nn.Sequential(*layers)


def narrow_alexnet(dropout=0.5):
    torch.manual_seed(0)
    with torch.device("meta"):
        net = torchvision.models.AlexNet(dropout=dropout)
    convolutions = net.features.to_empty(device="cpu")
    for layer in convolutions:
        if isinstance(layer, torch.nn.Conv2d):
            layer.reset_parameters()
    net.classifier = narrow(net.classifier, 256 * 6 * 6)
    return randomised(net.double())


def narrow_vgg(name, dropout=0.5):
    """VGG-11, the only depth in these tests."""
    torch.manual_seed(0)
    layers = torchvision.models.vgg.make_layers(
        torchvision.models.vgg.cfgs["A"], batch_norm=name.endswith("_bn")
    )
    with torch.device("meta"):
        net = torchvision.models.VGG(layers, init_weights=False, dropout=dropout)
    net.classifier = narrow(net.classifier, 512 * 7 * 7)
    return randomised(net.double())


def narrow_timm_vgg():
    torch.manual_seed(0)
    with torch.device("meta"):
        net = timm.create_model("vgg11_bn", num_classes=10)
    net.features.to_empty(device="cpu")
    for layer in net.features:
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    net.pre_logits.fc1 = torch.nn.Conv2d(512, 12, 7)
    net.pre_logits.fc2 = torch.nn.Conv2d(12, 8, 1)
    net.head.fc = torch.nn.Linear(8, 10)
    return randomised(net.double())


# 63 pixels leave a map of 1 x 1 before the grid of 6 x 6, 127 one of 3 x 3.
@pytest.mark.parametrize("size", [63, slow(127)])
def test_logits_of_alexnet_and_the_way_back(size):
    check_evaluation("alexnet", "torchvision", size, net=narrow_alexnet(), **NARROW)


@pytest.mark.parametrize("name", [slow("vgg11"), "vgg11_bn"])
def test_logits_of_vgg_and_the_way_back(name):
    check_evaluation(name, "torchvision", 32, net=narrow_vgg(name), **NARROW)


@pytest.mark.slow
def test_logits_of_timms_vgg_and_the_way_back():
    check_evaluation("vgg11_bn", "timm", 32, net=narrow_timm_vgg(), **NARROW)


@pytest.mark.slow
def test_training_of_alexnet():
    net = narrow_alexnet(dropout=0.0)
    check_training("alexnet", "torchvision", 63, net=net, **NO_DROPOUT)


@pytest.mark.slow
def test_training_of_vgg():
    net = narrow_vgg("vgg11_bn", dropout=0.0)
    check_training("vgg11_bn", "torchvision", 32, net=net, **NO_DROPOUT)


@pytest.mark.parametrize(
    ("name", "changes", "argument"),
    [
        ("alexnet", {"paddings": (0, 2, 1, 1, 1)}, "paddings"),
        ("alexnet", {"pool_window": 2}, "pool_window"),
        ("vgg11_bn", {"pool": "avg"}, "pool"),
        ("vgg11", {"act": "tanh"}, "act"),
    ],
)
def test_another_function_of_the_same_weights_is_refused(name, changes, argument):
    for convert in (interop.from_torch, interop.to_torch):
        with pytest.raises(
            UserError, match=f"another function.*: {argument} is .* here"
        ):
            convert(name, {}, "torchvision", **changes)


def test_images_of_another_size_have_the_same_weights():
    weights = arrays(narrow_vgg("vgg11"))
    shapes = [None, (64, 64, 3)]
    np.testing.assert_equal(
        *(interop.from_torch("vgg11", weights, input_shape=s, **NARROW) for s in shapes)
    )


@pytest.mark.parametrize("name", ["alexnet", *VGGS])
def test_names_and_shapes_in_torchvision(name):
    check_names(name, "torchvision")


@pytest.mark.parametrize("name", VGGS)
def test_names_and_shapes_in_timm(name):
    check_names(name, "timm")


def test_a_filter_over_the_whole_map_is_a_dense_layer():
    """One weight is followed from timm's convolution into our dense layer."""
    state_dict = arrays(narrow_timm_vgg())
    filters = state_dict["pre_logits.fc1.weight"]
    ours = interop.from_torch("vgg11_bn", state_dict, source="timm", **NARROW)
    kernel = ours["params"]["fc6"]["kernel"]
    channel, row, column = 300, 2, 5
    np.testing.assert_array_equal(
        kernel[channel * 49 + row * 7 + column], filters[:, channel, row, column]
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "source"),
    [(name, "torchvision") for name in ("alexnet", *VGGS)]
    + [(name, "timm") for name in VGGS],
)
def test_logits_of_every_entry(name, source):
    size = 224 if name == "alexnet" else 32
    check_evaluation(name, source, size, net=peer(source, name))
