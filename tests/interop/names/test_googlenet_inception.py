"""GoogLeNet and the Inception nets against torchvision and timm.

The nets of timm are cut to one block of a kind, which is the same code as all of them;
names and shapes are compared for the whole nets, and logits behind the marker `slow`.
"""

import functools
import types

import jax
import numpy as np
import pytest

from cnnjax import interop
from cnnjax.errors import UserError
from cnnjax.layers.conv import Conv
from cnnjax.models.inception_v3 import AuxiliaryHead
from cnnjax.models.registry import create_model
from tests.interop.small_weights import drawn
from tests.peers import (
    CLOSE,
    arrays,
    check_evaluation,
    check_names,
    check_training,
    peer,
    torch,
)
from tests.slow import slow, slow_but

torchvision = pytest.importorskip(
    "torchvision", reason="compares with torchvision: extra `peers`"
)

NO_DROPOUT = {"dropout_rate": 0.0}
GOOGLENET = {**NO_DROPOUT, "auxiliary_dropout_rate": 0.0}
# Peers have no dropout, and ten classes for small heads.
TEN = {"num_classes": 10}


def googlenet():
    return peer("torchvision", "googlenet", **TEN, dropout=0.0, dropout_aux=0.0)


def short_inception_v4():
    """One module per stage, and the reductions between them."""
    net = peer("timm", "inception_v4", **TEN)
    kept = (0, 1, 2, 3, 4, 5, 6, 10, 11, 18, 19)
    net.features = torch.nn.Sequential(*(net.features[i] for i in kept))
    return net


def short_inception_resnet():
    """One block per stage, and the plain one at the end."""
    net = peer("timm", "inception_resnet_v2", **TEN)
    for stage in ("repeat", "repeat_1", "repeat_2"):
        setattr(net, stage, getattr(net, stage)[:1])
    return net


SHORT = {
    "inception_v4": (short_inception_v4, {"num_blocks": (1, 1, 1)}),
    "inception_resnet_v2": (short_inception_resnet, {"num_blocks": (1, 1, 2)}),
}


def test_googlenet():
    """On the smallest images, where the window of a pool is larger than its map."""
    check_evaluation("googlenet", "torchvision", 15, net=googlenet(), **TEN)


@pytest.mark.slow
def test_training_of_googlenet_with_its_heads():
    check_training("googlenet", "torchvision", 33, net=googlenet(), **TEN, **GOOGLENET)


@pytest.mark.slow
def test_inception_v3_and_its_auxiliary_head():
    """Only the head: a map of 17 x 17 would need images of 299 pixels."""
    net = peer("torchvision", "inception_v3", **TEN)
    check_evaluation("inception_v3", "torchvision", 75, net=net, **TEN)
    maps = np.random.RandomState(0).standard_normal((2, 17, 17, 768))
    with jax.enable_x64(True):
        variables = interop.from_torch("inception_v3", arrays(net), **TEN)
        net_of_ours = create_model("inception_v3", dtype="float64", **TEN)
        conv = functools.partial(Conv, dtype=net_of_ours.dtype)
        head = AuxiliaryHead(
            10, "all", conv, net_of_ours.norm, net_of_ours.act, net_of_ours.dtype
        )
        ours = head.apply(
            {c: tree["auxiliary"] for c, tree in variables.items()}, maps, train=False
        )
    with torch.no_grad():
        theirs = net.AuxLogits(torch.tensor(maps.transpose(0, 3, 1, 2))).numpy()
    np.testing.assert_allclose(ours, theirs, **CLOSE)


@pytest.mark.slow
@pytest.mark.parametrize("name", slow_but(["inception_resnet_v2"], SHORT))
def test_timm(name):
    build, arguments = SHORT[name]
    check_evaluation(name, "timm", 75, net=build(), **TEN, **arguments)


@pytest.mark.parametrize(
    ("name", "source", "arguments"),
    [
        ("googlenet", "torchvision", {}),
        ("inception_v3", "torchvision", {}),
        ("inception_v3", "timm", {"aux_logits": True}),
        slow("inception_v4", "timm", {}),
        slow("inception_resnet_v2", "timm", {}),
    ],
)
def test_names_and_shapes(name, source, arguments):
    check_names(name, source, **arguments)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHORT)
def test_training_of_short_nets(name):
    build, arguments = SHORT[name]
    check_training(name, "timm", 75, net=build(), **TEN, **NO_DROPOUT, **arguments)


@pytest.mark.slow
def test_training_of_inception_v3_with_its_head():
    net = peer("torchvision", "inception_v3", **TEN, dropout=0.0)
    check_training(
        "inception_v3",
        "torchvision",
        299,
        net=net,
        num_images=2,
        auxiliary_weight=0.4,
        **TEN,
        **NO_DROPOUT,
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "source", "size", "overrides"),
    [
        ("googlenet", "torchvision", 224, {}),
        ("inception_v3", "torchvision", 299, {}),
        ("inception_v3", "timm", 299, {"auxiliary_heads": False}),
        ("inception_v4", "timm", 299, {}),
        ("inception_resnet_v2", "timm", 299, {}),
    ],
)
def test_the_whole_nets(name, source, size, overrides):
    check_evaluation(name, source, size, **overrides)


def test_weights_without_auxiliary_heads_are_told_apart():
    state_dict = arrays(peer("timm", "inception_v3"))
    with pytest.raises(UserError, match=r"AuxLogits.*auxiliary_heads=False"):
        interop.from_torch("inception_v3", state_dict, source="timm")


def test_how_the_images_of_published_weights_are_prepared(tmp_path, caplog):
    """torchvision's nets rescale standardised images to [-1, 1], which is logged."""
    images = torch.rand(2, 3, 4, 4)
    mean, std = torch.tensor([[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]])[
        ..., None, None
    ]
    for net in (torchvision.models.GoogLeNet, torchvision.models.Inception3):
        transform = types.SimpleNamespace(transform_input=True)
        seen = net._transform_input(transform, (images - mean) / std)
        torch.testing.assert_close(seen, 2 * images - 1)
    small = {"num_blocks": (1, 1, 1), "width": 0.25, "num_classes": 10}
    path = tmp_path / "googlenet-1378be20.npz"
    np.savez(
        path, **interop.to_torch("googlenet", drawn("googlenet", **small), **small)
    )
    interop.load("googlenet", path, **small)
    assert "scaled to [-1, 1] (transform_input=True)" in caplog.text


def test_pools_that_no_weight_shows():
    for changes in ({"pool4_window": 3}, {"auxiliary_pool": "strided"}):
        with pytest.raises(UserError, match="computes another function"):
            interop.from_torch("googlenet", {}, **changes)
