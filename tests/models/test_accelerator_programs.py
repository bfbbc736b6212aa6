"""Training steps as they are compiled for GPU and TPU, without having one.

What is exported is what XLA receives; what it makes of that needs the device. Seeds in
mode 'vmap' arrive as grouped convolutions, as XLA's convolution has one batch axis
only: JAX puts the seeds into the channels, and for gradients of filters of nets with
groups of their own into the batch. docs/design.md (seeds) has what is known of their
speed; `./launch.sh benchmark --suite=accelerator` measures both modes.
"""

import functools
import importlib
import re

import jax
import jax.numpy as jnp
import pytest
from flax.core import meta
from jax import export

from cnnjax.devices.seed_axis import over_seeds
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
SIZES = (32, 96, 224, 299)
BATCH, SEEDS = 8, 3


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


def exported(family, platform, mode=None, **changes) -> str:
    """The training step of a net for a platform, as StableHLO.

    Args:
      family: of the net.
      platform: 'cuda' or 'tpu'.
      mode: of several seeds; None for one seed.
      changes: of the config.
    """
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
    if mode is not None:
        one_step = over_seeds(one_step, (True,) * len(given), mode)
        given = jax.tree.map(
            lambda leaf: jax.ShapeDtypeStruct((SEEDS, *leaf.shape), leaf.dtype), given
        )
    return export.export(jax.jit(one_step), platforms=[platform])(*given).mlir_module()


def operands(text, operation) -> set[tuple[str, ...]]:
    """Types of the two operands of every convolution or product of matrices."""
    found = re.findall(rf"stablehlo\.{operation}.*?: \((.*?)\) ->", text)
    return {tuple(re.findall(r"x([a-z]+\d+)>", types)[:2]) for types in found}


def groups(text) -> set[int]:
    """In how many groups convolutions are divided, by channels or by images."""
    found = re.findall(r"batch_group_count = (\d+).*?feature_group_count = (\d+)", text)
    return {int(images) * int(channels) for images, channels in found}


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
    text = exported(family, "tpu", train__dtype="bfloat16")
    types = operands(text, "convolution")
    assert types == (set() if family == "mlp" else {("bf16", "bf16")})
    # The classifier too; its logits are float32 behind it.
    assert operands(text, "dot_general") <= {("bf16", "bf16")}


@pytest.mark.parametrize("platform", slow_but(("cuda",), PLATFORMS))
def test_seeds_are_groups_of_one_convolution_or_take_turns(platform):
    assert groups(exported("cifar_resnet", platform)) == {1}
    assert groups(exported("cifar_resnet", platform, "vmap")) == {SEEDS}
    in_turn = exported("cifar_resnet", platform, "loop")
    assert groups(in_turn) == {1}
    assert "stablehlo.while" in in_turn
