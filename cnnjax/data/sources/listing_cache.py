"""Keeps the listing of a large folder between starts, in the user's cache folder.

A listing holds as long as no folder of it has changed: the system notes in a folder
when an entry came, went or was renamed. What is in the files is looked at when they are
read. Where there are links, elsewhere can change what a name stands for, so that such a
folder is listed anew each time.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from cnnjax.cache import cache_folder
from cnnjax.data import array_cache
from cnnjax.data.contents import Ignored
from cnnjax.data.sources.listing import Listing, list_images
from cnnjax.data.sources.paths import Paths
from cnnjax.data.sources.walk import Found
from cnnjax.errors import UserError
from cnnjax.lock import TakenError, locked

KIND = "listings"
# Goes up when a folder is listed differently.
LISTING = 1
MOST_BYTES = 2**29
# A folder that has just changed may change again at what its clock calls the same time.
SETTLED_NS = 2 * 10**9
# How long a process waits for another one that lists the same folder.
WAIT_SECONDS = 60.0
_ARRAYS = ("folders", "times", "described", "labels", "counts", "names")


def listed_once(root: str) -> Listing:
    """As `list_images`, or what it gave before; several processes list one at a time.

    Args:
      root: a folder that is there.

    Raises:
      UserError: as `list_images`.
    """
    real = os.path.realpath(root)
    key = hashlib.sha256(repr((LISTING, real, root)).encode()).hexdigest()[:32]
    known = _kept(root, key)
    if known is not None:
        return known
    folder = cache_folder(KIND)
    with contextlib.ExitStack() as alone:
        if folder is not None and _waited(alone, folder / f"{key}.lock"):
            known = _kept(root, key)
            if known is not None:
                return known
        start, found = time.time_ns(), Found()
        listing = list_images(root, found)
        _keep(key, listing, found, start)
        return listing


def _waited(alone: contextlib.ExitStack, lock: Path) -> bool:
    """Takes the lock, or waits until another process has let go of it.

    Returns:
      Whether another has listed meanwhile.
    """
    waited, end = False, time.monotonic() + WAIT_SECONDS
    while time.monotonic() < end:
        try:
            if not waited:
                alone.enter_context(locked(lock, "", say=lambda line: None))
                return False
            with locked(lock, "", say=lambda line: None):
                return True
        except TakenError:
            waited = True
            time.sleep(0.05)
        except UserError:  # a cache that cannot be written
            return False
    return waited


def _keep(key: str, listing: Listing, found: Found, start: int) -> None:
    """Args: `start` is when listing began, in ns."""
    times = _times(list(found.folders.values()))
    if found.links_seen or times[:, :2].max() > start - SETTLED_NS:
        return
    described: dict[str, Any] = {
        "class_names": listing.class_names,
        "unsorted": listing.unsorted,
        "ignored": [dataclasses.astuple(entry) for entry in listing.ignored],
        "remarks": listing.remarks,
        "in_splits": listing.in_splits,
        "pools": [(pool, p.folders, len(p)) for pool, p in listing.paths.items()],
    }
    array_cache.keep(
        KIND,
        key,
        MOST_BYTES,
        folders=_bytes(list(found.folders)),
        times=times,
        described=_bytes(described),
        labels=np.concatenate(list(listing.labels.values())),
        counts=np.concatenate([paths.counts for paths in listing.paths.values()]),
        names=np.frombuffer(
            b"".join(paths.names for paths in listing.paths.values()), np.uint8
        ),
    )


def _kept(root: str, key: str) -> Listing | None:
    found = array_cache.find(KIND, key, _ARRAYS)
    if found is None:
        return None
    folders, times, described, labels, counts, names = found
    try:
        now = [os.stat(os.path.join(root, name)) for name in _from(folders)]
    except OSError:
        return None
    return (
        _listing(described, labels, counts, names)
        if (np.array_equal(_times(now), times))
        else None
    )


def _listing(
    described: np.ndarray, labels: np.ndarray, counts: np.ndarray, names: np.ndarray
) -> Listing:
    entry = _from(described)
    ends = np.flatnonzero(names == 0) + 1
    paths, of_pool, image, folder, start = {}, {}, 0, 0, 0
    for pool, folders, num in entry["pools"]:
        stop = int(ends[image + num - 1])
        some = counts[folder : folder + len(folders)]
        paths[pool] = Paths(folders, some, names[start:stop].tobytes())
        of_pool[pool] = labels[image : image + num]
        image, folder, start = image + num, folder + len(folders), stop
    return Listing(
        class_names=tuple(entry["class_names"]),
        paths=paths,
        labels=of_pool,
        unsorted=entry["unsorted"],
        ignored=tuple(Ignored(r, n, tuple(e)) for r, n, e in entry["ignored"]),
        remarks=tuple(entry["remarks"]),
        in_splits=entry["in_splits"],
    )


def _times(stats: list[os.stat_result]) -> np.ndarray:
    """int64 [folders, 4]: when it changed, in ns, and which folder it is."""
    rows = [
        (s.st_mtime_ns, s.st_ctime_ns, s.st_dev % 2**63, s.st_ino % 2**63)
        for s in stats
    ]
    return np.array(rows, np.int64)


def _bytes(value: Any) -> np.ndarray:
    return np.frombuffer(json.dumps(value).encode(), np.uint8)


def _from(stored: np.ndarray) -> Any:
    return json.loads(stored.tobytes())
