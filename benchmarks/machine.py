"""What a number was measured on: processor, versions, and the floor of arithmetic."""

import os
import platform
from typing import Any

import jax
import jax.numpy as jnp

from benchmarks.measure import interleave
from cnnjax.onednn.library import DISTRIBUTION
from cnnjax.train import parallel
from cnnjax.train.provenance import package_version, processor

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy", DISTRIBUTION, "torch")
SIDE = 2048


def describe() -> dict[str, Any]:
    """Processor, cores, devices, Python and the versions of the packages."""
    return {
        "processor": processor(),
        "cores": os.cpu_count(),
        "devices": parallel.devices(),
        "python": platform.python_version(),
        "versions": {package: package_version(package) for package in PACKAGES},
    }


def matmul_peak(dtype: str = "float32") -> float:
    """Floating-point operations per second of a large matrix product, measured now."""
    a = jnp.ones((SIDE, SIDE), dtype)
    program = parallel.compile_program(lambda a, b: a @ b, (a, a))
    times = interleave({"": lambda: jax.block_until_ready(program(a, a))}, rounds=7)
    return 2 * SIDE**3 / min(times[""].seconds)
