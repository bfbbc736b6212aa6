"""Nets and layers in plain Linen, trained by our step and loop."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.interrupt import Stopped
from cnnjax.layers.norm import NORMS, Norm, NormKind
from cnnjax.models.registry import VARIANTS
from cnnjax.models.variant import Variant
from cnnjax.net.forward import forward_eval, forward_train
from cnnjax.net.initialize import init_variables
from cnnjax.run.setup import initial_state
from cnnjax.training.step import make_train_step
from tests import ordinary
from tests.run.laid_out import assert_close, assert_equal, train
from tests.run.tiny import RESNET, fit, tiny_run
from tests.slow import slow

SHAPE = (6, 6, 1)
LAYERS = {
    "counting": ordinary.Counting(),
    "averaging": ordinary.Averaging(),
    "noise": ordinary.Noise(),
}


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    nets = dict.fromkeys(LAYERS, ordinary.Around) | {"plain": ordinary.Net}
    for name, net in nets.items():
        arguments = {"layer": LAYERS[name]} if name in LAYERS else {}
        entry = Variant(net, SHAPE, 0, 0, "a test", arguments, num_classes=3)
        monkeypatch.setitem(VARIANTS, name, entry)


def small_run(name="plain", layout="seed=1", mode="jit", **changes):
    return tiny_run(
        name,
        data__image_size=6,
        parallel__layout=layout,
        parallel__mode=mode,
        schedule__learning_rate=0.05,
        **changes,
    )


def weights(seed=0):
    net = ordinary.Net()
    variables = jax.tree.map(lambda v: v[0], init_variables(net, SHAPE, (seed,)))
    x = np.random.RandomState(1).randn(8, *SHAPE).astype(np.float32)
    return net, variables, x


def test_a_step_is_that_of_flax_and_optax_by_hand():
    run = small_run(augment__standardize="none", optimizer__weight_decay=0.01)
    step = make_train_step(run.model, run.optimizer, run.augment.train)
    state = jax.tree.map(lambda leaf: leaf[0], initial_state(run))
    batch = {
        "images": run.dataset.train.images[:8],
        "labels": run.dataset.train.labels[:8],
        "seed": np.int32(0),
    }
    new, metrics = jax.jit(step)(state, batch, 0.05, run.hyperparameters)

    images, _ = run.augment.train(
        jax.random.key(0), jnp.asarray(batch["images"]), batch["labels"]
    )

    def loss(params):
        logits, moved = run.model.apply(
            {"params": params, **state.model_state},
            images,
            train=True,
            mutable=["batch_stats"],
        )
        losses = optax.softmax_cross_entropy_with_integer_labels(
            logits, batch["labels"]
        )
        return losses.mean(), moved

    of_loss = jax.jit(jax.value_and_grad(loss, has_aux=True))
    (value, moved), gradient = of_loss(state.params)
    expected = jax.tree.map(
        lambda w, g: w - 0.05 * (g + 0.01 * w), state.params, gradient
    )
    close = {"rtol": 1e-5, "atol": 1e-6}
    assert_close(new.params, expected, **close)
    assert_close(new.model_state, dict(moved), **close)
    np.testing.assert_allclose(metrics["loss"][0] / 8, value, rtol=1e-5)


@pytest.mark.slow
def test_trained_evaluated_probed_and_resumed(tmp_path):
    changes = {
        "seeds__count": 2,
        "eval__statistics": "precise",
        "eval__precise_batches": 2,
        "eval__probes": ("shift", "gradient_norms", "layer_responses"),
        "train__ema_decay": 0.5,
    }
    whole = fit(small_run(**changes), tmp_path / "whole").results
    assert [result["status"] for result in whole] == ["done", "done"]
    with pytest.raises(Stopped):
        fit(small_run(**changes), tmp_path / "halves", stop_at=4)
    resumed = fit(small_run(**changes), tmp_path / "halves").results
    for a, b in zip(whole, resumed, strict=True):
        assert (a["final"], a["best"], a["probes"]) == (
            b["final"],
            b["best"],
            b["probes"],
        )
    profile = whole[0]["probes"]["layer_responses"]["profiles"][""]
    assert profile["labels"] == ["first", "second"]


def test_statistics_of_the_batch_are_those_of_flax():
    net, variables, x = weights()
    params, state = variables["params"], {"batch_stats": variables["batch_stats"]}
    expected, _ = net.apply(variables, x, train=True, mutable=["batch_stats"])
    ours = forward_eval(net, params, state, x, batch_statistics=True)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-5)


class BuildsItsNorm(nn.Module):
    @nn.compact
    def __call__(self, images, *, train):
        return Norm("batch")(name="inside")(images, train=train).mean((1, 2))


def test_a_norm_of_ours_that_the_net_builds_itself_is_not_overlooked():
    net, x = BuildsItsNorm(), jnp.ones((2, 4, 4, 3))
    variables = net.init(jax.random.key(0), x, train=False)
    params, state = variables["params"], {"batch_stats": variables["batch_stats"]}
    with pytest.raises(UserError, match="inside is a batch norm that the net builds"):
        forward_eval(net, params, state, x, batch_statistics=True)
    with pytest.raises(UserError, match="give the net a field `norm`"):
        forward_train(net, params, state, x, jax.random.key(0), last_batch=True)


def test_precise_statistics_start_from_those_of_each_batch():
    net, variables, x = weights()
    params, state = variables["params"], {"batch_stats": variables["batch_stats"]}
    *_, new = forward_train(net, params, state, x, jax.random.key(0), last_batch=True)
    _, inside = net.apply(
        variables, x, train=False, capture_intermediates=True, mutable="intermediates"
    )
    maps = np.asarray(inside["intermediates"]["first"]["__call__"][0], np.float64)
    stats = new["batch_stats"]["norm"]
    np.testing.assert_allclose(stats["mean"], maps.mean((0, 1, 2)), rtol=1e-4)
    np.testing.assert_allclose(stats["var"], maps.var((0, 1, 2)), rtol=1e-4)


# -- the number of devices -------------------------------------------------------------


@pytest.mark.parametrize("name", ["plain", slow("noise")])
def test_where_a_layer_is_given_the_whole_batch_devices_do_not_matter(name):
    assert_close(train(small_run(name, "data=2")), train(small_run(name)))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("plain", "layer norm computes with all images"),
        ("averaging", "layer layer keeps statistics"),
        ("noise", "layer layer draws random numbers"),
    ],
)
def test_where_it_would_be_given_a_part_it_is_refused(name, words):
    for mode in ("shard_map", "pmap"):
        with pytest.raises(UserError, match=words + ".*each of 2 devices"):
            small_run(name, "data=2", mode)
        small_run(name, "seed=1", mode)
    with pytest.raises(UserError, match=words + ".*microbatches=2"):
        small_run(name, train__microbatches=2)


@pytest.mark.parametrize(
    ("layout", "mode", "microbatches"),
    [("data=2", "shard_map", 2), slow("data=2", "jit", 1)],
)
def test_a_count_stays_whole(layout, mode, microbatches):
    run = small_run("counting", layout, mode, train__microbatches=microbatches)
    state, _ = train(run)
    steps = state.model_state["counts"]["layer"]["steps"]
    assert steps.dtype == np.int32
    assert_equal(steps, np.array([20]))


@pytest.mark.parametrize("statistics", ["precise", "batch"])
def test_statistics_that_nobody_knows_are_refused(statistics):
    with pytest.raises(UserError, match=f"is '{statistics}'.*layer layer keeps"):
        small_run("averaging", eval__statistics=statistics)


def test_section_norm_is_refused_where_the_net_has_none():
    with pytest.raises(UserError, match=r"no field 'norm', and section config\.norm"):
        small_run(norm__kind="group")


def test_random_numbers_in_a_scanned_block_are_refused(monkeypatch):
    kind = NormKind(lambda norm, name, _: ordinary.Noise(name=name), has_bias=False)
    monkeypatch.setitem(NORMS, "noise", kind)
    arguments = {"depth": 8, "widths": (4,), "block": "basic"}
    words = "layer stem_norm draws random .*scan_blocks to False"
    for choice in ({"scan_blocks": True}, {"scan_blocks": False, "remat": "block"}):
        with pytest.raises(UserError, match=words):
            tiny_run("resnet20_cifar", arguments | choice, norm__kind="noise")
    arguments |= {"scan_blocks": False}
    assert tiny_run("resnet20_cifar", arguments, norm__kind="noise").num_params


def test_group_norm_needs_no_number_of_groups():
    run = tiny_run("resnet20_cifar", RESNET, norm__kind="group")
    assert (run.model.norm.num_groups, run.model.norm.channels_per_group) == (None,) * 2
