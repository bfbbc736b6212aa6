"""Fingerprints of data sets: runs on different data must not be mixed."""

import hashlib
import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from cnnjax.data.images import DECODING
from cnnjax.data.request import Request
from cnnjax.data.sources.paths import Paths
from cnnjax.data.sources.source import Chosen, Source
from cnnjax.data.split import Split
from cnnjax.files import read_regular

MOST_METADATA = 2**26  # bytes of a file *.json of a data set


def fingerprint(splits: Iterable[Split]) -> str:
    """16 hex digits of the SHA-256 over shape, images and labels of the splits."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(repr(split.images.shape).encode())
        digest.update(np.ascontiguousarray(split.images).data)
        digest.update(np.ascontiguousarray(split.labels, "<i4").data)
    return digest.hexdigest()[:16]


def streamed_marks(
    source: Source, request: Request, chosen: Chosen, sample: np.ndarray | None = None
) -> tuple[str, str]:
    """What tells a streamed set from others, without decoding it.

    The first covers the names below the set's folder and the sizes of its files, the
    content of its own metadata (files *.json), how images are cropped, the names of the
    classes, labels that no name tells (`Source.mark`), which images make up each
    split, and the sample of them that standardises all, if there is one. So it does not
    see a file that was changed to another of equal size, and it is not the fingerprint
    that the same images have in memory.

    The second covers what the system says of these files where they are: a copy may be
    given the time of what it replaces (`cp -p`); the time of the change itself, and the
    number of the file, cannot be chosen.

    Returns:
      (fingerprint, 16 hex digits of a SHA-256; stamp, the same).
    """
    digest = hashlib.sha256()
    if source.root is None:  # images that follow from these alone
        digest.update(repr((request.name, request.split_seed)).encode())
    else:
        digest.update(f"decoding {DECODING}\n".encode())
    what = ("streamed", source.class_names, source.image_shape, request.image_size)
    digest.update(repr(what).encode())
    digest.update((source.mark + request.geometry.mark).encode())
    root = os.path.abspath(source.root or "")
    stamp = hashlib.sha256(os.fsencode(root))
    # Once, of a million files, and each folder looked up once.
    for folder, names in _in_order(source.files()):
        stats = _stats(os.path.join(root, folder), names)
        start = f"{folder}/" if folder else ""
        for some in _ending_in_json(names):
            lines = (f"{start}{names[i]} {stats[i].st_size}\n" for i in some)
            digest.update(os.fsencode("".join(lines)))
            if names[some[-1]].endswith(".json"):
                path = os.path.join(root, folder, names[some[-1]])
                digest.update(read_regular(path, MOST_METADATA))
        times = (
            f"\n{start}{name} {s.st_size} {s.st_mtime_ns} {s.st_ctime_ns} {s.st_ino}"
            for name, s in zip(names, stats, strict=True)
        )
        stamp.update(os.fsencode("".join(times)))
    if request.label_noise:
        noise = "train", request.label_noise, request.split_seed
        digest.update(repr(noise).encode())
    for split in ("train", "validation", "test"):
        pool, indices = chosen[split]
        digest.update(f"{split} {pool} {len(indices)}\n".encode())
        digest.update(indices.astype("<i8").data)
    if sample is not None:
        digest.update(b"measured")
        digest.update(sample.astype("<i8").data)
    return digest.hexdigest()[:16], stamp.hexdigest()[:16]


def mark_of_all(source: Source, request: Request) -> str:
    """16 hex digits that tell all pools of a source of files from those of others.

    As the first of `streamed_marks`; labels that only records tell are in it as well.
    """
    pools = sorted(source.pools.items())
    every = {name: (name, np.arange(pool.size)) for name, pool in pools}
    none = "train", np.arange(0)
    splits = ("train", "validation", "test")
    mark, _ = streamed_marks(source, request, {s: every.get(s, none) for s in splits})
    digest = hashlib.sha256(mark.encode())
    for _, pool in pools:
        labels: Any = pool.labels  # not None, in a source
        digest.update(np.ascontiguousarray(labels, "<i4").data)
    return digest.hexdigest()[:16]


def _in_order(files: Iterable[str]) -> Iterator[tuple[str, list[str]]]:
    """(folder, names) of files in the order of their paths."""
    if isinstance(files, Paths):
        return files.in_order()
    return ((folder, [name]) for folder, name in map(os.path.split, sorted(files)))


def _ending_in_json(names: list[str]) -> Iterator[range]:
    """Stretches of names, each up to a file *.json or to the end."""
    start = 0
    for place, name in enumerate(names):
        if name.endswith(".json") or place == len(names) - 1:
            yield range(start, place + 1)
            start = place + 1


def _stats(folder: str, names: list[str]) -> list[os.stat_result]:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return [os.stat(name, dir_fd=handle) for name in names]
    except OSError as error:
        error.filename = os.path.join(folder, str(error.filename))
        raise
    finally:
        os.close(handle)
