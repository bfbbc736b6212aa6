"""Runs that start from the weights of another."""

import json

import jax
import numpy as np
import pytest
from flax import traverse_util
from sklearn.linear_model import LogisticRegression

from cnnjax.config import digest, from_dict, to_dict
from cnnjax.errors import UserError
from cnnjax.interrupt import Stopped
from cnnjax.net.forward import features_of
from cnnjax.net.stacked import stacks_of, unstack
from cnnjax.records import read_json
from cnnjax.run.setup import initial_state, set_up
from cnnjax.run.starting import starting
from cnnjax.run.starting.origin import NoStart
from cnnjax.run.trained.load import load_run
from cnnjax.seal import outcome_digest
from tests.run.tiny import fit, tiny_config
from tests.slow import slow

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


def test_a_linear_probe_is_the_logistic_regression_on_its_features(parent, tmp_path):
    changes = {"train__batch_size": 24, "train__steps": 1500, "loss__l2": 0.05}
    changes |= {"optimizer__weight_decay": 0.0, "schedule__learning_rate": 0.3}
    changes |= {"optimizer__decay_exclude": ("bias",), "start__trains": "head"}
    changes |= {"start__drawn": ("head",), "checkpoint__every_epochs": 0.0}
    changes |= {"eval__every_epochs": 0.0, "log__every_epochs": 1500.0}
    run = set_up(config_of(parent, seeds__count=1, **changes))
    assert run.featured
    fit(run, tmp_path / "run")
    net = load_run(tmp_path / "run", "last", SEEDS[0])
    train = run.dataset.train
    params, state = (
        net.variables["params"],
        {"batch_stats": net.variables["batch_stats"]},
    )
    found = features_of(net.network, params, state, net.preprocess(train.images))
    seen = np.asarray(found, np.float64)
    peer = LogisticRegression(C=1 / (0.05 * len(train)), tol=1e-9, max_iter=10_000)
    peer.fit(seen, train.labels)
    logits = seen @ params["head"]["kernel"] + params["head"]["bias"]
    ours = jax.nn.softmax(logits)
    np.testing.assert_allclose(ours, peer.predict_proba(seen), atol=2e-5)


def test_the_same_weights_start_a_net_with_stacked_blocks(parent):
    deep = {"start__weights": str(parent), "start__drawn": ("block[2-9]",)}
    apart, together = (
        set_up(
            tiny_config(
                "resnet20_cifar",
                {"depth": 14, "widths": (4, 4), "scan_blocks": scan},
                seeds__first=SEEDS[0],
                **deep,
                start__trains="last_stages=1",
            )
        )
        for scan in (False, True)
    )
    stacks = stacks_of(together.declared)
    assert stacks
    a, b = initial_state(apart), initial_state(together)
    for x, y in ((a.params, b.params), (a.model_state, b.model_state)):
        y = unstack(y, stacks, 1)
        jax.tree.map(np.testing.assert_array_equal, x, y)
    assert set(together.began.drawn) == set(apart.began.drawn)
    assert together.stays  # those of the first stage, in one array


LAYOUTS = {
    "shard_map": {"parallel__mode": "shard_map", "parallel__layout": "data=2"},
    "vmap": {"train__seed_mode": "vmap"},
}


@pytest.mark.parametrize(
    ("layout", "trains"),
    [
        ("shard_map", "last_stages=1"),
        slow("shard_map", "head"),
        slow("vmap", "last_stages=1"),
        slow("vmap", "head"),
    ],
)
def test_layouts_and_vectorised_seeds_train_the_same(parent, tmp_path, layout, trains):
    own = {"start__trains": trains, "data__split_seed": 1, "train__steps": 3}
    changes = LAYOUTS[layout]
    own |= {"eval__keep_best": False, "eval__every_epochs": 0.0}
    one = set_up(config_of(parent, **own))
    fit(one, tmp_path / "one")
    other = set_up(config_of(parent, **own, **changes))
    assert other.featured == (trains == "head")
    fit(other, tmp_path / "other")
    for seed in SEEDS:
        a, b = (load_run(tmp_path / n, "last", seed) for n in ("one", "other"))
        start = flat(load_run(parent, "last", seed).variables)
        found = flat(b.variables)
        for path, leaf in flat(a.variables).items():
            np.testing.assert_allclose(found[path], leaf, rtol=1e-3, atol=1e-4)
            if np.array_equal(leaf, start[path]):  # stays, bit for bit
                np.testing.assert_array_equal(found[path], leaf)


