"""Values of another type than a key takes, also where the key is None."""

import pytest

from cnnjax.config import flatten, override
from cnnjax.errors import MOST_SHOWN, UserError, shown
from configs import base

WRONG = [
    ("norm.num_groups", (2,), "an integer", "(2,)"),
    ("norm.num_groups", [2], "an integer", "[2]"),
    ("norm.examples_per_statistic", True, "an integer", "True"),
    ("norm.channels_per_group", "3", "an integer", "'3'"),
    ("train.steps", True, "an integer", "True"),
    ("train.epochs", False, "a number", "False"),
    ("model.widths", 3, "a tuple", "(16, 32, 64)"),
    ("model.residual", {}, "a boolean", "{}"),
    ("data.data_dir", ("a",), "a text", "('a',)"),
    ("data.exclude", 3, "a tuple", "3"),
    ("data.exclude", "list.txt", "a tuple", "'list.txt'"),
]


@pytest.mark.parametrize(("key", "value", "takes", "given"), WRONG)
def test_another_kind_is_refused(key, value, takes, given):
    config = base.get_config()
    with pytest.raises(UserError) as said:
        override(config, {key: value})
    sentence = str(said.value)
    assert f"config.{key} takes {takes}" in sentence
    assert given in sentence
    assert flatten(config) == flatten(base.get_config())


def test_the_norm_of_a_net_keeps_the_kinds_of_its_keys():
    config = base.get_config()
    with config.unlocked():
        config.norm = base.norm_section("vgg16_bn")
    with pytest.raises(UserError, match=r"norm\.num_groups takes an integer"):
        override(config, {"norm.num_groups": "3"})
    override(config, {"norm.num_groups": 3})
    assert config.norm.num_groups == 3


def test_a_long_value_does_not_hide_the_sentence():
    assert shown("abc") == "'abc'"
    cut = shown("a" * 500 + "z" * 500)
    assert cut.startswith("'aaa")
    assert cut.endswith("zzz'")
    assert len(cut) == MOST_SHOWN + 3
    with pytest.raises(UserError) as said:
        override(base.get_config(), {"x" * 10_000: 1})
    assert len(str(said.value)) < 400
