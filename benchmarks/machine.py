"""Describes the machine of a measurement: processor, versions, peak of matmul."""

import os
import platform
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.measure import Times
from cnnjax.devices import parallel
from cnnjax.devices.available import devices
from cnnjax.onednn.library import DISTRIBUTION
from cnnjax.run.provenance import package_version, processor

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", DISTRIBUTION, "torch")
SIDE = 2048
MATMUL = "matmul"


def describe(with_devices: bool = True) -> dict[str, Any]:
    """Processor, cores, devices, Python and the versions of the packages."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "devices": devices() if with_devices else [],
        "python": platform.python_version(),
        "versions": {package: package_version(package) for package in PACKAGES},
    }


def matmul(dtype: str = "float32") -> dict[str, Callable[[], object]]:
    """A large matrix product, measured in the same rounds as a case, as its peak."""
    a = jnp.ones((SIDE, SIDE), dtype)
    program = parallel.compile_program(lambda a, b: a @ b, (a, a))
    return {MATMUL: lambda: jax.block_until_ready(program(a, a))}


def matmul_peak(times: Times) -> float:
    """Floating-point operations per second of the fastest product."""
    return 2 * SIDE**3 / min(times.seconds)
