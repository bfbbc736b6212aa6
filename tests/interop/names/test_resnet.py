"""Residual nets against torchvision and timm, and against nets of timm's parts."""

import collections
import re

import pytest

from cnnjax import interop
from cnnjax.errors import UserError
from cnnjax.interop.names.resnet import timm_name
from cnnjax.layers.norm import Norm
from cnnjax.models.cifar_resnet import CifarResNet
from cnnjax.models.wide_resnet import WideResNet
from tests.peers import (
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

DEPTHS = (18, 34, 50, 101, 152)
TORCHVISION = (
    *(f"resnet{depth}" for depth in DEPTHS),
    *(f"resnext{name}" for name in ("50_32x4d", "101_32x8d", "101_64x4d")),
    *(f"wide_resnet{depth}_2" for depth in (50, 101)),
)
SE = (
    *(f"seresnet{depth}" for depth in DEPTHS),
    *(f"seresnext{depth}_32x4d" for depth in (50, 101)),
    "senet154",
)
TIMM = (
    *("resnet200", "resnet50_gn", "resnext101_32x4d"),
    *(f"resnetv2_{depth}" for depth in DEPTHS),
    *SE,
    *(f"legacy_{name}" for name in SE),
)
EVERY = [(name, "torchvision") for name in TORCHVISION]
EVERY += [(name, "timm") for name in TIMM]
# The weights of these have the same names in both libraries.
ALSO_TIMM = [(name, "timm") for name in TORCHVISION]

# Blocks that keep the shape and blocks that change it, at the least depth and width.
BLOCKS, WIDTHS = (1, 2, 1, 1), (32, 64, 32, 32)
SMALL = {"num_blocks": BLOCKS, "widths": WIDTHS}


def small_timm(name, **arguments):
    return peer("timm", name, layers=BLOCKS, channels=WIDTHS, **arguments)


def small_preactivated(name, num_classes=10):
    """timm states the widths of the blocks' outputs."""
    widths = WIDTHS if name == "resnetv2_18" else [4 * width for width in WIDTHS]
    return peer("timm", name, layers=BLOCKS, channels=widths, num_classes=num_classes)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("resnet18", {}),
        # Few groups: on CPU each becomes its own operation, which compiles slowly.
        slow("resnext50_32x4d", {"groups": 4, "base_width": 24}),
        slow("wide_resnet50_2", {}),
        slow("resnet50_gn", {}),
        slow("seresnet50", {}),
        slow("senet154", {"base_width": 8}),
    ],
)
def test_logits(name, arguments):
    theirs = {{"groups": "cardinality"}.get(k, k): v for k, v in arguments.items()}
    net = small_timm(name, num_classes=10, **theirs)
    # An odd size, which windows do not divide exactly.
    check_evaluation(name, "timm", 33, net, num_classes=10, **SMALL, **arguments)


