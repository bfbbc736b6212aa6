"""The user's cache folder: what can be computed again, kept for a faster start."""

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

# Another place for the cache; empty for none at all.
VARIABLE = "CNNJAX_CACHE_DIR"


def cache_folder(kind: str) -> Path | None:
    """The folder for one kind of entries, which may not exist yet.

    Args:
      kind: name of the folder in `$CNNJAX_CACHE_DIR` or else in `cnnjax` in the user's
        cache folder.

    Returns:
      None if the cache is switched off, or this user has no home folder.
    """
    chosen = os.environ.get(VARIABLE)
    if chosen is not None:
        return Path(chosen) / kind if chosen else None
    if base := os.environ.get("XDG_CACHE_HOME"):
        return Path(base) / "cnnjax" / kind
    try:
        return Path.home() / ".cache" / "cnnjax" / kind
    except RuntimeError:  # the system does not know this user, as in some containers
        return None


def remove_oldest(entries: Iterable[Path], most_bytes: int) -> None:
    """Removes the oldest files until the rest is small enough.

    Args:
      entries: whatever is no regular file stays, and counts nothing. Several names of
        one file count once, and go together.
      most_bytes: the sum of the sizes that may stay.
    """
    files: dict[tuple[int, int], tuple[os.stat_result, list[Path]]] = {}
    for entry in entries:
        with contextlib.suppress(FileNotFoundError):  # removed by another process
            found = entry.lstat()
            if stat.S_ISREG(found.st_mode):
                names = files.setdefault((found.st_dev, found.st_ino), (found, []))[1]
                names.append(entry)
    total = sum(found.st_size for found, _ in files.values())
    for found, names in sorted(files.values(), key=lambda file: file[0].st_mtime):
        if total <= most_bytes:
            break
        for name in names:
            name.unlink(missing_ok=True)
        total -= found.st_size
