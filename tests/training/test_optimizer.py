"""Optimizers against torch, step by step, in float64."""

import jax
import numpy as np
import optax
import pytest

from cnnjax.errors import UserError
from cnnjax.training.optimizer import decay_mask, make_optimizer
from tests.run.tiny import tiny_run

NUM_STEPS = 25
DEFAULTS = {
    "name": "sgd",
    "momentum": 0.0,
    "nesterov": False,
    "b1": 0.9,
    "b2": 0.99,
    "epsilon": 1e-8,
    "weight_decay": 0.0,
    "decay": "coupled",
    "decay_exclude": (),
    "clip_norm": 0.0,
}
STREAM = np.random.RandomState(0)
START = {"w": STREAM.standard_normal((4, 3)), "b": STREAM.standard_normal(3)}
TARGET = {"w": STREAM.standard_normal((4, 3)), "b": STREAM.standard_normal(3)}


def rate(step):
    return 0.05 / (1 + 0.1 * step)


def gradients(params):
    """Of a quartic, so that errors would grow and mixed-up leaves would show."""
    return {k: (params[k] - TARGET[k]) ** 3 + 0.3 * params[k] for k in params}


def our_path(**arguments):
    """Parameters after every step; all numbers are traced, as in training."""
    with jax.enable_x64(True):
        optimizer, numbers = make_optimizer({}, **(DEFAULTS | arguments))
        params, path = START, []
        state = optimizer.init(params)
        update = jax.jit(optimizer.update)
        for step in range(NUM_STEPS):
            updates, state = update(
                gradients(params), state, params, rate(step), numbers
            )
            params = jax.tree.map(np.asarray, optax.apply_updates(params, updates))
            path.append(params)
    return path


def torch_path(name, clip_norm=0.0, **arguments):
    torch = pytest.importorskip("torch")
    params = {k: torch.tensor(v.copy(), requires_grad=True) for k, v in START.items()}
    optimizer = getattr(torch.optim, name)(params.values(), lr=rate(0), **arguments)
    path = []
    for step in range(NUM_STEPS):
        optimizer.param_groups[0]["lr"] = rate(step)
        grads = gradients({k: p.detach().numpy() for k, p in params.items()})
        for key, param in params.items():
            param.grad = torch.tensor(grads[key])
        if clip_norm:
            torch.nn.utils.clip_grad_norm_(params.values(), clip_norm)
        optimizer.step()
        path.append({k: p.detach().numpy().copy() for k, p in params.items()})
    return path


