"""Configs: changes, checks, hashes and differences."""

import dataclasses
import pathlib

import pytest
from ml_collections import ConfigDict

from cnnjax.config import (
    differences,
    digest,
    flatten,
    load_recipe,
    override,
    parse_changes,
    splat,
    to_dict,
)
from cnnjax.errors import UserError, in_range
from cnnjax.models.registry import create_model, list_models, variant
from cnnjax.run.setup import SECTIONS, set_up
from cnnjax.run.single import stored_config
from configs import base
from tests.out_of_range import OUT_OF_RANGE
from tests.run.tiny import tiny_config, tiny_run
from tests.slow import slow_but


def refused(changes, config=None):
    """The message that refuses changes of a config, at the latest in set_up.

    Values are in the config's own types here; wrong types are below.
    """
    config = config or tiny_config()
    try:
        override(config, changes)
        set_up(config)
    except UserError as error:
        return str(error)
    pytest.fail(f"{changes} are accepted")


# -- changes ---------------------------------------------------------------------------


def test_changes_are_read_as_python_or_text():
    words = ["train.epochs=4", "model.act=relu", "model.widths=(8,16)", "a=b=c", "x="]
    assert parse_changes(words) == {
        "train.epochs": 4,
        "model.act": "relu",
        "model.widths": (8, 16),
        "a": "b=c",
        "x": "",
    }
    with pytest.raises(UserError, match=r"--set=train.epochs has no value"):
        parse_changes(["train.epochs"])


def test_changes_keep_the_type_of_the_key():
    config = base.get_config()
    override(
        config,
        {
            "train.epochs": 4,
            "model.widths": [8, 16],
            "norm.num_groups": 4,
            "data.name": "digits",
            "augment.flip": True,
        },
    )
    assert (config.train.epochs, type(config.train.epochs)) == (4.0, float)
    assert config.model.widths == (8, 16)
    override(config, {"norm.num_groups": None})
    assert config.norm.num_groups is None
    assert (config.data.name, config.augment.flip) == ("digits", True)


@pytest.mark.parametrize(
    ("key", "hint"),
    [
        ("train.epoch", "did you mean train.epochs"),
        ("schedule.learning_rat", "did you mean schedule.learning_rate"),
        ("weight_decay", "did you mean optimizer.weight_decay"),
        ("log.zzzzzzz", "section log has every_epochs, tensorboard"),
        ("zzz.qqq", "sections are augment, checkpoint"),
    ],
)
def test_unknown_keys_are_answered_with_near_ones(key, hint):
    sentence = refused({key: 1}, base.get_config())
    assert f"config has no key {key!r}" in sentence
    assert hint in sentence


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("train.steps", "many"),
        ("train.steps", 1.5),
        ("train.epochs", "1"),
        ("augment.flip", 1),
        ("model.widths", (8.5,)),
        ("model.widths", 8),
        ("data.name", 3),
        ("data.exclude", ("3",)),
        ("norm.num_groups", "4"),
    ],
)
def test_wrong_types_name_key_and_value(key, value):
    sentence = refused({key: value})
    assert f"config.{key} takes a" in sentence
    assert f"not {value!r}" in sentence


# An activation of None is that of the net as published.
MAY_BE_NONE = {"examples_per_statistic", "num_groups", "channels_per_group", "act"}


@pytest.mark.parametrize("key", flatten(tiny_config()))
def test_only_what_may_be_none_takes_none(key):
    if key.split(".")[1] in MAY_BE_NONE:
        config = tiny_config()
        override(config, {key: None})
        set_up(config)
    else:
        assert f"config.{key}" in refused({key: None})


@pytest.mark.parametrize("key", OUT_OF_RANGE)
def test_values_out_of_range_are_one_sentence_that_names_the_key(key):
    for value in OUT_OF_RANGE[key]:
        sentence = refused({key: value})
        # A layer knows the section, but not the key of the net.
        assert f"config.{key}" in sentence or "(config.model)" in sentence, value
        assert "\n" not in sentence


def test_every_section_has_its_ranges_tested():
    assert {key.split(".")[0] for key in OUT_OF_RANGE} == set(SECTIONS)


def test_bounds_are_allowed():
    in_range("a.b", 0, 0, 1)
    in_range("a.b", 1, 0, 1)
    with pytest.raises(UserError, match=r"config.a.b is 2 .*from 0 to 1 images"):
        in_range("a.b", 2, 0, 1, "images")


# -- sections and builders -------------------------------------------------------------


def test_a_stale_key_of_a_recipe_is_named():
    for section in ("train", "norm", "optimizer", "data", "model", "augment", "log"):
        config = tiny_config()
        with config.unlocked():
            config[section].batch_sizes = 3
        with pytest.raises(UserError, match="batch_sizes"):
            set_up(config)


def test_a_missing_key_or_section_points_to_base():
    config = tiny_config()
    with config.unlocked():
        del config.optimizer.momentum
    with pytest.raises(UserError, match=r"config.optimizer lacks the key 'momentum'"):
        set_up(config)
    with config.unlocked():
        del config["log"]
    with pytest.raises(UserError, match="lacks the section 'log'"):
        set_up(config)
    with config.unlocked():
        config.logs = ConfigDict()
    with pytest.raises(UserError, match="no key 'logs': did you mean log"):
        set_up(config)


