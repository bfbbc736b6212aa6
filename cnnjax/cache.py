"""The user's cache folder: what can be computed again, kept for a faster start."""

import contextlib
import os
import stat
from pathlib import Path
from re import Pattern

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


def remove_oldest(folder: Path, ours: Pattern[str], most_bytes: int) -> None:
    """Removes the oldest entries of a cache until the rest is small enough.

    Only files that bear a name of ours, directly in the folder, count and are removed:
    a person may have chosen a folder that holds other things as well.

    Args:
      folder: of one kind of entries.
      ours: fits the names of entries as a whole. Several names of one file count once,
        and go together; whatever is no regular file stays.
      most_bytes: the sum of the sizes that may stay.
    """
    files: dict[tuple[int, int], tuple[os.stat_result, list[Path]]] = {}
    for entry in folder.iterdir():
        if not ours.fullmatch(entry.name):
            continue
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
