"""Arguments that change the function but not the state dict are refused."""

import pytest

from cnnjax.errors import UserError
from cnnjax.interop.convert import slots_of
from cnnjax.interop.same_function import check_same_function
from cnnjax.layers.norm import Norm
from cnnjax.models.registry import create_model

NAME, SHAPE = "resnet20_cifar", (8, 8, 3)
SMALL = {"depth": 6, "widths": (4, 8)}


def namer(_, path):
    return path


def check(namer=namer, **changes):
    network = create_model(NAME, **(SMALL | changes))
    slots = slots_of(network, SHAPE, namer)
    check_same_function(NAME, network, "theirs", namer, slots, SHAPE)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"act": "silu"}, "act is silu here and relu there"),
        ({"act": "relu6"}, "act is relu6 here"),
        ({"placement": "act_before_add"}, "placement is 'act_before_add' here"),
        ({"residual": False}, "residual is False here and True there"),
        ({"norm": Norm("batch", epsilon=1e-3)}, "norm epsilon is 0.001 here"),
    ],
    ids=str,
)
def test_another_function_is_named(changes, words):
    with pytest.raises(UserError, match=words):
        check(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"num_classes": 3},
        {"zero_last_scale": True, "kernel_init": "lecun_normal"},
        {"se_reduction": 4, "gate_bias": 0.0, "dropout_rate": 0.5},
        {"dtype": "bfloat16"},
        {"norm": Norm("batch", momentum=0.5, examples_per_statistic=2)},
        # With these the state dict has other names or shapes.
        {"placement": "pre"},
        {"shortcut": "B"},
        {"norm": Norm("layer")},
        # `check_groups` handles the number of groups.
        {"norm": Norm("group", num_groups=2)},
    ],
    ids=str,
)
def test_what_shows_or_does_nothing_is_not(changes):
    check(**changes)


def test_the_form_of_the_source_is_not_refused():
    """The source may have only another value than the registry entry."""

    def namer(model, path):
        if model.placement == "post":
            raise UserError("the source has no such net")
        return path

    check(namer, placement="act_before_add")
