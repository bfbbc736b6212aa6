"""How fast this machine computes and compiles: a yardstick for estimates of time.

Measured once, in some seconds, and kept in the user's cache folder.
"""

import contextlib
import dataclasses
import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp

from cnnjax.cache import cache_folder
from cnnjax.devices.parallel import compile_program
from cnnjax.errors import UserError
from cnnjax.files import read_regular
from cnnjax.layers.functional.batch_norm import batch_normalize
from cnnjax.layers.functional.conv import convolution
from cnnjax.records import write_json

CALLS = 12
LAYERS = 12  # of the narrow net that is timed
VARIABLES = 3 * LAYERS  # a kernel, a scale and a bias each
# The programs of a training take as long to compile as so many gradients of its net:
# loops over steps and seeds, the update, evaluation, the choice of the best weights.
PROGRAMS = 4
MOST_BYTES = 10_000


@dataclasses.dataclass(frozen=True)
class Speed:
    """What estimates of time are made of.

    Attributes:
      rate: multiply-adds per second of the gradient of a wide convolution.
      layer_seconds: of a training step, for each variable of a net, beside its
        multiply-adds: narrow nets take hardly any other time.
      compile_seconds: of the programs of training a net with one variable; those of a
        deeper one grow as the root of the number, for equal blocks are compiled once.
    """

    rate: float
    layer_seconds: float
    compile_seconds: float

    def start_seconds(self, variables: int) -> float:
        """Until a net is compiled."""
        return math.sqrt(variables) * self.compile_seconds


def machine_speed(processor: str) -> Speed:
    """The speed of this machine, as kept, or measured now.

    Args:
      processor: its name; what was kept of another one is measured again.
    """
    folder = cache_folder("speed")
    path = folder and folder / "speed.json"
    device = jax.devices()[0].device_kind
    kind = f"{processor}, {os.cpu_count()} cores, {device}, jax {jax.__version__}"
    if path is not None and (kept := _kept(path, kind)) is not None:
        return kept
    speed = Speed(training_rate(), *_narrow_net())
    if path is not None:
        with contextlib.suppress(UserError):  # it is measured again next time
            write_json(path, {"machine": kind, **dataclasses.asdict(speed)})
    return speed


def training_rate() -> float:
    """Multiply-adds per second of a convolution gradient, measured now, in a second.

    That of a 3 x 3 convolution of 64 channels.
    """
    x = jnp.ones((64, 16, 16, 64), jnp.float32)
    kernel = jnp.ones((3, 3, 64, 64), jnp.float32)

    def loss(x, kernel):
        return convolution(x, kernel, padding=1).sum()

    return 3 * x.size * 9 * 64 / _timed(loss, (x, kernel)).quickest


def _narrow_net() -> tuple[float, float]:
    """(seconds of a step for each variable, of compiling for the root of them).

    Of layers as those in the middle of the nets that learn digits.
    """
    x = jnp.ones((64, 4, 4, 16), jnp.float32)
    kernels = [jnp.full((3, 3, 16, 16), 0.01 * i) for i in range(LAYERS)]
    scale = jnp.ones(16, jnp.float32)

    def loss(x, kernels, scale):
        for kernel in kernels:
            y = convolution(x, kernel, padding=1)[None]
            x = jax.nn.relu(batch_normalize(y, scale, scale, 1e-5)[0][0]) + x
        return x.mean()

    times = _timed(loss, (x, kernels, scale))
    compiling = PROGRAMS * times.compiling / math.sqrt(VARIABLES)
    return times.of_core / VARIABLES, compiling


class Times(NamedTuple):
    """Of a gradient; so that other programs of the machine count little.

    Attributes:
      compiling: seconds of a core.
      of_core: those of a call.
      quickest: seconds of the quickest of some calls.
    """

    compiling: float
    of_core: float
    quickest: float


def _timed(loss: Callable, example: tuple) -> Times:
    """Compiles the gradient of a loss, and calls it."""
    start = time.process_time()
    every = tuple(range(len(example)))
    program = compile_program(jax.value_and_grad(loss, argnums=every), example)
    compiling = time.process_time() - start
    jax.block_until_ready(program(*example))
    start, seconds = time.process_time(), []
    for _ in range(CALLS):
        began = time.perf_counter()
        jax.block_until_ready(program(*example))
        seconds.append(time.perf_counter() - began)
    of_core = (time.process_time() - start) / CALLS
    return Times(compiling, of_core, min(seconds))


def _kept(path: Path, kind: str) -> Speed | None:
    """A speed of this machine; None where there is none that can be read."""
    try:
        stored = json.loads(read_regular(path, MOST_BYTES))
        if stored.pop("machine") != kind:
            return None
        speed = Speed(**{name: float(value) for name, value in stored.items()})
        values = dataclasses.astuple(speed)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, UserError):
        return None
    return speed if all(math.isfinite(v) and v > 0 for v in values) else None
