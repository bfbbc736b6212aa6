"""Widths, reductions, groups and rates that leave nothing: one sentence each."""

import pytest

from cnnjax.errors import UserError
from cnnjax.layers.norm import Norm
from cnnjax.models.registry import create_model
from cnnjax.net.initialize import abstract_variables

# Net, image side, argument, value, what the sentence must say.
REFUSED = [
    ("resnet20_cifar", 8, "base_width", 2, "stage1_block1/conv1", "0 outputs"),
    ("resnet20_cifar", 8, "base_width", 0, "0 outputs"),
    ("resnet20_cifar", 8, "base_width", -64, "-16 outputs"),
    ("resnet20_cifar", 8, "groups", 0, "groups must be at least 1, got 0"),
    ("resnet20_cifar", 8, "groups", 3, "3 groups", "divide"),
    ("resnet20_cifar", 8, "widths", (2**40,), "1099511627776 outputs", "1 to"),
    ("resnet20_cifar", 8, "widths", (2**66, 4, 4), "outputs", "config.model"),
    ("resnext50_32x4d", 32, "base_width", 0, "0 outputs", "config.model"),
    ("senet154", 32, "base_width", 1, "64 groups", "divide"),
    ("se_resnet18", 32, "se_reduction", 0, "se_reduction is 0", "at least 1"),
    ("se_resnet18", 32, "se_reduction", -4, "se_reduction is -4", "at least 1"),
    ("se_resnet18", 32, "se_divisor", 0, "se_divisor is 0", "at least 1"),
    ("preact_resnet101", 32, "projection_size", 2, "projection_size is 2", "odd"),
    ("resnet50", 32, "projection_size", 2**31 - 1, "2147483647x2147483647", "padding"),
    ("resnet50", 32, "projection_size", -1, "-1x-1", "at least 1"),
    ("resnet50", 32, "stem_width", 0, "stem_conv", "0 outputs"),
    ("wide_resnet16_4", 32, "widen_factor", 0, "widen_factor"),
    ("densenet40_12_cifar", 32, "growth_rate", 0, "growth rate 0"),
    ("densenet40_12_cifar", 32, "compression", 0.0, "compression 0.0"),
    ("convnet_cifar", 32, "widths", (8, 0), "widths (8, 0)"),
    ("convnet_cifar", 32, "kernel_size", 0, "kernel_size"),
    ("alexnet", 64, "strides", (0, 1, 1, 1, 1), "strides"),
    ("alexnet", 64, "paddings", (-1, 2, 1, 1, 1), "paddings"),
    ("alexnet", 64, "kernel_sizes", (11, 5, 3, 3, 10**6), "1000000x1000000"),
    ("alexnet", 64, "paddings", (2, 2, 1, 1, 10**9), "conv5", "padding of"),
    ("nin_cifar", 32, "paddings", (2, 10**5, 1), "padding of", "100000"),
    ("nin_cifar", 32, "paddings", (2**70, 2, 1), "padding of", "32x32"),
    ("mobilenet_v1", 32, "width", 0.0, "width"),
    ("mobilenet_v2", 32, "width", -1.0, "width"),
    ("googlenet", 64, "width", -2.0, "width"),
    ("mlp", 8, "widths", (0,), "widths (0,)"),
    ("mlp", 8, "dropout_rate", 1.5, "rate", "1.5"),
    ("resnet20_cifar", 8, "stochastic_depth_rate", -0.5, "rate", "[0, 1]"),
    ("resnet20_cifar", 8, "shortcut_dropout_rate", float("nan"), "nan"),
]


@pytest.mark.parametrize(
    ("name", "side", "argument", "value", "words"),
    [(name, side, arg, value, words) for name, side, arg, value, *words in REFUSED],
)
def test_one_sentence(name, side, argument, value, words):
    with pytest.raises(UserError) as said:
        abstract_variables(create_model(name, **{argument: value}), (side, side, 3))
    sentence = str(said.value)
    assert all(word in sentence for word in words), sentence
    assert len(sentence) < 500
    assert "\n" not in sentence


def test_the_smallest_sizes_are_nets():
    """Widths of 1, an odd width behind a shortcut without projection, one group."""
    for arguments in (
        {"widths": (1, 1, 1)},
        {"widths": (3, 5, 7), "shortcut": "A"},
        {"base_width": 4, "widths": (16, 32, 64)},
        {"squeeze_excite": True, "se_reduction": 10**9},
    ):
        model = create_model("resnet20_cifar", depth=8, **arguments)
        assert abstract_variables(model, (8, 8, 3))


@pytest.mark.parametrize("key", ["epsilon", "response_alpha", "response_k"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_settings_of_norms_are_finite(key, value):
    with pytest.raises(UserError, match=f"config.norm.{key} must be a finite number"):
        Norm("batch", **{key: value})
