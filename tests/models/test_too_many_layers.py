"""So many layers that building the net takes hours: a sentence, at once."""

import pytest

from cnnjax.errors import UserError
from cnnjax.models.blocks.checks import COUNTS, MOST_LAYERS
from cnnjax.models.registry import VARIANTS, create_model

# One net for each family and key.
PAIRS = {
    (entry.build, key): name
    for name, entry in VARIANTS.items()
    for key in COUNTS
    if key in entry.defaults()
}


def with_many(name, key, many):
    default = VARIANTS[name].defaults()[key]
    return (*default[:-1], many) if isinstance(default, tuple) else many


@pytest.mark.parametrize(("build", "key"), PAIRS)
@pytest.mark.parametrize("many", [MOST_LAYERS + 1, 10**6, 2**64])
def test_too_many_layers(build, key, many):
    name = PAIRS[build, key]
    with pytest.raises(UserError, match=f"config.model.{key} .*at most 10,000"):
        create_model(name, **{key: with_many(name, key, many)})


def test_every_key_counts_layers_of_some_net():
    assert {key for _, key in PAIRS} == set(COUNTS)


def test_many_small_counts_are_added():
    with pytest.raises(UserError, match=r"config.model.num_blocks .*at most 10,000"):
        create_model("resnet18", num_blocks=(4_000, 2_000, 2_000, 2_001))
    create_model("resnet18", num_blocks=(4_000, 2_000, 2_000, 2_000))
