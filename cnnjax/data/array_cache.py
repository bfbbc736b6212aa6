"""Arrays kept in the user's cache folder, because computing them takes long.

Entries are zip files, whose checksums tell a damaged one.
"""

import contextlib
import os
import re
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from cnnjax.cache import cache_folder, remove_oldest
from cnnjax.files import open_regular

# The names of entries, and of what killed processes left.
_NEW, _END = "cnnjax-new-", ".npz"
OURS = re.compile(rf"([0-9a-f]{{32}}|{_NEW}[a-z0-9_]{{8}}){re.escape(_END)}")
MOST_BYTES = 2**33  # of an entry; the largest is half of what `decoded_cache` keeps


def find(kind: str, key: str, names: tuple[str, ...]) -> list[np.ndarray] | None:
    """The arrays of an entry; None if it is not there, or damaged.

    Args:
      kind: name of the folder in the cache.
      key: of the entry, 32 hexadecimal digits.
      names: of the arrays.
    """
    folder = cache_folder(kind)
    if folder is None:
        return None
    # One flipped bit is an error of any kind, also one of memory. np.load leaves files
    # open where it is given a name and finds damage.
    with (
        contextlib.suppress(Exception),
        open_regular(folder / f"{key}{_END}", MOST_BYTES) as file,
    ):
        entry = np.load(file)
        return [entry[name] for name in names]
    return None


def keep(kind: str, key: str, most_bytes: int, **arrays: np.ndarray) -> None:
    """Writes an entry, and removes the oldest ones beyond `most_bytes` a folder.

    What would fill half of that is not kept. A folder that cannot be written costs the
    entry and nothing else.
    """
    folder = cache_folder(kind)
    size = sum(array.nbytes for array in arrays.values())
    if folder is not None and 2 * size <= most_bytes:
        with contextlib.suppress(OSError):
            _store(folder / f"{key}{_END}", arrays)
            remove_oldest(folder, OURS, most_bytes)


def _store(path: Path, arrays: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=_NEW, suffix=_END, dir=path.parent)
    try:
        with open(handle, "wb") as file:
            np.savez(file, **arrays)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
