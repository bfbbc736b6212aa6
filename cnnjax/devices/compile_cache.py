"""Compiled programs kept on disk, so that the next start need not compile them again.

JAX writes an entry in place: a process that is killed while writing leaves half an
entry, and another that reads at that moment gets it. Here every process works in a
private folder that starts with hard links to all whole entries, and its new entries
join the others once nothing is being compiled.
"""

import atexit
import contextlib
import os
import re
import shutil
import socket
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import psutil

from cnnjax.cache import cache_folder, remove_oldest

# Oldest entries go first beyond this.
MOST_BYTES = 4 * 2**30

_lock = threading.Lock()
_compiling = 0
_private: Path | None = None


def use_compile_cache() -> None:
    """Lets this process read and write compiled programs; call it before compiling.

    A folder that cannot be written costs the cache and nothing else. A cache that was
    chosen through JAX's own settings is left alone.
    """
    global _private
    folder = cache_folder("compiled")
    config: Any = jax.config  # a type checker does not see its settings
    if folder is None or config.jax_compilation_cache_dir:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _remove_left_behind(folder)
        remove_oldest(_entries(folder), MOST_BYTES)
        _private = Path(
            tempfile.mkdtemp(prefix=f"{_mine()}-{os.getpid()}-", dir=folder)
        )
        for entry in _entries(folder):
            with contextlib.suppress(FileNotFoundError):  # removed by another process
                os.link(entry, _private / entry.name)
    except OSError:
        _private = None
        return
    atexit.register(shutil.rmtree, _private, ignore_errors=True)
    jax.config.update("jax_compilation_cache_dir", str(_private))
    # XLA's own caches would put the name of the folder into the keys of the entries.
    jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@contextlib.contextmanager
def sharing_entries() -> Iterator[None]:
    """Around a compilation: afterwards its entry is there for other processes.

    Compilations in several threads share when the last one ends, because the entry of
    one in progress may be half written.
    """
    global _compiling
    with _lock:
        _compiling += 1
    try:
        yield
    finally:
        with _lock:
            _compiling -= 1
            if _compiling == 0 and _private is not None:
                _share(_private)


def _share(folder: Path) -> None:
    for entry in _entries(folder):
        with contextlib.suppress(OSError):  # it is there already, or the disk is full
            os.link(entry, folder.parent / entry.name)


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.glob("*-cache"))


def _mine() -> str:
    """How the folders of this machine begin: others may share the cache."""
    return f"process-{socket.gethostname()}"


def _remove_left_behind(folder: Path) -> None:
    """Folders of processes of this machine that were killed."""
    for left in folder.glob("process-*"):
        # Whatever else has such a name stays.
        match = re.fullmatch(rf"{re.escape(_mine())}-(\d+)-\w+", left.name)
        if match and not psutil.pid_exists(int(match[1])):
            shutil.rmtree(left, ignore_errors=True)
