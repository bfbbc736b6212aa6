"""Training steps as they are compiled for GPU and TPU, without having one."""

import importlib
import re

import jax
import pytest
from jax import export

from cnnjax.models.registry import FAMILIES
from cnnjax.run.setup import initial_state
from cnnjax.training.step import make_train_step
from tests.run.tiny import tiny_run
from tests.slow import slow_but

PLATFORMS = ("cuda", "tpu")
# Random numbers on CUDA; everything else must be an operation that XLA knows.
ALLOWED = {"cu_threefry2x32_ffi"}
# The first net of each family, and an image size that all of them take.
NETS = {
    family: next(iter(importlib.import_module(f"cnnjax.models.{family}").VARIANTS))
    for family in FAMILIES
}
FEW = ("cifar_resnet", "mobilenet_v2", "vgg")
IMAGE_SIZE = 96


def exported(family, platform, num_seeds=0, **changes) -> str:
    """The training step of a net for a platform, as StableHLO."""
    run = tiny_run(NETS[family], data__image_size=IMAGE_SIZE, **changes)
    step = make_train_step(run.model, run.optimizer, run.augment.train)

    def one(state, images, labels, seed):
        batch = {"images": images, "labels": labels, "seed": seed}
        return step(state, batch, run.schedule(0), run.hyperparameters)

    state = jax.eval_shape(lambda: initial_state(run))
    of_one = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[1:], x.dtype), state)
    images = jax.ShapeDtypeStruct((8, *run.dataset.train.images.shape[1:]), "uint8")
    labels = jax.ShapeDtypeStruct((8,), "int32")
    program = jax.jit(jax.vmap(one, (0, None, None, 0)) if num_seeds else one)
    given = (state if num_seeds else of_one, images, labels)
    seeds = jax.ShapeDtypeStruct((num_seeds,) if num_seeds else (), "int32")
    return export.export(program, platforms=[platform])(*given, seeds).mlir_module()


def convolutions(text) -> list[tuple[str, str]]:
    """Types of the two operands of every convolution."""
    found = re.findall(r"stablehlo\.convolution.*?: \((.*?)\) ->", text)
    return [
        tuple(re.findall(r"x([a-z]+\d+)>", operands)[:2])  # tensor<8x4x4x3xf32>
        for operands in found
    ]


@pytest.mark.parametrize("family", slow_but(FEW, FAMILIES))
def test_operations_of_xla_alone(family):
    """No call of a library of the CPU, no Python, no float64."""
    for platform in PLATFORMS:
        text = exported(family, platform)
        called = set(re.findall(r"custom_call @(\S+?)\(", text))
        assert called <= ALLOWED, (family, platform)
        assert "f64" not in text


@pytest.mark.parametrize("family", slow_but(FEW, FAMILIES))
def test_bfloat16_convolutions(family):
    """All of a step, those of the gradients too."""
    types = convolutions(exported(family, "tpu", train__dtype="bfloat16"))
    assert set(types) <= {("bf16", "bf16")}
    assert types or family == "mlp"
