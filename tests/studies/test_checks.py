"""Checks before training: they find planted faults, and none fires on sound nets."""

import dataclasses
import math
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnnjax.config import load_recipe, override
from cnnjax.layers.norm import norm_of
from cnnjax.models.registry import VARIANTS
from cnnjax.models.variant import Variant
from cnnjax.run.setup import set_up
from cnnjax.studies.checks import CHECKS, at_start, check
from cnnjax.studies.checks.at_start import activations, gradients, initial_loss, units
from cnnjax.studies.checks.few_images import few_images
from cnnjax.studies.checks.finding import FAILED, PASSED, UNKNOWN, subject_of
from cnnjax.studies.checks.pairs import labels_fit
from cnnjax.studies.programs import check_config
from cnnjax.training.loss import Loss
from configs import base, resnet_digits
from tests.run.tiny import RESNET
from tests.slow import slow, slow_but

DIGITS = (
    "resnet_digits",
    "convnet_digits",
    "googlenet_few_digits",
    "resnet_few_digits",
)

TITLES = {title for titles, _ in CHECKS for title in titles}
(BELONG, ACTIVE, LOSS, UNITS, GRADIENTS, LEARNT, MODES, DIFFERENCES) = (
    title for titles, _ in CHECKS for title in titles
)


class Net(nn.Module):
    """Two convolutions and a classifier, with one fault or none."""

    num_classes: int = 10
    dtype: jnp.dtype = jnp.float32
    fault: str = ""

    @nn.compact
    def __call__(self, x, *, train: bool):
        dead = self.fault == "dead"
        bias = nn.initializers.constant(-50.0 if dead else 0.0)
        x = nn.Conv(8, (3, 3), name="conv1", dtype=self.dtype)(x)
        x = nn.relu(x)
        x = nn.Conv(8, (3, 3), name="conv2", bias_init=bias, dtype=self.dtype)(x)
        if self.fault == "detached":
            x = jax.lax.stop_gradient(x)
        x = nn.relu(x).reshape(len(x), -1)
        return nn.Dense(self.num_classes, name="head", dtype=self.dtype)(x)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    for fault in ("", "detached", "dead"):
        entry = Variant(
            Net, (8, 8, 1), 0, 0, "a test", {"fault": fault}, num_classes=10
        )
        monkeypatch.setitem(VARIANTS, f"net{fault}", entry)


def run_of(model="net", arguments=None, **changes):
    config = resnet_digits.get_config()
    with config.unlocked():
        config.model = base.model_section(model, **(arguments or {}))
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    override(config, dotted)
    return set_up(config)


def statuses(run, seconds=math.inf):
    found = dict(check(run, lambda: seconds))
    assert found.keys() == TITLES
    return {title: finding.status for title, finding in found.items()}


def failed(run):
    return {title for title, status in statuses(run).items() if status == FAILED}


def finding(function, run):
    """What one check says, of which the first result."""
    found = function(subject_of(run, lambda: math.inf))
    return found[0] if isinstance(found, tuple) else found


RESIDUAL = ("resnet20_cifar", RESNET | {"scan_blocks": False})


def of_wrong_labels(run):
    labels = np.random.RandomState(0).permutation(run.dataset.train.labels)
    train = dataclasses.replace(run.dataset.train, labels=labels)
    dataset = dataclasses.replace(run.dataset, train=train)
    return dataclasses.replace(run, dataset=dataset)


@pytest.mark.parametrize(
    ("given", "used"), [(None, None), (2, 2), (16, None), (64, None), (128, None)]
)
def test_few_images_share_their_statistics(given, used):
    """However many images do in training, such as 64 in the recipe of He et al."""
    run = run_of(*RESIDUAL, train__batch_size=128, norm__examples_per_statistic=given)
    model = subject_of(run, lambda: math.inf).run.model
    assert norm_of(model).examples_per_statistic == used


@slow
@pytest.mark.parametrize(
    "changes",
    [
        {"train__batch_size": 128, "norm__examples_per_statistic": 64},
        {"train__batch_size": 128, "norm__examples_per_statistic": 128},
        {"norm__examples_per_statistic": 16, "train__microbatches": 4},
        {"norm__examples_per_statistic": 2},
    ],
)
def test_ghost_batches_and_micro_batches_are_checked(changes):
    assert UNKNOWN not in statuses(run_of(*RESIDUAL, **changes)).values()


