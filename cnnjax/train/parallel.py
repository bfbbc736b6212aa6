"""Turns pure functions into programs that run: the only file that names `jit`.

Everything here takes a function of one seed and runs it for all seeds at once; every
argument that is `mapped` has a leading seed axis.
"""

import time
from collections.abc import Callable
from typing import Any

import jax

from cnnjax.errors import UserError
from cnnjax.layers.convolution import convolution
from cnnjax.layers.convolution_onednn import is_installed
from cnnjax.layers.implementation import implementation
from cnnjax.train.compile_cache import sharing_entries


def choose_seed_mode(mode: str) -> str:
    """How seeds share a program: 'loop' (one after another) or 'vmap' (vectorised).

    On CPU vectorised convolutions become grouped ones and are slow.
    """
    if mode != "auto":
        return mode
    return "loop" if jax.default_backend() == "cpu" else "vmap"


def over_seeds(function: Callable, mapped: tuple[bool, ...], mode: str) -> Callable:
    """Runs a function of one seed for every entry of the leading axis.

    Args:
      function: takes len(mapped) arguments.
      mapped: which arguments have a leading seed axis; the others are shared.
      mode: 'auto', 'loop' or 'vmap'.

    Returns:
      The function of stacked arguments, with stacked results.
    """
    if choose_seed_mode(mode) == "vmap":
        return jax.vmap(function, in_axes=tuple(0 if m else None for m in mapped))

    def looped(*args):
        def one(own):
            own = iter(own)
            return function(
                *(next(own) if m else arg for m, arg in zip(mapped, args, strict=True))
            )

        return jax.lax.map(one, [a for m, a in zip(mapped, args, strict=True) if m])

    return looped


def compiler_options(platform: str, deterministic: bool) -> dict[str, Any]:
    """Options of XLA for a program.

    Args:
      platform: 'cpu', 'gpu' or 'tpu'.
      deterministic: whether the same program on the same device must give the same bits
        every time. GPUs need an option for that: some of their sums add up in the order
        in which threads come. CPUs and TPUs do so anyway.
    """
    if deterministic and platform == "gpu":
        return {"xla_gpu_deterministic_ops": True}
    return {}


def compile_program(
    function: Callable,
    example: tuple[Any, ...],
    donate: tuple[int, ...] = (),
    deterministic: bool = False,
    impl: str = "auto",
) -> Callable:
    """Compiles for the shapes of the example arguments.

    Args:
      function: what to run.
      example: arrays or `jax.ShapeDtypeStruct`s.
      donate: indices of arguments whose memory the results may take over.
      deterministic: see `compiler_options`.
      impl: of the layers, see `layers.implementation`.
    """
    options = compiler_options(jax.default_backend(), deterministic)
    with sharing_entries(), implementation(impl):
        lowered = jax.jit(function, donate_argnums=donate).lower(*example)
        return lowered.compile(compiler_options=options)


def to_device(tree: Any) -> Any:
    """Copies host arrays onto the device."""
    return jax.device_put(tree)


def to_host(tree: Any) -> Any:
    """Waits for device arrays and copies them to NumPy."""
    return jax.device_get(tree)


def require_devices() -> None:
    """Starts the devices.

    Raises:
      UserError: there is none of the kind that the environment asks for.
    """
    try:
        jax.devices()
    # Without its plugin, JAX fails an assertion for cuda.
    except (RuntimeError, AssertionError) as error:
        raise UserError(
            f"JAX finds no device for JAX_PLATFORMS={jax.config.jax_platforms!r}: "
            "unset it, or install the build for it with CNNJAX_EXTRA (cuda13, cuda12 "
            "or tpu) and ./launch.sh"
        ) from error


def devices() -> list[str]:
    """The devices in use, in words."""
    return [f"{d.platform}:{d.device_kind}" for d in jax.devices()]


def has_onednn() -> bool:
    """Whether oneDNN computes convolutions on this machine; else XLA does, slower."""
    return not is_accelerated() and is_installed()


def is_accelerated() -> bool:
    """Whether the default device is something other than the CPU."""
    return jax.default_backend() != "cpu"


def training_rate() -> float:
    """Multiply-adds per second of a convolution gradient, measured now, in a second.

    A yardstick for estimates of time: a 3 x 3 convolution of 64 channels.
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
