"""The user's cache folder: what can be computed again, kept for a faster start."""

import os
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
    """Removes the oldest entries until the rest is small enough."""
    sizes = [(entry.stat(), entry) for entry in entries]
    total = sum(stat.st_size for stat, _ in sizes)
    for stat, entry in sorted(sizes, key=lambda pair: pair[0].st_mtime):
        if total <= most_bytes:
            break
        entry.unlink(missing_ok=True)
        total -= stat.st_size
