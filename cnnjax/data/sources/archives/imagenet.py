"""ImageNet of ILSVRC 2012 as people have it, in one order of images and classes.

- The official archives: `ILSVRC2012_img_train.tar` (an archive a class),
  `ILSVRC2012_img_val.tar` (flat) and the development kit with its labels.
- Kaggle's folders: `ILSVRC/Data/CLS-LOC/{train/<class>,val}` and LOC_val_solution.csv.
- `{train,val}/<class>`, as torchvision and many scripts leave it.

Classes are WordNet ids, sorted; images are in the order of their class and their name.
The 50,000 validation images are the test split: the literature compares errors on them.
TFDS's prepared form is the set `tfds:imagenet2012`, in splits as TFDS has them.
"""

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnnjax.data.contents import Ignored
from cnnjax.data.request import Request
from cnnjax.data.sources.archives import imagenet_labels as annotations
from cnnjax.data.sources.archives.imagenet_labels import Annotations
from cnnjax.data.sources.archives.tar import SUFFIX, Members, members
from cnnjax.data.sources.encoded import decoding, in_archives, in_files
from cnnjax.data.sources.folder_checks import NOT_A_CLASS, SPLITS
from cnnjax.data.sources.listing_cache import listed_once
from cnnjax.data.sources.paths import Group, Paths
from cnnjax.data.sources.source import (
    Encoded,
    MissingData,
    Pool,
    Source,
    check_directory,
    data_folder,
)
from cnnjax.data.sources.walk import Found, is_image, scan
from cnnjax.errors import UserError, printable

# Images of the published set.
COUNTS = {"train": 1_281_167, "test": 50_000}
CLASSES = 1000
TRAIN, VALIDATION = "ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"
KAGGLE = os.path.join("ILSVRC", "Data", "CLS-LOC")


def open_source(request: Request) -> Source:
    """Finds the set in whatever form it lies there; one image is decoded.

    Args:
      request: `data_dir` is the folder that holds the archives or the folders.

    Raises:
      UserError: none of the known forms; validation images without labels.
    """
    if not request.data_dir:
        raise MissingData(
            f"config.data.data_dir is empty: give the folder that holds {TRAIN}, or "
            f"{KAGGLE}, or train and val with a folder a class"
        )
    folder = data_folder(request.data_dir)
    check_directory(folder)
    root = str(folder)
    if os.path.lexists(os.path.join(root, TRAIN)):
        return _of_archives(root, request)
    return _of_folders(root, request)


def _of_archives(root: str, request: Request) -> Source:
    train = members(root, [TRAIN], within=True)
    inner = [folder.split("\0")[-1] for folder in train.paths.folders]
    classes = [os.path.basename(name).removesuffix(SUFFIX) for name in inner]
    if TRAIN in inner or len(set(classes)) < max(2, len(classes)):
        raise UserError(
            f"{printable(os.path.join(root, TRAIN))} is to have one archive for each "
            f"class (such as n01440764.tar), and {len(set(classes)):,} are there with "
            "images: give the official archive (config.data.data_dir)"
        )
    names, ignored = sorted(classes), list(train.ignored)
    place = {name: number for number, name in enumerate(names)}
    of_folder = np.array([place[name] for name in classes], np.int32)
    of_member = np.repeat(of_folder, train.paths.counts)
    numbers = _images(train, ignored)
    chosen = {"train": (train, _sorted(train, numbers, of_member))}
    labels = {"train": of_member[chosen["train"][1]]}
    noted, archives = annotations.find([root]), [TRAIN]
    if os.path.lexists(os.path.join(root, VALIDATION)) and request.num_test >= 0:
        flat = members(root, [VALIDATION])
        numbers = _images(flat, ignored)
        of_member = np.full(len(flat.paths), -1, np.int32)
        of_member[numbers] = _labels(flat.paths, numbers, noted, place, root)
        chosen["test"] = (flat, _sorted(flat, numbers, of_member))
        labels["test"] = of_member[chosen["test"][1]]
        archives.append(VALIDATION)
    return _source(
        root,
        request,
        names,
        noted,
        in_archives(chosen),
        labels,
        files=lambda: archives,
        ignored=tuple(ignored),
        mark=_mark(
            *(held.paths.names for held, _ in chosen.values()),
            # Corrected labels of validation images may be in another order alone.
            *(order.astype("<i8").tobytes() for _, order in chosen.values()),
            *(of_pool.tobytes() for of_pool in labels.values()),
        ),
    )


