"""Weights of a small net, and common checks of messages about wrong weights."""

import jax
import numpy as np

from cnnjax.models.registry import create_model, variant
from cnnjax.net.initialize import init_variables

NAME, SOURCE = "resnet20_cifar", "cifar"


def drawn(name, seed=0, input_shape=None, **overrides):
    """Initial variables of one seed."""
    model = create_model(name, **overrides)
    shape = input_shape or variant(name).input_shape
    variables = init_variables(model, shape, (seed,))
    return jax.tree.map(lambda leaf: leaf[0], variables)


def one_sentence(caught, parts):
    text = str(caught.value)
    assert "\n" not in text
    assert ". " not in text.replace(" ... ", " ")  # where a long one was shortened
    assert len(text) < 800
    for part in parts:
        assert part in text, text
    return text


def same(ours, theirs):
    """Whether two trees of variables have the same values."""
    assert ours.keys() == theirs.keys()
    for key, value in ours.items():
        if isinstance(value, dict):
            same(value, theirs[key])
        else:
            np.testing.assert_array_equal(value, theirs[key], err_msg=key)
