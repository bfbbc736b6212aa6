"""What a state dict does not show is found by computing, whatever argument it is."""

import jax
import pytest

from cnnjax.errors import UserError
from cnnjax.interop.same_function import refuse_another_function
from cnnjax.layers.norm import make_norm
from cnnjax.models.registry import create_model
from tests.models.entries import one_seed

NAME, SHAPE = "resnet20_cifar", (8, 8, 3)
SMALL = {"depth": 6, "widths": (4, 8)}


def check(**changes):
    network = create_model(NAME, **(SMALL | changes))
    variables = one_seed(network, SHAPE)
    # Norms away from their start, where some choices would not be seen.
    variables = jax.tree.map(lambda leaf: leaf + 0.1, variables)
    refuse_another_function(
        NAME, network, variables, SHAPE, "theirs", lambda _, path: path
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"act": "silu"}, "act is silu here and relu there"),
        ({"act": "relu6"}, "act is relu6 here"),
        ({"placement": "act_before_add"}, "placement is 'act_before_add' here"),
        ({"residual": False}, "residual is False here and True there"),
        ({"norm": make_norm("batch", epsilon=1e-3)}, "norm epsilon is 0.001 here"),
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
        {"norm": make_norm("batch", momentum=0.5, examples_per_statistic=2)},
        # These show: the state dict has other names or shapes.
        {"placement": "pre"},
        {"shortcut": "B"},
        {"norm": make_norm("layer")},
        # `to_torch` says which groups the other net is to have.
        {"norm": make_norm("group", num_groups=2)},
    ],
    ids=str,
)
def test_what_shows_or_does_nothing_is_not(changes):
    check(**changes)
