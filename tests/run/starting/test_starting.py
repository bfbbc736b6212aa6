"""Runs that start from the weights of another."""

import json

import jax
import numpy as np
import pytest
from flax import traverse_util

from cnnjax.config import digest
from cnnjax.run.setup import initial_state, set_up
from cnnjax.run.starting import starting
from cnnjax.run.trained.load import load_run
from tests.run.tiny import fit, tiny_config

NET = {"depth": 6, "widths": (4, 4)}
SEEDS = (3, 4)


def config_of(folder=None, **changes):
    own = {"seeds__first": SEEDS[0], "seeds__count": 2, "norm__kind": "batch"}
    if folder is not None:
        own |= {"start__weights": str(folder)}
    return tiny_config("resnet20_cifar", NET, **(own | changes))


def flat(tree):
    return traverse_util.flatten_dict(tree, sep="/")


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parent") / "source"
    fit(set_up(config_of()), folder)
    return folder


def test_a_run_starts_from_the_weights_of_another_seed_by_seed(parent):
    run = set_up(config_of(parent, data__split_seed=1))
    state = initial_state(run)
    found = flat({"params": state.params, **state.model_state})
    for i, seed in enumerate(SEEDS):
        there = flat(load_run(parent, "last", seed).variables)
        assert found.keys() == there.keys()
        for path, leaf in there.items():
            np.testing.assert_array_equal(found[path][i], leaf)
    assert not run.began.drawn
    assert run.config.start.digest == digest(set_up(config_of()).config)
    assert run.config.start.folder == str(parent.parent)
    there = json.loads((parent / "preprocessing.json").read_text())["preprocessing"]
    assert run.preprocess.record()["mean"] == there["mean"]


@pytest.mark.parametrize("trains", ["head", "last_stages=1"])
def test_what_does_not_train_stays_bit_for_bit(parent, tmp_path, trains):
    run = set_up(config_of(parent, start__trains=trains, data__split_seed=1))
    assert run.featured == (trains == "head")
    start = flat(jax.tree.map(np.copy, initial_state(run).params))
    fit(run, tmp_path / "run")
    trained = {"head"} | ({"stage2_block1"} if trains != "head" else set())
    for i, seed in enumerate(SEEDS):
        net = load_run(tmp_path / "run", "last", seed)
        for path, leaf in flat(net.variables["params"]).items():
            same = np.array_equal(leaf, start[path][i])
            assert same == (path.split("/")[0] not in trained), path
    kept = load_run(parent, "last", SEEDS[0]).variables["batch_stats"]
    now = load_run(tmp_path / "run", "last", SEEDS[0]).variables["batch_stats"]
    for path, leaf in flat(kept).items():
        same = np.array_equal(flat(now)[path], leaf)
        assert same == (path.split("/")[0] not in trained), path


def test_features_computed_once_give_the_numbers_of_features_computed_each_step(
    parent, tmp_path, monkeypatch
):
    config = config_of(parent, start__trains="head", data__split_seed=1)
    once = fit(set_up(config), tmp_path / "once").results
    monkeypatch.setattr(starting, "can_be_given", lambda *_: False)
    each = fit(set_up(config), tmp_path / "each").results
    for a, b in zip(once, each, strict=True):
        for split in ("train", "validation", "test"):
            assert a["final"][split]["loss"] == pytest.approx(
                b["final"][split]["loss"], rel=1e-5
            )
            assert a["final"][split]["error"] == b["final"][split]["error"]
