"""Runs that differ in traced keys share a program and get their own results from it."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from flax import linen as nn

from cnnjax.config import IRRELEVANT, flatten
from cnnjax.devices import parallel
from cnnjax.layers.auxiliary import auxiliary_head
from cnnjax.layers.conv import Dense
from cnnjax.net.initialize import KernelInit, abstract_variables
from cnnjax.run import programs
from cnnjax.run.programs import compile_programs, shared_keys
from cnnjax.run.setup import initial_state
from cnnjax.run.shared import program_key
from cnnjax.start.section import WEIGHTS_KEYS
from tests.run.tiny import tiny_run
from tests.slow import slow_but

# Everything that a traced number belongs to is switched on.
BASE = {
    "norm__kind": "none",
    "optimizer__name": "rmsprop",
    "optimizer__epsilon": 1e-3,
    "optimizer__clip_norm": 1.0,
    "loss__label_smoothing": 0.1,
    "loss__l2": 0.01,
    "train__ema_decay": 0.5,
    "schedule__kind": "step",
    "schedule__learning_rate": 0.01,
    "schedule__boundaries": (4.0,),
    "schedule__warmup": 2.0,
    "schedule__warmup_learning_rate": 0.001,
}
# Every traced number, and a run that differs in it; some need others with them.
TRACED = {
    "optimizer.momentum": {"optimizer__momentum": 0.0},
    "optimizer.b1": {"optimizer__name": "adamw", "optimizer__b1": 0.5},
    "optimizer.b2": {"optimizer__b2": 0.9},
    "optimizer.epsilon": {"optimizer__epsilon": 1e-2},
    "optimizer.weight_decay": {"optimizer__weight_decay": 0.0},
    "optimizer.clip_norm": {"optimizer__clip_norm": 0.3},
    "loss.label_smoothing": {"loss__label_smoothing": 0.0},
    "loss.auxiliary_weight": {"loss__auxiliary_weight": 0.0},
    "loss.l2": {"loss__l2": 0.1},
    "train.ema_decay": {"train__ema_decay": 0.8},
}
# Likewise every key that only the host needs.
HOST = {
    "train.steps": {"train__steps": 8, "schedule__unit": "fraction"}
    | {"schedule__boundaries": (0.4,), "schedule__warmup": 0.3},
    "train.epochs": {"train__steps": 0, "train__epochs": 2.0}
    | {"schedule__kind": "cosine"},
    "seeds.first": {"seeds__first": 3},
    "init.kernel": {"init__kernel": "orthogonal"},
    "init.scale": {"init__scale": 2.0},
    "schedule.kind": {"schedule__kind": "constant"},
    "schedule.learning_rate": {"schedule__learning_rate": 0.02},
    "schedule.unit": {"schedule__unit": "epochs", "schedule__boundaries": (1.0,)}
    | {"schedule__warmup": 1.0},
    "schedule.boundaries": {"schedule__boundaries": (3.0, 5.0)},
    "schedule.factor": {"schedule__factor": 0.5},
    "schedule.final_learning_rate": {"schedule__kind": "linear"}
    | {"schedule__final_learning_rate": 0.005},
    "schedule.cycles": {"schedule__kind": "cosine", "schedule__cycles": 2},
    "schedule.warmup": {"schedule__warmup": 3.0},
    "schedule.warmup_kind": {"schedule__warmup_kind": "constant"},
    "schedule.warmup_learning_rate": {"schedule__warmup_learning_rate": 0.002},
}
CHANGES = TRACED | HOST
QUICK = ("optimizer.momentum", "loss.label_smoothing", "schedule.learning_rate")
# Keys that are compiled, of sections whose builders tell what is.
STATIC = {
    "loss.kind": "sigmoid",
    "start.trains": "head",
    "start.rates": ("head=0.5",),
    "start.unfreeze_epochs": 1.0,
    "start.norm_parameters": False,
    "optimizer.name": "adamw",
    "optimizer.nesterov": True,
    "optimizer.decay": "decoupled",
    "optimizer.decay_exclude": ("bias",),
    "seeds.count": 2,
    "train.batch_size": 16,
    "train.microbatches": 2,
    "train.dtype": "bfloat16",
    "train.steps_per_dispatch": 2,
    "train.seed_mode": "loop",
    "train.impl": "lax",
    "train.deterministic": True,
}
# Which weights there are at first is no part of a program; this net has no statistics.
OF_WEIGHTS = (*WEIGHTS_KEYS, "start.weights", "start.statistics")


class Net(nn.Module):
    """Two linear classifiers on a dense layer: one is an auxiliary head."""

    @nn.compact
    def __call__(self, images, *, train: bool):
        x = nn.relu(Dense(6, name="dense1")(images.mean((1, 2))))

        def build(name):
            return Head(name=name)

        auxiliary_head(self, build, "auxiliary1", x, train=train)
        return Dense(3, name="head")(x)


class Head(nn.Module):
    @nn.compact
    def __call__(self, x, *, train: bool):
        return Dense(3, name="dense")(x)


def run_of(**changes):
    run = tiny_run(**(BASE | changes))
    declared = KernelInit(**run.config.init).applied(
        abstract_variables(Net(), run.dataset.image_shape)
    )
    return dataclasses.replace(run, model=Net(), declared=declared)


def programs_of(run):
    return compile_programs(run, initial_state(run))


@functools.cache
def first_of(optimizer):
    """The run that the others differ from, its programs (and as text), its result."""
    run = run_of(optimizer__name=optimizer)
    programs = programs_of(run)
    return run, programs, lowered(run), trained(run, programs)


def trained(run, programs):
    """Leaves of the state after two dispatches, and of their rows."""
    programs = dataclasses.replace(
        programs, run=run, seeds=np.array(run.seeds, np.int32)
    )
    state, rows = parallel.to_device(initial_state(run)), []
    for first_step in (0, 3):
        state, new = programs.advance(state, first_step, 3)
        rows.append(new)
    return jax.tree.leaves((parallel.to_host(state), rows))


def lowered(run):
    """What XLA is given to compile, as text."""

    def text(function, example, donate=(), **options):
        return jax.jit(function, donate_argnums=donate).lower(*example).as_text()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parallel, "compile_program", text)
        patch.setattr(programs, "_memory_of_seed", lambda *_: None)
        return programs_of(run).compiled


def test_every_traced_key_is_tested():
    traced = run_of().hyperparameters
    named = {f"{section}.{key}" for section, of in traced.items() for key in of}
    assert named == set(TRACED)


@pytest.mark.parametrize("key", slow_but(QUICK, CHANGES))
def test_a_traced_key_changes_the_result_and_not_the_program(key):
    run = run_of(**CHANGES[key])
    first, programs, text, result = first_of(run.config.optimizer.name)
    assert shared_keys(run) == shared_keys(first)
    assert lowered(run) == text
    changed = trained(run, programs)
    assert any((a != b).any() for a, b in zip(changed, result, strict=True))


def test_a_shared_program_gives_what_its_own_would():
    """Bit for bit, with all numbers, the schedule and the seed changed at once."""
    changes = {"schedule__kind": "cosine", "seeds__first": 3}
    for key in TRACED:
        changes |= CHANGES[key]
    changes["optimizer__name"] = "rmsprop"
    run = run_of(**changes)
    _, programs, _, _ = first_of("rmsprop")
    own, borrowed = trained(run, programs_of(run)), trained(run, programs)
    for a, b in zip(own, borrowed, strict=True):
        np.testing.assert_array_equal(a, b)


def test_every_other_key_gives_another_program():
    """A key that nobody has thought of, too."""
    run = run_of()
    own = program_key(run.config, run.static)
    config = run.config.to_dict()
    for key, value in flatten(config).items():
        section, _, name = key.partition(".")
        if key in STATIC:
            changed = run_of(**{f"{section}__{name}": STATIC[key]})
            other = program_key(changed.config, changed.static)
        else:
            changed = config | {section: config[section] | {name: ("changed", value)}}
            other = program_key(changed, run.static)
        shares = key in (*CHANGES, *OF_WEIGHTS) or key.startswith(IRRELEVANT)
        assert (other == own) == shares, key


@pytest.mark.parametrize("key", ["optimizer__clip_norm", "train__ema_decay"])
def test_what_is_off_takes_no_part_in_the_program(key):
    assert shared_keys(run_of(**{key: 0.0})) != shared_keys(run_of())


def test_data_and_dispatch_are_part_of_the_program():
    data, programs = shared_keys(run_of())
    assert shared_keys(run_of(data__split_seed=1))[0] != data
    assert shared_keys(run_of(data__num_train=16))[0] != data
    same_data, other = shared_keys(run_of(log__every_epochs=2.0))
    assert same_data == data
    assert other != programs