def _of_folders(root: str, request: Request) -> Source:
    kaggle = os.path.join(root, KAGGLE)
    images = kaggle if os.path.isdir(kaggle) else root
    listing = listed_once(images)
    noted = annotations.find([root, images, *map(str, Path(images).parents[:3])])
    place = {name: number for number, name in enumerate(listing.class_names)}
    paths: dict[str, Sequence[str]] = _as_test(listing.paths)
    labels, files = _as_test(listing.labels), list(listing.paths.values())
    remarks, unclassed = list(listing.remarks), 0
    orders: list[np.ndarray] = []
    for pool, number in listing.unsorted.items():
        if pool != "validation" or request.num_test < 0:
            remarks.append(f"{number:,} {pool} images without a class are not used")
            continue
        flat = _flat(images)
        found = _labels(flat, np.arange(len(flat)), noted, place, images)
        order = np.argsort(found, kind="stable")  # the names are sorted
        paths["test"], labels["test"] = [flat[i] for i in order], found[order]
        files.append(flat)
        orders.append(order)
        unclassed += len(flat)
    return _source(
        images,
        request,
        list(listing.class_names),
        noted,
        in_files(images, paths),
        labels,
        files=lambda: Paths.joined(files),
        ignored=_without(listing.ignored, unclassed),
        remarks=tuple(remarks),
        mark=_mark(
            *(of_pool.tobytes() for of_pool in labels.values()),
            *(order.astype("<i8").tobytes() for order in orders),
        ),
    )


def _as_test(pools: Mapping[str, Any]) -> dict[str, Any]:
    """With the validation images as test images, where there are no others."""
    other = {"validation": "test"} if "test" not in pools else {}
    return {other.get(pool, pool): content for pool, content in pools.items()}


def _flat(root: str) -> Paths:
    """Images that lie in the folder of the validation split, below the root."""
    found = Found()
    (folder,) = [
        entry.name
        for entry in scan(root, "", found)
        if SPLITS.get(entry.name.lower()) == "validation" and entry.is_dir()
    ]
    entries = scan(root, folder, found)
    names = [e.name for e in entries if is_image(e.name) and e.is_file()]
    return Paths.of([Group.of(folder, sorted(names))])


def _without(ignored: tuple[Ignored, ...], taken: int) -> tuple[Ignored, ...]:
    """Less the images in no folder of a class that were taken all the same."""
    return tuple(
        dataclasses.replace(entry, count=entry.count - taken * (r == NOT_A_CLASS))
        for entry in ignored
        if (r := entry.reason) != NOT_A_CLASS or entry.count > taken
    )


def _images(held: Members, ignored: list[Ignored]) -> np.ndarray:
    """Numbers of the images in archives; the rest is counted."""
    is_one = np.fromiter(map(is_image, held.paths), bool, len(held.paths))
    if others := int((~is_one).sum()):
        ignored.append(Ignored("file of an archive that is no image", others))
    return np.flatnonzero(is_one)


def _sorted(held: Members, numbers: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Numbers of images in the order of their class and their name."""
    names = np.array([os.fsencode(os.path.basename(path)) for path in held.paths])
    return numbers[np.lexsort((names[numbers], labels[numbers]))]


def _labels(
    paths: Sequence[str],
    numbers: np.ndarray,
    noted: Annotations,
    place: Mapping[str, int],
    where: str,
) -> np.ndarray:
    """Of validation images, int32; `place` has the number of each class."""
    names = [os.path.basename(paths[number]) for number in numbers]
    wnids = noted.labels(names, where)
    for name, wnid in zip(names, wnids, strict=True):
        if wnid not in place:
            raise UserError(
                f"{printable(name)} in {printable(where)} is of class "
                f"{printable(wnid)}, of which there is no training image: add them, or "
                "do without validation images by config.data.num_test=-1"
            )
    return np.array([place[wnid] for wnid in wnids], np.int32)


def _mark(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]


def _source(
    root: str,
    request: Request,
    wnids: list[str],
    noted: Annotations,
    encoded: Encoded,
    labels: dict[str, np.ndarray],
    **more: Any,
) -> Source:
    shape, read = decoding(encoded, labels, request)
    counts = _other_counts(labels, len(wnids))
    more["remarks"] = (*more.get("remarks", ()), *([counts] if counts else []))
    names = (f"{wnid} {noted.words.get(wnid, '')}".strip() for wnid in wnids)
    return Source(
        {pool: Pool(len(of_pool), of_pool) for pool, of_pool in labels.items()},
        tuple(map(printable, names)),
        shape,
        read,
        note=counts,
        root=Path(root),
        certain=bool(request.channels) or shape[2] == 3,
        in_splits=True,
        encoded=encoded,
        **more,
    )


def _other_counts(labels: dict[str, np.ndarray], num_classes: int) -> str:
    """A sentence where this is not all of the published set."""
    held = {"classes": num_classes} | {f"{p} images": len(n) for p, n in labels.items()}
    whole = {"classes": CLASSES} | {f"{pool} images": n for pool, n in COUNTS.items()}
    other = [
        f"{held[what]:,} {what} and not {whole[what]:,}"
        for what in whole
        if what in held and held[what] != whole[what]
    ]
    return f"imagenet: this set has {', '.join(other)}" if other else ""