# Fault -> the run that has it, the check that finds it, words of its advice, and what
# else fails for the same reason.
FAULTS = {
    "a detached layer": (
        lambda: run_of("netdetached"),
        gradients,
        "a layer is detached",
        {GRADIENTS, DIFFERENCES},
    ),
    "missing activations": (
        lambda: run_of(*RESIDUAL, model__act="identity"),
        activations,
        "without one between them",
        {ACTIVE},
    ),
    "a rate 1,000 times too large": (
        lambda: run_of(schedule__learning_rate=50.0),
        few_images,
        "learning rate",
        {LEARNT},
    ),
    "wrong labels": (
        lambda: of_wrong_labels(run_of()),
        labels_fit,
        "nothing to do with the images",
        {BELONG},
    ),
    "statistics that never move": (
        lambda: run_of(*RESIDUAL, norm__momentum=1.0),
        lambda subject: few_images(subject)[1],
        "norm.momentum",
        {MODES},
    ),
    "dead units": (
        lambda: run_of("netdead"),
        units,
        "look at init",
        {UNITS, GRADIENTS, LEARNT, DIFFERENCES},
    ),
    "large initial scores": (
        lambda: run_of(init__scale=30.0),
        initial_loss,
        "the initial scores are large",
        {LOSS, LEARNT, GRADIENTS, DIFFERENCES},
    ),
}
QUICK = ("missing activations", "wrong labels", "dead units", "large initial scores")


@pytest.mark.parametrize("fault", slow_but(QUICK, FAULTS))
def test_a_planted_fault_is_found(fault):
    make_run, function, advice, _ = FAULTS[fault]
    found = finding(function, make_run())
    assert found.status == FAILED
    assert advice in found.advice


@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_and_named_by_no_other_check(fault):
    make_run, _, _, may_fail = FAULTS[fault]
    assert failed(make_run()) <= may_fail


@pytest.mark.parametrize(("began", "status"), [(None, FAILED), ("weights", UNKNOWN)])
def test_weights_that_were_trained_may_know_the_labels(monkeypatch, began, status):
    run = SimpleNamespace(loss=Loss(), began=began, dataset=SimpleNamespace())
    run.dataset.num_classes = 10
    monkeypatch.setattr(at_start, "_losses", lambda subject: np.full(4, 0.01))
    assert initial_loss(SimpleNamespace(run=run)).status == status


@pytest.mark.parametrize("function", [labels_fit, initial_loss, units, activations])
def test_a_sound_net_passes(function):
    assert finding(function, run_of()).status == PASSED


@pytest.mark.slow
def test_a_sound_net_passes_all():
    assert set(statuses(run_of(*RESIDUAL)).values()) == {PASSED}
    found = statuses(run_of())  # without batch norm
    assert found.pop(MODES) == UNKNOWN
    assert set(found.values()) == {PASSED}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["hinge", "sigmoid"])
def test_other_losses(kind):
    assert failed(run_of(loss__kind=kind)) == set()


@pytest.mark.slow
def test_a_wrong_gradient(monkeypatch):
    @jax.custom_jvp
    def wrong(x):
        return jnp.maximum(x, 0)

    wrong.defjvp(lambda x, t: (wrong(*x), 1.01 * t[0]))
    monkeypatch.setattr(nn, "relu", wrong)
    assert failed(run_of()) == {DIFFERENCES}


def test_without_time_nothing_is_claimed(capfd):
    assert set(statuses(run_of(), seconds=-1).values()) == {UNKNOWN}
    assert check_config(run_of().config, 0.0) == 0
    out = capfd.readouterr().out
    assert f"not applicable  {LEARNT}: the time was up: give more --seconds" in out
    assert "0 passed, 0 failed, 8 not applicable" in out


@pytest.mark.slow
@pytest.mark.parametrize("recipe", DIGITS)
def test_no_check_fires_on_a_recipe(recipe):
    assert failed(set_up(load_recipe(recipe))) == set()