CASES = {
    "sgd": ({}, ("SGD", {})),
    "momentum": ({"momentum": 0.9}, ("SGD", {"momentum": 0.9})),
    "nesterov": (
        {"momentum": 0.9, "nesterov": True},
        ("SGD", {"momentum": 0.9, "nesterov": True}),
    ),
    "coupled decay": (
        {"momentum": 0.9, "weight_decay": 0.03},
        ("SGD", {"momentum": 0.9, "weight_decay": 0.03}),
    ),
    "adamw": (
        {"name": "adamw", "weight_decay": 0.1, "decay": "decoupled"},
        ("AdamW", {"betas": (0.9, 0.99), "weight_decay": 0.1}),
    ),
    "adam, coupled decay": (
        {"name": "adamw", "weight_decay": 0.1},
        ("Adam", {"betas": (0.9, 0.99), "weight_decay": 0.1}),
    ),
    "rmsprop": (
        {"name": "rmsprop", "momentum": 0.9, "weight_decay": 0.03, "epsilon": 1e-3},
        (
            "RMSprop",
            {"alpha": 0.99, "momentum": 0.9, "weight_decay": 0.03, "eps": 1e-3},
        ),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_every_step_is_that_of_torch(case):
    ours, (name, theirs) = CASES[case]
    for got, want in zip(our_path(**ours), torch_path(name, **theirs), strict=True):
        for key in START:
            np.testing.assert_allclose(got[key], want[key], rtol=1e-10)


def test_clipping_as_torch():
    """torch divides by norm + 1e-6, which moves parameters of order 1 by about 1e-7."""
    path = our_path(momentum=0.9, clip_norm=1.0)
    for got, want in zip(path, torch_path("SGD", 1.0, momentum=0.9), strict=True):
        for key in START:
            np.testing.assert_allclose(got[key], want[key], rtol=0, atol=1e-6)
    free = our_path(momentum=0.9)
    assert np.abs(free[0]["w"] - path[0]["w"]).max() > 0.01


def test_small_gradients_are_not_clipped():
    huge = our_path(momentum=0.9, clip_norm=1e6)
    for got, want in zip(huge, our_path(momentum=0.9), strict=True):
        for key in START:
            np.testing.assert_array_equal(got[key], want[key])


def test_clipping_comes_before_decay():
    """The clipped gradient has the norm asked for; the decay is added to it."""
    with jax.enable_x64(True):
        changes = {"clip_norm": 0.5, "weight_decay": 0.1}
        optimizer, numbers = make_optimizer({}, **(DEFAULTS | changes))
        grads = gradients(START)
        start = optimizer.init(START)
        updates, _ = optimizer.update(grads, start, START, 1.0, numbers)
    norm = np.sqrt(sum((g**2).sum() for g in grads.values()))
    for key in START:
        wanted = -(0.5 * grads[key] / norm + 0.1 * START[key])
        np.testing.assert_allclose(updates[key], wanted, rtol=1e-12)


@pytest.mark.parametrize("name", ["sgd", "adamw", "rmsprop"])
@pytest.mark.parametrize("decay", ["coupled", "decoupled"])
def test_excluded_leaves_do_not_decay(name, decay):
    with_decay = {"name": name, "decay": decay, "weight_decay": 0.1}
    masked = our_path(**with_decay, decay_exclude=("^b$",))
    free = our_path(**(with_decay | {"weight_decay": 0.0}), decay_exclude=("^b$",))
    every = our_path(**with_decay)
    for got, without, full in zip(masked, free, every, strict=True):
        np.testing.assert_array_equal(got["b"], without["b"])
        np.testing.assert_array_equal(got["w"], full["w"])
    assert np.abs(got["w"] - without["w"]).max() > 1e-3


def test_the_mask_is_by_path():
    params = {"stem_conv": {"kernel": 0}, "block": {"norm1": {"scale": 0, "bias": 0}}}
    assert decay_mask(("norm", "^stem"), {})(params) == {
        "stem_conv": {"kernel": False},
        "block": {"norm1": {"scale": False, "bias": False}},
    }
    assert decay_mask(("bias$",), {})(params)["block"]["norm1"] == {
        "scale": True,
        "bias": False,
    }


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"name": "adam"}, "did you mean 'adamw'"),
        ({"decay": "couple"}, "did you mean 'coupled'"),
        ({"decay_exclude": ("norm(",)}, "config.optimizer.decay_exclude"),
    ],
)
def test_wrong_optimizers_are_one_sentence(changes, sentence):
    with pytest.raises(UserError, match=sentence):
        make_optimizer({}, **(DEFAULTS | changes))


STACKED = {"stage1_block1": {"w": 1}, "stage1_blocks": {"w": 1}, "head": {"w": 1}}
STACKS = {"stage1_blocks": ("stage1_block2", "stage1_block3")}


@pytest.mark.parametrize(
    ("exclude", "decayed"),
    [
        (r"stage1_block\d/", (False, False)),
        ("stage1_block1", (False, True)),
        ("stage1_blocks", (True, True)),  # no block is called so
        ("block[23]/w$", (True, False)),
    ],
)
def test_a_stack_goes_by_the_names_of_its_blocks(exclude, decayed):
    mask = decay_mask((exclude,), STACKS)(STACKED)
    assert (mask["stage1_block1"]["w"], mask["stage1_blocks"]["w"]) == decayed
    assert mask["head"]["w"]


def test_blocks_of_a_stack_cannot_be_told_apart():
    arguments = {"depth": 8, "widths": (4,), "scan_blocks": True}
    sentence = r"leaves out stage1_block3/\S+ but not stage1_block2/.*scan_blocks"
    with pytest.raises(UserError, match=sentence):
        tiny_run("resnet20_cifar", arguments, optimizer__decay_exclude=("block3",))
    arguments["scan_blocks"] = False
    tiny_run("resnet20_cifar", arguments, optimizer__decay_exclude=("block3",))