def test_start_weights_that_were_changed_are_refused(parent, tmp_path):
    config = config_of(parent, data__split_seed=1)
    with pytest.raises(Stopped):
        fit(set_up(config), tmp_path / "run", stop_at=3)
    path = tmp_path / "run" / "provenance.json"
    record = json.loads(path.read_text())
    assert record["start"]["drawn"] == []
    assert record["start"]["taken"] == ["stem", "stage1", "stage2", "head"]
    assert record["start"]["outcomes"] == {
        str(seed): outcome_digest(read_json(parent / f"seed-{seed}" / "result.json"))
        for seed in SEEDS
    }
    again = fit(set_up(config), tmp_path / "run")
    assert again.shown.first_step == 3
    record["start"]["digest"] = "0" * 64
    path.write_text(json.dumps(record))
    (tmp_path / "run" / "seed-3" / "result.json").unlink()
    with pytest.raises(NoStart, match="when these weights were others"):
        fit(set_up(config), tmp_path / "run")


@pytest.mark.slow
def test_a_run_that_unfreezes_resumes_bit_for_bit(parent, tmp_path):
    more = {"start__unfreeze_epochs": 1.0, "start__rates": ("stem=0.1",)}
    config = config_of(parent, data__split_seed=1, train__ema_decay=0.5, **more)
    run = set_up(config)
    assert [group.first_step for group in run.trainable.groups] == [0, 3, 6, 9]
    with pytest.raises(Stopped):
        fit(run, tmp_path / "a", stop_at=4)
    fit(run, tmp_path / "a")
    fit(run, tmp_path / "b")
    for weights in ("last", "ema"):
        a, b = (load_run(tmp_path / n, weights, SEEDS[1]).variables for n in "ab")
        jax.tree.map(np.testing.assert_array_equal, a, b)
    # The stem would begin at the last step, which is over.
    start = load_run(parent, "last", SEEDS[1]).variables["params"]["stem_conv"]
    last = load_run(tmp_path / "a", "last", SEEDS[1]).variables["params"]["stem_conv"]
    np.testing.assert_array_equal(last["kernel"], start["kernel"])


def test_a_digest_of_other_weights_is_refused(parent):
    config = config_of(parent, start__digest="0" * 12)
    with pytest.raises(UserError, match="not those of this run"):
        set_up(config)


def test_weights_of_another_net_are_refused_with_the_first_difference(parent):
    with pytest.raises(UserError, match=r"\[4\] there and \[8\] here"):
        set_up(
            tiny_config(
                "resnet20_cifar",
                {"depth": 6, "widths": (8, 8)},
                seeds__first=3,
                start__weights=str(parent),
            )
        )


def test_a_seed_that_the_other_run_lacks_is_named(parent):
    run = set_up(config_of(parent, seeds__count=3))
    with pytest.raises(UserError, match="has no seed 5: it has 3, 4"):
        initial_state(run)
    one = set_up(config_of(parent, seeds__count=3, start__seed=4))
    params = flat(initial_state(one).params)
    for leaf in params.values():
        np.testing.assert_array_equal(leaf, np.stack([leaf[0]] * 3))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("folder", None),
        ("folder", 1.5),
        ("folder", True),
        ("folder", "a\0b"),
        ("weights", "9" * 400),
        ("weights", "a\0b"),
        ("weights", 3),
    ],
)
@pytest.mark.parametrize("known", [True, False])
def test_a_path_that_is_none_is_refused_in_a_sentence(tmp_path, key, value, known):
    config = config_of()
    start = {"weights": "a", "folder": str(tmp_path)} if known else {"weights": "a"}
    with config.unlocked():
        config.start.update({**start, "digest": "0" * 12 * known})
        del config.start[key]
        config.start[key] = value
    stored = from_dict(json.loads(json.dumps(to_dict(config))))
    with pytest.raises(UserError):
        set_up(stored)


def test_stages_that_begin_after_any_step_never_train(parent):
    run = set_up(config_of(parent, start__unfreeze_epochs=1e308))
    first, *others = [group.first_step for group in run.trainable.groups]
    assert first == 0
    assert set(others) == {2**31 - 1}
