"""Compiled programs kept on disk, so that the next start need not compile them again.

JAX writes an entry in place and reads it as it is: a process that is killed while it
writes, or a full disk, leaves half an entry, which stays there for ever; and a changed
bit is a changed program. Here an entry is written to a new file that then takes its
name, and begins with a digest. What does not fit its digest, or belongs to another user
(it is code), is compiled again and replaced.
"""

import contextlib
import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import jax

from cnnjax.cache import cache_folder, remove_oldest
from cnnjax.files import UnfitFile, open_regular

# Oldest entries go first beyond this.
MOST_BYTES = 4 * 2**30
MOST_BYTES_OF_ENTRY = 2**30
# What stands in the folder: entries by JAX's keys, those of earlier versions with the
# endings of JAX's own cache, and what killed processes left.
_NEW = "cnnjax-new-"
OURS = re.compile(rf"[\w.<>-]+-[0-9a-f]{{64}}(-cache|-atime)?|{_NEW}[a-z0-9_]{{8}}")
_DIGEST_BYTES = hashlib.sha256().digest_size


def use_compile_cache() -> None:
    """Lets this process read and write compiled programs; call it before compiling.

    A folder that cannot be written costs the cache and nothing else. A cache that was
    chosen through JAX's own settings is left alone.
    """
    folder = cache_folder("compiled")
    config: Any = jax.config  # a type checker does not see its settings
    if folder is None or config.jax_compilation_cache_dir:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_oldest(folder, OURS, MOST_BYTES)
        _replace_cache_of_jax(folder)
    except (OSError, ImportError, AttributeError):  # also of another JAX than today's
        return
    config.update("jax_compilation_cache_dir", str(folder))
    # XLA's own caches would put the name of the folder into the keys of the entries.
    config.update("jax_persistent_cache_enable_xla_caches", "none")
    config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def _replace_cache_of_jax(folder: Path) -> None:
    """JAX has no setting for the class of its cache."""
    from jax._src import compilation_cache
    from jax._src.compilation_cache_interface import CacheInterface

    class Cache(CacheInterface):
        _path = folder

        def get(self, key: str) -> bytes | None:
            return read_entry(folder / key)

        def put(self, key: str, value: bytes) -> None:
            write_entry(folder / key, value)

    module: Any = compilation_cache
    assert callable(module.get_file_cache)
    module.get_file_cache = lambda path: (Cache(), path)


def read_entry(path: Path) -> bytes | None:
    """The content of an entry; None if it is missing, damaged or of another user."""
    try:
        with open_regular(path, MOST_BYTES_OF_ENTRY) as file:
            if os.fstat(file.fileno()).st_uid != os.geteuid():
                return None
            digest, value = file.read(_DIGEST_BYTES), file.read()
    except (OSError, UnfitFile):
        return None
    return value if hashlib.sha256(value).digest() == digest else None


def write_entry(path: Path, value: bytes) -> None:
    """Writes an entry so that nobody ever sees half of it; no entry on a full disk."""
    with contextlib.suppress(OSError):
        handle, new = tempfile.mkstemp(prefix=_NEW, dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(hashlib.sha256(value).digest())
                file.write(value)
            os.replace(new, path)
        except BaseException:
            with contextlib.suppress(OSError):
                os.unlink(new)
            raise