@pytest.mark.parametrize(
    ("width", "norm", "said"),
    [
        (32, "group", "GroupNorm(32, c)"),
        slow(16, Norm("group", channels_per_group=4), "GroupNorm(c // 4, c)"),
    ],
)
def test_group_norm_in_torchvision(width, norm, said, caplog):
    """torchvision's net may have any number of groups, and no weight shows it."""

    def layer(channels):
        return torch.nn.GroupNorm(32 if norm == "group" else channels // 4, channels)

    block = torchvision.models.resnet.Bottleneck
    net = torchvision.models.ResNet(
        block, (1, 1, 1, 1), 10, width_per_group=width, norm_layer=layer
    )
    net = randomised(net.double())
    small = {"num_blocks": (1, 1, 1, 1), "base_width": width, "num_classes": 10}
    check_evaluation("resnet50", "torchvision", 33, net, norm=norm, **small)
    assert f"assumed to have norm_layer=lambda c: {said}" in caplog.text


def test_children_in_a_sequence(caplog):
    """Children in a sequence are numbered; a whole net in a sequence has a prefix."""
    block = torchvision.models.resnet.BasicBlock
    net = torchvision.models.ResNet(block, (1, 1, 1, 1), num_classes=3)
    small = {"num_blocks": (1, 1, 1, 1), "num_classes": 3}
    within = torch.nn.Sequential(torch.nn.Identity(), net).state_dict()
    interop.from_torch("resnet18", within, **small)
    numbered = torch.nn.Sequential(*net.children()).state_dict()
    with pytest.raises(UserError, match=r"numbered, as by nn\.Sequential"):
        interop.from_torch("resnet18", numbered, **small)


@pytest.mark.parametrize("kind", ["layer", "layer_channel", "instance", "none"])
def test_norms_that_no_net_of_torchvision_has(kind):
    for convert in (interop.from_torch, interop.to_torch):
        with pytest.raises(UserError, match=f"torchvision has no .* norm '{kind}'"):
            convert("resnet18", {}, norm=kind)


@pytest.mark.slow
def test_default_groups_are_those_of_timm_where_they_are_32(caplog):
    net = peer("timm", "resnet50_gn", layers=(1, 1, 1, 1), num_classes=3)
    small = {"num_blocks": (1, 1, 1, 1), "num_classes": 3}
    weights = {k: v.numpy() for k, v in net.state_dict().items()}
    interop.from_torch("resnet50", weights, "timm", norm="group", **small)
    interop.from_torch("resnet50_gn", weights, "timm", **small)
    assert not caplog.records


@pytest.mark.parametrize("name", [slow("resnetv2_18"), "resnetv2_50"])
def test_logits_of_preactivation(name):
    net = small_preactivated(name)
    check_evaluation(name, "timm", 33, net, num_classes=10, **SMALL)


@pytest.mark.slow
def test_logits_as_in_torchvision():
    block = torchvision.models.resnet.BasicBlock
    net = torchvision.models.ResNet(block, BLOCKS, num_classes=10)
    net = randomised(net.double())
    arguments = {"num_classes": 10, "num_blocks": BLOCKS}
    check_evaluation("resnet18", "torchvision", 33, net, **arguments)


# timm's legacy nets have only the published widths.
@pytest.mark.slow
@pytest.mark.parametrize("name", ["legacy_seresnet18", slow("legacy_seresnet50")])
def test_logits_in_the_form_of_caffe(name):
    net = peer("timm", name, layers=BLOCKS, num_classes=10)
    check_evaluation(name, "timm", 36, net, num_classes=10, num_blocks=BLOCKS)


@pytest.mark.slow
def test_training_of_bottlenecks():
    net = small_timm("resnet50", num_classes=10)
    check_training("resnet50", "timm", 64, net, num_classes=10, **SMALL)


@pytest.mark.slow
def test_training_of_basic_blocks_with_squeeze_and_excitation():
    net = small_timm("seresnet18", num_classes=10)
    check_training("seresnet18", "timm", 64, net, num_classes=10, **SMALL)


@pytest.mark.slow
def test_training_with_preactivation():
    net = small_preactivated("resnetv2_50")
    check_training("resnetv2_50", "timm", 64, net, num_classes=10, **SMALL)


def unless_deep(case):
    """The deeper nets repeat the blocks of these, and their counts are compared."""
    deep = re.search("34|101|15[24]|200", case[0])
    marks = [pytest.mark.slow] if deep else []
    return pytest.param(*case, marks=marks)


@pytest.mark.parametrize(("name", "source"), [unless_deep(c) for c in EVERY])
def test_names_and_shapes(name, source):
    check_names(name, source)


def small_images_net(name, num_blocks, widths):
    """A net of timm's stages behind the 3 x 3 stem of the nets for small images."""
    arguments = {"layers": (num_blocks,) * 3, "stem_chs": 16, "num_classes": 10}
    net = timm.create_model(name, channels=widths, **arguments)
    stem = torch.nn.Conv2d(3, 16, 3, padding=1, bias=False)
    net.stem = torch.nn.Sequential(collections.OrderedDict(conv=stem))
    return randomised(net.double())


@pytest.fixture
def timm_for_small_images(monkeypatch):
    for build in (WideResNet, CifarResNet):
        monkeypatch.setitem(interop.NAMES, (build, "timm"), timm_name)


@pytest.mark.parametrize("widen_factor", [1, slow(2)])
def test_wide_nets_are_made_of_their_parts(timm_for_small_images, widen_factor):
    """Also with factor 1, whose first block does not project."""
    widths = [widen_factor * width for width in (16, 32, 64)]
    net = small_images_net("resnetv2_18", 2, widths)
    arguments = {"depth": 16, "widen_factor": widen_factor}
    check = check_training if widen_factor == 2 else check_evaluation
    check("wide_resnet16_4", "timm", 16, net, num_classes=10, **arguments)


@pytest.mark.slow
def test_preactivated_bottlenecks_for_small_images(timm_for_small_images):
    """timm strides in the 3x3 and the published nets in the first 1x1."""
    net = small_images_net("resnetv2_50", 2, (64, 128, 256))
    arguments = {"depth": 20, "stride_on_3x3": True, "num_classes": 10}
    check_evaluation("preact_resnet164_cifar", "timm", 16, net, **arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("resnet50_published", {}, "stride_on_3x3=True, this one has False"),
        ("resnet18_published", {}, "stem_pool='padded', this one has 'ceil'"),
        ("plain50", {}, "shortcut='B', this one has 'A'"),
        ("resnet18", {"placement": "act_before_add"}, "placement='post'"),
        ("se_resnet50", {"stem_pool": "ceil"}, "stride_on_3x3=False"),
        slow("senet154_published", {"stride_on_3x3": False}, "stride_on_3x3=True"),
        ("preact_resnet50", {"share_first_activation": False}, "activation=True"),
        ("preact_resnet50", {"norm": "group"}, "(BiT) standardise"),
        (
            "resnet50_gn",
            {"norm": Norm("group", num_groups=16)},
            "another norm ('group', 16 of 64 channels",
        ),
        (
            "resnet50_gn",
            {"norm": "layer"},
            "timm has no 'resnet50_gn' with norm 'layer'",
        ),
        ("resnet50", {"norm": "none"}, "timm has no 'resnet50' with norm 'none'"),
        (
            "resnet50",
            {"norm": Norm("group", epsilon=1e-3)},
            "epsilon 0.001): choose norm=Norm('group', num_groups=32)",
        ),
        (
            "resnet50",
            {"act": "silu"},
            "another function than this net with the same weights",
        ),
        (
            "resnet50",
            {"norm": Norm("batch", epsilon=1e-3)},
            "norm epsilon is 0.001 here and 1e-05 there",
        ),
    ],
)
def test_another_function_of_the_same_weights_is_refused(name, arguments, sentence):
    """Strides, pools and orders have no weights; both directions refuse them."""
    with pytest.raises(UserError, match=re.escape(sentence)):
        interop.from_torch(name, {}, source="timm", **arguments)
    with pytest.raises(UserError, match=re.escape(sentence)):
        interop.to_torch(name, {}, source="timm", **arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("preact_resnet18", {}, "no residual nets with pre-activation.*'timm'"),
        ("se_resnet18", {}, "squeeze and excitation.*'timm'"),
    ],
)
def test_nets_that_the_source_has_not(name, arguments, sentence):
    with pytest.raises(UserError, match=sentence):
        interop.from_torch(name, {}, source="torchvision", **arguments)


def calm(net):
    """Shrinks the branches of a deep net, or its sums grow from block to block.

    With norms around 1 the values of legacy_seresnet152 reach 1e5, its gates are steps,
    and rounding of 1e-15 grows to 1e-7 by the 31st block of its third stage.
    """
    with torch.no_grad():
        for name, value in net.named_parameters():
            if name.endswith("bn3.weight"):
                value.mul_(0.3)
    return net


@pytest.mark.slow
@pytest.mark.parametrize(("name", "source"), EVERY + ALSO_TIMM)
def test_logits_of_every_entry(name, source):
    check_evaluation(name, source, 64, calm(peer(source, name)))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("resnet18", "torchvision"),
        ("resnet50", "torchvision"),
        ("resnext50_32x4d", "torchvision"),
        ("resnetv2_18", "timm"),
        ("resnetv2_50", "timm"),
        ("resnet50_gn", "timm"),
        ("seresnet50", "timm"),
    ],
)
def test_training_of_whole_nets(name, source):
    check_training(name, source, 64)
