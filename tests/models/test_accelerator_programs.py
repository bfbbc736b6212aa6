"""Training steps as they are compiled for GPU and TPU, without having one."""

import functools
import importlib
import re

import jax
import jax.numpy as jnp
import pytest
from flax.core import meta
from jax import export

from cnnjax.errors import UserError
from cnnjax.models.registry import FAMILIES
from cnnjax.training.state import TrainState
from cnnjax.training.step import make_train_step
from tests.run.tiny import RESNET, tiny_run
from tests.slow import slow_but

PLATFORMS = ("cuda", "tpu")
# Random numbers on CUDA; everything else must be an operation that XLA knows.
ALLOWED = {"cu_threefry2x32_ffi"}
# The first net of each family; that of the default tests is a small one.
NETS = {
    family: next(iter(importlib.import_module(f"cnnjax.models.{family}").VARIANTS))
    for family in FAMILIES
}
FEW = ("cifar_resnet",)
SIZES = (32, 96, 224)
BATCH = 8


@functools.cache
def smallest_run(family, **changes):
    """A run with images of the smallest size that the net takes."""
    for size in SIZES:
        try:
            arguments = RESNET if family == "cifar_resnet" else None
            return tiny_run(NETS[family], arguments, data__image_size=size, **changes)
        except UserError:
            if size == SIZES[-1]:
                raise


def exported(family, platform, **changes) -> str:
    """The training step of a net for a platform, as StableHLO."""
    run = smallest_run(family, **changes)
    step = make_train_step(run.model, run.optimizer, run.augment.train)

    def start():
        shapes = meta.unbox(run.declared)
        state = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        params = state.pop("params")
        opt_state = run.optimizer.init(params)
        return TrainState(jnp.int32(0), params, state, opt_state, None)

    def one_step(state, images, labels, seed):
        batch = {"images": images, "labels": labels, "seed": seed}
        return step(state, batch, run.schedule(0), run.hyperparameters)

    given = (
        jax.eval_shape(start),
        jax.ShapeDtypeStruct((BATCH, *run.dataset.image_shape), "uint8"),
        jax.ShapeDtypeStruct((BATCH,), "int32"),
        jax.ShapeDtypeStruct((), "int32"),
    )
    return export.export(jax.jit(one_step), platforms=[platform])(*given).mlir_module()


def convolutions(text) -> set[tuple[str, ...]]:
    """Types of the two operands of every convolution."""
    found = re.findall(r"stablehlo\.convolution.*?: \((.*?)\) ->", text)
    return {tuple(re.findall(r"x([a-z]+\d+)>", operands)[:2]) for operands in found}


@pytest.mark.parametrize("family", slow_but(FEW, FAMILIES))
@pytest.mark.parametrize("platform", PLATFORMS)
def test_operations_of_xla_alone(family, platform):
    """No call of a library of the CPU, no Python, no float64."""
    text = exported(family, platform)
    assert set(re.findall(r"custom_call @([\w.]+)", text)) <= ALLOWED
    assert not re.search(r"x?f64>", text)


@pytest.mark.parametrize("family", slow_but(FEW, FAMILIES))
def test_bfloat16_convolutions(family):
    """All of a step, those of the gradients too."""
    types = convolutions(exported(family, "tpu", train__dtype="bfloat16"))
    assert types == (set() if family == "mlp" else {("bf16", "bf16")})