def test_splat_hands_over_every_key():
    def builder(*, a, b=2, c):
        return a, b, c

    assert splat("s", builder, {"a": 1, "b": 5}, c=3) == (1, 5, 3)
    with pytest.raises(UserError, match=r"no key 's.aa': did you mean s.a"):
        splat("s", builder, {"aa": 1}, c=3)
    with pytest.raises(UserError, match=r"config.s lacks the key 'a'"):
        splat("s", builder, {"b": 1}, c=3)


def test_batches_that_do_not_divide_name_the_nearest():
    sentence = refused({"norm.examples_per_statistic": 3})
    assert "nearest batch sizes are 6 and 9" in sentence


# -- hashes and differences ------------------------------------------------------------


# Keys of file locations and output; all others change a result.
IRRELEVANT = {
    "data.data_dir",
    "data.measured_images",
    "start.folder",
    "log.every_epochs",
    "log.tensorboard",
    "checkpoint.every_epochs",
    "checkpoint.keep_last",
    "model.scan_blocks",  # changes rounding only
    "model.remat",
    "train.impl",
    "train.microbatches",
    "train.seed_mode",
    "parallel.mode",
    "parallel.layout",
    "parallel.devices",
    "parallel.shard_state",
}


def test_the_hash_ignores_what_changes_no_number_and_nothing_else():
    config = base.get_config()
    flat, own = flatten(config), digest(config)
    assert flat.keys() >= IRRELEVANT
    for key, value in flat.items():
        changed = flatten(config) | {key: "changed"}
        nested = ConfigDict({s: {} for s in SECTIONS})
        for name, v in changed.items():
            section, _, rest = name.partition(".")
            nested[section][rest] = v
        ignored = key in IRRELEVANT or key.startswith("seeds.")
        assert (digest(nested) == own) == ignored, (key, value)


def test_the_hash_is_that_of_the_stored_config(tmp_path):
    """Round trip through JSON: tuples, None and floats with integer values."""
    run = tiny_run(train__steps=0, train__epochs=2.0)
    path = tmp_path / "config.json"
    path.write_text(run.config.to_json())
    stored = stored_config(path)
    assert digest(stored) == digest(to_dict(run.config)) == digest(run.config)
    assert differences(stored, run.config, ignore=()) == []
    set_up(stored)  # tuples are tuples again: modules must be hashable


def test_differences_name_both_values():
    old, new = base.get_config(), base.get_config()
    new.train.batch_size = 64
    new.log.tensorboard = False
    new.seeds.count = 3
    with new.unlocked():
        del new.model.depth
    assert differences(old, new) == [
        "model.depth: 20 -> 'absent'",
        "seeds.count: 1 -> 3",
        "train.batch_size: 128 -> 64",
    ]


# -- recipes ---------------------------------------------------------------------------

RECIPES = sorted(
    path.stem
    for path in pathlib.Path(base.__file__).parent.glob("*.py")
    if path.stem not in ("__init__", "base", "generic")
)


def test_base_has_every_section_and_the_arguments_of_its_net():
    config = base.get_config()
    assert set(config) == set(SECTIONS)
    assert config.is_locked
    arguments = variant("resnet20_cifar").defaults()
    assert config.model.to_dict() == {"name": "resnet20_cifar", "act": "relu"} | (
        arguments
    )


@pytest.mark.parametrize("name", list_models())
def test_a_model_section_has_exactly_the_arguments_of_the_net(name):
    section = base.model_section(name).to_dict()
    module = create_model(**section)
    fields = {field.name for field in dataclasses.fields(module)}
    ours = {"num_classes", "norm", "dtype", "parent"}
    assert set(section) == fields - ours
    for key, value in variant(name).arguments.items():
        assert section[key] == getattr(module, key) == value


# The nets of the others take long to trace.
@pytest.mark.parametrize(
    "name", slow_but(["convnet_digits", "mlp_mnist", "resnet_cifar10"], RECIPES)
)
def test_every_recipe_sets_up(name):
    """On small synthetic images; every section is passed to its builder."""
    config = load_recipe(name)
    assert config.is_locked
    assert flatten(config).keys() - flatten(base.get_config()).keys() <= {
        f"model.{key}" for key in variant(config.model.name).defaults()
    }
    source = {"num_train": 256, "num_validation": 20, "num_test": 20}
    source |= {"name": "synthetic", "image_size": variant_side(config)}
    for key, value in source.items():
        config.data[key] = value
    # These images are in memory; `tests/data/test_geometry.py` has those of files.
    config.geometry.train = config.geometry.evaluation = "center"
    run = set_up(config)
    assert run.num_params > 0
    assert all(run.schedule(step) >= 0 for step in (0, run.total_steps - 1))


def variant_side(config):
    return variant(config.model.name).input_shape[0]


@pytest.mark.parametrize(("key", "other"), [("steps", "epochs"), ("epochs", "steps")])
@pytest.mark.parametrize("recipe", ["resnet_digits", "resnet_cifar10"])
def test_setting_one_budget_clears_the_other(recipe, key, other):
    config = load_recipe(recipe)
    override(config, {f"train.{key}": 7})
    assert (config.train[key], config.train[other]) == (7, 0)
    override(config, {f"train.{other}": 0})  # zero means unset, so nothing changes
    assert (config.train[key], config.train[other]) == (7, 0)
    both = load_recipe(recipe)
    override(both, {"train.steps": 7, "train.epochs": 2.0})
    assert (both.train.steps, both.train.epochs) == (7, 2.0)
