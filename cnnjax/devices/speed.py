"""How fast this machine computes: a yardstick for estimates of time."""

import time

import jax

from cnnjax.devices.parallel import compile_program
from cnnjax.layers.functional.conv import convolution


def training_rate() -> float:
    """Multiply-adds per second of a convolution gradient, measured now, in a second.

    That of a 3 x 3 convolution of 64 channels.
    """
    x = jax.numpy.ones((64, 16, 16, 64), jax.numpy.float32)
    kernel = jax.numpy.ones((3, 3, 64, 64), jax.numpy.float32)

    def loss(x, kernel):
        return convolution(x, kernel, padding=1).sum()

    program = compile_program(jax.value_and_grad(loss, argnums=(0, 1)), (x, kernel))
    jax.block_until_ready(program(x, kernel))
    start, repeats = time.perf_counter(), 10
    for _ in range(repeats):
        jax.block_until_ready(program(x, kernel))
    work = 3 * x.size * 9 * 64
    return repeats * work / (time.perf_counter() - start)
