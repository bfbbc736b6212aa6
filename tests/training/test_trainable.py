"""Factors on the learning rate and gradual unfreezing, against torch's groups."""

import jax
import numpy as np
import pytest

from cnnjax.training.optimizer import make_optimizer
from cnnjax.training.trainable import Group, Trainable

torch = pytest.importorskip("torch", reason="compares with torch: extra `peers`")

SHAPES = {
    "stem": {"kernel": (3, 2)},
    "stage1": {"kernel": (4,)},
    "head": {"bias": (5,)},
}
PATHS = ("stem/kernel", "stage1/kernel", "head/bias")
RATE, DECAY, STEPS = 0.1, 0.05, 6


def optimizer_of(name, clip_norm=0.0):
    return make_optimizer(
        {},
        name=name,
        momentum=0.9,
        nesterov=False,
        b1=0.9,
        b2=0.99,
        epsilon=1e-8,
        weight_decay=DECAY,
        decay="decoupled" if name == "adamw" else "coupled",
        decay_exclude=(),
        clip_norm=clip_norm,
    )


def values(seed):
    draw = np.random.default_rng(seed).normal
    return jax.tree.map(
        lambda shape: draw(size=shape), SHAPES, is_leaf=lambda x: isinstance(x, tuple)
    )


def ours(trainable, name, clip_norm=0.0):
    made, params = optimizer_of(name, clip_norm), values(0)
    trained, kept = trainable.divide(params)
    state = trainable.init(made.static, params)
    for step in range(STEPS):
        grads, _ = trainable.divide(values(step + 1))
        trained, state = trainable.update(
            made.static, grads, state, trained, RATE, made.traced, step
        )
    return trainable.join(trained, kept)


def leaves(tree):
    return {path: tree[path.split("/")[0]][path.split("/")[1]] for path in PATHS}


def theirs(groups, name, clip_norm=0.0):
    """groups: path -> (factor, first step)."""
    params = {
        p: torch.tensor(v, requires_grad=True) for p, v in leaves(values(0)).items()
    }
    kinds = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}
    more = {"momentum": 0.9} if name == "sgd" else {"betas": (0.9, 0.99), "eps": 1e-8}
    made = kinds[name](
        [{"params": [params[p]], "lr": f * RATE} for p, (f, _) in groups.items()],
        lr=RATE,
        weight_decay=DECAY,
        **more,
    )
    for step in range(STEPS):
        grads = leaves(values(step + 1))
        begun = [p for p, (_, first) in groups.items() if step >= first]
        for path in groups:
            params[path].grad = torch.tensor(grads[path]) if path in begun else None
        if clip_norm:
            own = [params[path] for path in begun]
            torch.nn.utils.clip_grad_norm_(own, clip_norm)
        made.step()
    return {path: value.detach().numpy() for path, value in params.items()}


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_factors_are_those_of_torchs_groups(name):
    groups = {"stem/kernel": (0.1, 0), "head/bias": (1.0, 0)}
    trainable = Trainable((Group(0, (("stem/kernel", 0.1), ("head/bias", 1.0))),))
    with jax.enable_x64(True):
        found = leaves(ours(trainable, name))
    for path, value in theirs(groups, name).items():
        np.testing.assert_allclose(found[path], value, rtol=1e-12)
    # What does not train stays, bit for bit.
    np.testing.assert_array_equal(found["stage1/kernel"], leaves(values(0))[PATHS[1]])


@pytest.mark.parametrize(("name", "clip"), [("sgd", 0.0), ("adamw", 0.0), ("sgd", 0.5)])
def test_unfreezing_is_torch_with_gradients_that_come_later(name, clip):
    groups = {"head/bias": (1.0, 0), "stage1/kernel": (0.5, 2), "stem/kernel": (0.1, 4)}
    trainable = Trainable(
        tuple(Group(first, ((path, f),)) for path, (f, first) in groups.items())
    )
    with jax.enable_x64(True):
        found = leaves(ours(trainable, name, clip))
    for path, value in theirs(groups, name, clip).items():
        # torch adds 1e-6 to the norm that it clips by.
        np.testing.assert_allclose(found[path], value, rtol=1e-5 if clip else 1e-12)
