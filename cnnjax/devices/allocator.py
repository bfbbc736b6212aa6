"""Memory that stays with this process once the system has cleared it.

XLA on CPU asks malloc for the temporary memory of every execution, and frees it after.
By default glibc maps pieces above 32 MiB anew each time, and the kernel clears them
page by page, at every training step (way 'memory returned' of suite train). With the
settings of this module, freed memory serves the next request; the system has it back
when the process ends.

One heap for all threads has a price: the threads of XLA's compiler ask for millions of
small pieces, and wait for each other. So processes whose programs take small pieces
only keep as many heaps as glibc makes.

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
_NUM_HEAPS = -8
# Any heap can hold pieces up to 64 MiB: for batches of so many pixels, 2,000 numbers a
# pixel. A net that keeps more gets its memory anew at each step, which is slower.
FEW_PIXELS = 2**13
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
    if not _is_ours():
        return False
    mallopt = ctypes.CDLL(None).mallopt
    results = [mallopt(key, value) for key, (value, *_) in SETTINGS.items()]
    return all(results)


def suit_heaps(pixels: int) -> bool:
    """Gives each thread a heap of its own where no program needs a large piece.

    Works only before a second thread asks for memory, so before JAX has any.

    Args:
      pixels: of the largest batch that this process trains on.

    Returns:
      Whether it was tried.
    """
    if pixels > FEW_PIXELS or not _is_ours():
        return False
    as_by_default = 8 * (os.cpu_count() or 1)
    return bool(ctypes.CDLL(None).mallopt(_NUM_HEAPS, as_by_default))


def make_room(num_bytes: int) -> None:
    """Gives the system what is free now, before a large piece is taken.

    Compiling leaves many small pieces, into which no map fits; giving them back takes
    some milliseconds.

    Args:
      num_bytes: of the piece.
    """
    if num_bytes >= LARGE and _is_glibc():
        ctypes.CDLL(None).malloc_trim(0)


def _is_ours() -> bool:
    """Whether the settings of malloc are for this module to choose."""
    return _is_glibc() and not _is_chosen(os.environ) and _is_for_cpu(os.environ)


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
