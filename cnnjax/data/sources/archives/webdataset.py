"""Shards of WebDataset: tar archives of `key.jpg` and `key.cls`.

The files of one example share their key, which is the name up to the first dot behind
the last slash; `.cls` has the number of the class as text. An archive belongs to the
split that its name has as a word, as `imagenet-val-000.tar`, or that its folder is; one
without is of the training split. Names of classes are the lines of `classes.txt`.

Source: github.com/webdataset/webdataset, README ("The WebDataset Format").
"""

import collections
import hashlib
import os
import re
from pathlib import Path

import numpy as np

from cnnjax.data import array_cache
from cnnjax.data.contents import Ignored
from cnnjax.data.decoded_cache import key_of
from cnnjax.data.request import Request
from cnnjax.data.sources.archives.tar import SUFFIX, Members, members
from cnnjax.data.sources.encoded import decoding, in_archives
from cnnjax.data.sources.folder_checks import SPLITS
from cnnjax.data.sources.source import (
    MissingData,
    Pool,
    Source,
    check_directory,
    data_folder,
    reading,
)
from cnnjax.data.sources.walk import SUFFIXES
from cnnjax.errors import UserError, printable
from cnnjax.files import read_regular

KIND = "labels"
MOST_BYTES = 2**28
MOST_TEXT = 20  # bytes of a file .cls
MOST_CLASSES = 10**6
NAMES, MOST_NAMES = "classes.txt", 2**24
LABEL = "cls"


def open_source(request: Request) -> Source:
    """Lists the shards; all labels are read, once, and one image.

    Args:
      request: `data_dir` is the folder with the shards; `image_size` is needed where
        sizes differ.

    Raises:
      UserError: no shards, damaged ones, or examples without an image and a class.
    """
    if not request.data_dir:
        raise MissingData(
            "config.data.data_dir is empty: give the folder that holds the shards"
        )
    folder = data_folder(request.data_dir)
    check_directory(folder)
    root = str(folder)
    archives = _archives(root)
    listed = {pool: members(root, names) for pool, names in archives.items()}
    chosen, labels, ignored = {}, {}, []
    for pool, of_pool in listed.items():
        images, keys, left = _examples(of_pool)
        chosen[pool] = (of_pool, images)
        labels[pool] = _labels(root, archives[pool], of_pool, keys)
        ignored += [*of_pool.ignored, *left]
    encoded = in_archives(chosen)
    shape, read = decoding(encoded, labels, request)
    most = max(int(of_pool.max()) for of_pool in labels.values()) + 1
    described = [NAMES] if os.path.lexists(os.path.join(root, NAMES)) else []
    return Source(
        {pool: Pool(len(of_pool), of_pool) for pool, of_pool in labels.items()},
        _class_names(root, most) if described else tuple(map(str, range(most))),
        shape,
        read,
        root=Path(root),
        files=lambda: [*described, *(name for of in archives.values() for name in of)],
        ignored=tuple(ignored),
        certain=bool(request.channels) or shape[2] == 3,
        in_splits=len(archives) > 1,
        encoded=encoded,
        mark=hashlib.sha256(
            b"".join(
                [
                    *(of.paths.names for of in listed.values()),
                    *(images.astype("<i8").tobytes() for _, images in chosen.values()),
                    *(of_pool.astype("<i8").tobytes() for of_pool in labels.values()),
                ]
            )
        ).hexdigest(),
    )


