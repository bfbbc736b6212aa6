"""Fingerprints of data sets: runs on different data must not be mixed."""

import hashlib
import os
from collections.abc import Iterable

import numpy as np

from cnnjax.data.images import DECODING
from cnnjax.data.request import Request
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


def streamed_fingerprint(source: Source, request: Request, chosen: Chosen) -> str:
    """16 hex digits of a SHA-256 that tell a set from others without decoding it.

    Covers the names below the set's folder and the sizes of its files, the content of
    its own metadata (files *.json), how images are cropped, the names of the classes,
    and which images make up each split. So it does not see a file that was changed to
    another of equal size, and it is not the fingerprint that the same images have in
    memory.
    """
    digest = hashlib.sha256()
    if source.root is None:  # images that follow from these alone
        digest.update(repr((request.name, request.split_seed)).encode())
    else:
        digest.update(f"decoding {DECODING}\n".encode())
    what = ("streamed", source.class_names, source.image_shape, request.image_size)
    digest.update(repr(what).encode())
    if request.label_noise:
        digest.update(repr((request.label_noise, request.split_seed)).encode())
    for name in sorted(source.files()):
        path = os.path.join(source.root or "", name)
        digest.update(os.fsencode(f"{name} {os.stat(path).st_size}\n"))
        if name.endswith(".json"):
            digest.update(read_regular(path, MOST_METADATA))
    for split in ("train", "validation", "test"):
        pool, indices = chosen[split]
        digest.update(f"{split} {pool} {len(indices)}\n".encode())
        digest.update(indices.astype("<i8").data)
    return digest.hexdigest()[:16]
