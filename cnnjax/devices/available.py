"""Which devices there are."""

from typing import Any

import jax

from cnnjax.devices.distributed import num_processes
from cnnjax.errors import UserError
from cnnjax.layers.functional.conv_onednn import is_installed


def require_devices() -> None:
    """Starts the devices.

    Raises:
      UserError: there is none of the kind that the environment asks for.
    """
    try:
        jax.devices()
    # Without its plugin, JAX fails an assertion for cuda.
    except (RuntimeError, AssertionError) as error:
        config: Any = jax.config  # a type checker does not see its settings
        raise UserError(
            f"JAX finds no device for JAX_PLATFORMS={config.jax_platforms!r}: "
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


def num_usable(asked: int, layout: str) -> int:
    """How many devices a run may be laid over.

    Args:
      asked: a number, or 0: for all; on CPU, where those of one process are emulated,
        all if there is a layout, else one of each process.
      layout: 'auto' or what was asked for.

    Raises:
      UserError: there are fewer than asked for.
    """
    there = len(jax.devices())
    if asked > there:
        raise UserError(
            f"config.parallel.devices is {asked} and JAX finds {there}: lower it "
            "(--parallel.devices), or set XLA_FLAGS="
            f"--xla_force_host_platform_device_count={asked} to emulate them on CPU"
        )
    if asked % num_processes():
        raise UserError(
            f"config.parallel.devices is {asked} and must be a multiple of the "
            f"{num_processes()} processes: each has as many (--parallel.devices)"
        )
    all_of_them = is_accelerated() or layout != "auto"
    return asked or (there if all_of_them else num_processes())


def chosen_devices(num: int) -> list[jax.Device]:
    """The devices of a layout of so many: equally many of each process, in order."""
    of_each, processes = num // num_processes(), range(num_processes())
    everywhere = jax.devices()
    return [
        device
        for process in processes
        for device in [d for d in everywhere if d.process_index == process][:of_each]
    ]