def _archives(root: str) -> dict[str, list[str]]:
    """Pool -> names of its archives below the root."""
    found: dict[str, list[str]] = collections.defaultdict(list)
    with reading(root):
        # A shard that is no file, as a link that leads nowhere, is refused by name.
        names = [
            entry.name
            for entry in os.scandir(root)
            if entry.is_file() or entry.name.endswith(SUFFIX)
        ]
        for entry in os.scandir(root):
            if entry.is_dir() and entry.name.lower() in SPLITS:
                inner = os.listdir(os.path.join(root, entry.name))
                names += [f"{entry.name}/{name}" for name in inner]
    packed = [name for name in names if name.lower().endswith((".tar.gz", ".tgz"))]
    for name in sorted(name for name in names if name.endswith(SUFFIX)):
        words = re.split(r"[^a-z]+", name.lower())
        pools = {SPLITS[word] for word in words if word in SPLITS}
        if len(pools) > 1:
            raise UserError(
                f"{printable(os.path.join(root, name))} names more than one split "
                f"({', '.join(sorted(pools))}): rename it"
            )
        found[next(iter(pools), "train")].append(name)
    if "train" not in found:
        also = f", but {len(packed):,} compressed ones: gunzip them" if packed else ""
        raise UserError(
            f"{printable(root)} has no shard *.tar of training images{also}; give the "
            "folder that holds them (config.data.data_dir)"
        )
    return dict(found)


def _examples(of_pool: Members) -> tuple[np.ndarray, np.ndarray, list[Ignored]]:
    """Numbers of the images and of the files of their classes; what is left over."""
    images: dict[str, int] = {}
    classes: dict[str, int] = {}
    others: collections.Counter[str] = collections.Counter()
    for number, path in enumerate(of_pool.paths):
        folder, slash, name = path.rpartition("/")
        stem, _, suffix = name.partition(".")
        key, kind = folder + slash + stem, suffix.lower()
        into = classes if kind == LABEL else images if f".{kind}" in SUFFIXES else None
        if into is None:
            others[f"file .{printable(kind)} of an example"] += 1
        elif key in into:
            raise UserError(
                f"{of_pool.name(number)} is the second {kind} file of its example: "
                "give each example a key of its own"
            )
        else:
            into[key] = number
    lone = len(images.keys() - classes.keys())
    if lone:
        others["image without a file .cls"] += lone
    if empty := len(classes.keys() - images.keys()):
        others["file .cls without an image"] += empty
    both = [key for key in images if key in classes]
    if not both:
        raise UserError(
            f"{printable(of_pool.root)} has shards without an example of an image and "
            "a class (key.jpg and key.cls): give other shards (config.data.data_dir)"
        )
    left = [Ignored(reason, count) for reason, count in sorted(others.items())]
    return (
        np.array([images[key] for key in both], np.int64),
        np.array([classes[key] for key in both], np.int64),
        left,
    )


def _labels(
    root: str, archives: list[str], of_pool: Members, numbers: np.ndarray
) -> np.ndarray:
    """What the files of the classes say, int64, or what the cache has of them."""
    with reading(root):
        paths = [os.path.join(root, name) for name in archives]
        key = key_of(paths, (KIND, hashlib.sha256(numbers.data).hexdigest()))
    found = array_cache.find(KIND, key, ("labels",))
    if found is not None:
        return found[0]
    labels = np.array([_label(of_pool, number) for number in numbers], np.int64)
    array_cache.keep(KIND, key, MOST_BYTES, labels=labels)
    return labels


def _label(of_pool: Members, number: int) -> int:
    text = b"" if of_pool.sizes[number] > MOST_TEXT else of_pool.content(number)
    if not text.strip().isdigit() or int(text) >= MOST_CLASSES:
        raise UserError(
            f"{of_pool.name(number)} has no number of a class, 0 to "
            f"{MOST_CLASSES - 1:,}: correct it"
        )
    return int(text)


def _class_names(root: str, least: int) -> tuple[str, ...]:
    path = os.path.join(root, NAMES)
    with reading(path):
        text = read_regular(path, MOST_NAMES).decode("utf-8", "backslashreplace")
    names = tuple(printable(line.strip()) for line in text.splitlines() if line.strip())
    if len(names) < least or len(set(names)) < len(names):
        raise UserError(
            f"{printable(path)} has {len(set(names)):,} different names, and the "
            f"shards have classes 0 to {least - 1:,}: one line for each"
        )
    return names
