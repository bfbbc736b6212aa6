"""Weights that do not fit a net.

Each gives one sentence that says what differs, and nothing is loaded.
"""

import numpy as np
import pytest

from cnnjax import interop
from cnnjax.errors import UserError
from cnnjax.models.registry import create_model, variant
from cnnjax.net.initialize import init_variables
from tests.interop.small_weights import NAME, SOURCE, drawn, one_sentence, same


def refused(state_dict, *sentence, name=NAME, source=SOURCE, **overrides):
    """The message, after checking that it is one sentence with all these parts."""
    with pytest.raises(UserError) as caught:
        interop.from_torch(name, state_dict, source=source, **overrides)
    return one_sentence(caught, sentence)


def test_missing(state_dict):
    del state_dict["layer1.0.bn1.running_mean"]
    del state_dict["linear.bias"]
    refused(
        state_dict,
        "2 missing:",
        "linear.bias",
        "layer1.0.bn1.running_mean",
        "nothing was loaded",
    )


def test_extra(state_dict):
    state_dict["layer4.0.conv1.weight"] = np.zeros((8, 8, 3, 3))
    text = refused(state_dict, "1 unexpected: layer4.0.conv1.weight")
    assert "missing" not in text


def test_renamed_gives_the_nearest_name(state_dict):
    state_dict["layer1.0.conv_1.weight"] = state_dict.pop("layer1.0.conv1.weight")
    refused(
        state_dict,
        "1 missing: layer1.0.conv1.weight (or layer1.0.conv_1.weight?)",
        "1 unexpected: layer1.0.conv_1.weight (or layer1.0.conv1.weight?)",
    )


def test_wrong_shape(state_dict):
    state_dict["conv1.weight"] = state_dict["conv1.weight"][:8]
    text = refused(
        state_dict,
        "1 with another shape: conv1.weight is (8, 3, 3, 3), not (16, 3, 3, 3)",
    )
    assert "num_classes" not in text


def test_long_lists_are_cut(state_dict):
    some = [key for key in state_dict if "bn" in key and not key.endswith("tracked")]
    for key in some[:30]:
        del state_dict[key]
    refused(state_dict, "30 missing:", "and 26 more")


def test_weights_of_another_depth():
    deeper = drawn("resnet32_cifar")
    state_dict = interop.to_torch("resnet32_cifar", deeper, source=SOURCE)
    # Two more blocks in each of three stages, with ten weights and statistics each.
    refused(
        state_dict,
        "60 unexpected: layer1.3.",
        "nothing was loaded (they fit this net with depth=32)",
    )


@pytest.mark.parametrize(
    ("changes", "asked", "hint"),
    [
        ({"shortcut": "B"}, {}, "with shortcut='B')"),
        ({"depth": 14}, {}, "with depth=14)"),
        ({"depth": 14, "shortcut": "B"}, {}, "with depth=14, shortcut='B')"),
        ({"depth": 8}, {"shortcut": "B"}, "with depth=8, shortcut='A')"),
    ],
)
def test_a_cifar_net_of_another_form(changes, asked, hint):
    weights = interop.to_torch(NAME, drawn(NAME, **changes), SOURCE, **changes)
    refused(weights, f"(they fit this net {hint}", **asked)


def test_names_that_are_numbers(state_dict):
    refused(
        {f"{number}.weight": value for number, value in enumerate(state_dict.values())},
        "as by nn.Sequential(*net.children()): save the state_dict() of the net",
    )


def test_no_hint_where_there_is_none(state_dict):
    state_dict["layer1.9.conv1.weight"] = state_dict["layer1.0.conv1.weight"]
    assert refused(state_dict, "1 unexpected").endswith("nothing was loaded")


def test_weights_of_another_architecture(state_dict):
    refused(
        state_dict,
        "these weights do not fit 'vgg11_bn_cifar'",
        "50 missing: classifier.bias (or linear.bias?), classifier.weight, feat",
        "97 unexpected: linear.bias (or classifier.bias?), linear.weight,",
        "the number of parameters of resnet20_cifar",
        name="vgg11_bn_cifar",
    )


def test_another_number_of_classes(state_dict, variables):
    refused(
        state_dict,
        "2 with another shape:",
        "linear.weight is (10, 64), not (7, 64)",
        "num_classes=10",
        num_classes=7,
    )
    ours = interop.from_torch(NAME, state_dict, source=SOURCE, num_classes=10)
    same(ours, variables)


def test_wrong_source(state_dict):
    refused(
        state_dict,
        "'torchvision' has no weights for 'resnet20_cifar'",
        "allowed sources are cifar, cifar_append",
        source="torchvision",
    )
    refused(state_dict, "did you mean 'torchvision'", source="torchvison")


def test_the_source_that_fits_is_named():
    narrow = {"dense_widths": (4, 4), "num_classes": 3}
    of_timm = interop.to_torch(
        "vgg11", drawn("vgg11", **narrow), source="timm", **narrow
    )
    refused(
        of_timm,
        "6 missing: classifier.0.bias, classifier.0.weight",
        "these are the names of timm: source='timm'",
        name="vgg11",
        source="torchvision",
        **narrow,
    )


def test_forms_that_a_source_has_not(state_dict):
    for name in ("alexnet_published", "zfnet", "vgg11_lrn"):
        refused(
            state_dict, "local response normalization", name=name, source="torchvision"
        )


def test_unknown_name(state_dict):
    refused(state_dict, "did you mean 'resnet20_cifar'", name="resnet20_cifr")
    refused(state_dict, "did you mean 'depth'", dept=20)


def test_integers_are_not_weights(state_dict):
    state_dict["conv1.weight"] = state_dict["conv1.weight"].astype(np.int8)
    state_dict["linear.bias"] = state_dict["linear.bias"].astype(np.complex64)
    refused(state_dict, "2 not floating-point:", "conv1.weight (int8)", "(complex64)")


@pytest.mark.parametrize(
    "given", [None, [1, 2], {1: np.zeros(2)}, {"conv1.weight": "text"}, {"epoch": 3}]
)
def test_no_state_dict(given):
    refused(given, "what was given contains no state dict", "model.state_dict()")


def test_an_empty_state_dict():
    refused({}, "97 missing: linear.bias, linear.weight, layer1.0.conv1.weight")


@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict", "net"])
def test_wrapped_by_a_trainer(wrapper, state_dict, variables):
    wrapped = {wrapper: state_dict, "epoch": 3}
    same(interop.from_torch(NAME, wrapped, source=SOURCE), variables)


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module."])
def test_wrapped_by_torch(prefix, state_dict, variables):
    wrapped = {prefix + key: value for key, value in state_dict.items()}
    same(interop.from_torch(NAME, wrapped, source=SOURCE), variables)
    wrapped["conv1.weight"] = wrapped.pop(prefix + "conv1.weight")
    refused(wrapped, "missing: conv1.weight", f"1 without {prefix!r}: conv1.weight")


def test_variables_of_another_net(variables):
    with pytest.raises(UserError, match="stage1_block4/norm1/mean is missing"):
        interop.to_torch("resnet32_cifar", variables, source=SOURCE)
    stacked = init_variables(create_model(NAME), variant(NAME).input_shape, (0, 1))
    with pytest.raises(UserError, match="leading seed axis"):
        interop.to_torch(NAME, stacked, source=SOURCE)
    params = {**variables["params"], "extra": {"kernel": np.zeros(2)}}
    with pytest.raises(UserError, match="it has no params/extra/kernel"):
        interop.to_torch(NAME, {**variables, "params": params}, source=SOURCE)
