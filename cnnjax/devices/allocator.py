"""Memory that stays with this process once the system has cleared it.

XLA on CPU asks malloc for the temporary memory of every execution, and frees it after.
By default glibc maps pieces above 32 MiB anew each time, and the kernel clears them
page by page, at every training step (way 'memory returned' of suite train). With the
settings of this module, freed memory serves the next request; the system has it back
when the process ends.

Source: mallopt(3), and "Memory Allocation Tunables" of the manual of glibc.
"""

import ctypes
import importlib.util
import os
from collections.abc import Mapping

# Parameter of mallopt -> value, and how users set it themselves.
SETTINGS = {
    # No piece is mapped, and so unmapped, on its own.
    -4: (0, "glibc.malloc.mmap_max", "MALLOC_MMAP_MAX_"),
    # The end of the heap is never given back.
    -1: (-1, "glibc.malloc.trim_threshold", "MALLOC_TRIM_THRESHOLD_"),
    # All threads take from the one heap that can hold large pieces.
    -8: (1, "glibc.malloc.arena_max", "MALLOC_ARENA_MAX"),
}
# Of small programs nobody notices what compiling left.
LARGE = 2**26
# Packages by which JAX finds an accelerator.
ACCELERATORS = ("jax_plugins", "libtpu")


def keep_memory() -> bool:
    """Lets this process keep the memory that it frees, where that was measured to help.

    A thread stays with the heap of its first request, so this comes before JAX starts
    its threads: `import cnnjax` calls it.

    Returns:
      Whether it does: not without glibc, with accelerators, or where the user has
      chosen settings of malloc.
    """
    if not (_is_glibc() and not _is_chosen(os.environ) and _is_for_cpu(os.environ)):
        return False
    mallopt = ctypes.CDLL(None).mallopt
    results = [mallopt(key, value) for key, (value, *_) in SETTINGS.items()]
    return all(results)


def make_room(num_bytes: int) -> None:
    """Gives the system what is free now, before a large piece is taken.

    Compiling leaves many small pieces, into which no map fits; giving them back takes
    some milliseconds.

    Args:
      num_bytes: of the piece.
    """
    if num_bytes >= LARGE and _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _is_glibc() -> bool:
    try:
        return bool(os.confstr("CS_GNU_LIBC_VERSION"))
    except (AttributeError, OSError, ValueError):  # other systems do not know the name
        return False


def _is_chosen(environment: Mapping[str, str]) -> bool:
    """Whether the user has set one of the parameters."""
    tunables = environment.get("GLIBC_TUNABLES", "")
    return any(
        tunable in tunables or variable in environment
        for _, tunable, variable in SETTINGS.values()
    )


def _is_for_cpu(environment: Mapping[str, str]) -> bool:
    """Whether JAX computes on CPU here: its plugins are missing, or switched off."""
    if environment.get("JAX_PLATFORMS") == "cpu":
        return True
    return not any(map(importlib.util.find_spec, ACCELERATORS))
