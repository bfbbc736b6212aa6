"""Reasons to refuse a folder of images, and remarks on it for the user."""

import array
import collections
import itertools
import os
from collections.abc import Iterator

import numpy as np

from cnnjax.data.contents import some
from cnnjax.data.sources.paths import Group, Paths
from cnnjax.data.sources.source import reading
from cnnjax.data.sources.walk import Found
from cnnjax.errors import MOST_LISTED, UserError, near_matches, printable

# Names of the folders of a split, in lower case -> pool.
SPLITS = {
    "train": "train",
    "training": "train",
    "validation": "validation",
    "valid": "validation",
    "val": "validation",
    "test": "test",
    "testing": "test",
}
# Suffixes of files that may be animated or have pages.
SEVERAL_FRAMES = (".gif", ".webp", ".tif", ".tiff")
# What file systems say in a list of files whose numbers they do not know.
UNKNOWN_INODES = (0, 2**32 - 1)
NOT_A_CLASS = "image outside the folder of a class"


def require_sorted(
    root: str, folder: str, classes: dict[str, list[Group]], found: Found
) -> None:
    """Refuses training images that are not sorted into at least two classes."""
    if len(classes) >= 2:
        return
    where = printable(os.path.join(root, folder).rstrip("/"))
    loose = found.ignored.get(NOT_A_CLASS, (0,))[0]
    also = f"; {loose:,} images lie in it directly" if loose else ""
    if folder and loose:
        also += (
            f" (if {printable(folder)} is a class, move all classes into one folder)"
        )
    others = [f"{c[0]:,} x {r}" for r, c in found.ignored.items() if r != NOT_A_CLASS]
    if others:
        also += f"; ignored: {', '.join(others[:3])}"
    above = {_above_split(group.folder) for c in classes.values() for group in c}
    if len(above - {""}) == 1 and not folder:
        inner = printable(os.path.join(root, *above))
        also += f"; there are folders of splits in {inner}: perhaps that is the set"
    raise UserError(
        f"{where} has {len(classes)} subfolder{'s' * (len(classes) != 1)} with images: "
        "give a folder (config.data.data_dir) with one subfolder for each of at least "
        f"2 classes{also}"
    )


def _above_split(folder: str) -> str:
    """The folder in which that of a split lies, for images in one; else ''."""
    folders = folder.split("/")
    for depth, name in enumerate(folders):
        if name.lower() in SPLITS:
            return "/".join(folders[:depth])
    return ""


def refuse_splits_within(
    root: str, folder: str, classes: dict[str, list[Group]]
) -> None:
    """Refuses `<class>/<split>/...`, which would train on test images.

    A few such folders are taken for what else their name may mean.
    """
    depth = 2 if folder else 1
    found = []
    for images in classes.values():
        parts = (group.folder.split("/") for group in images)
        below = {"/".join(p[: depth + 1]) for p in parts if len(p) > depth}
        pools = {path: SPLITS.get(os.path.basename(path).lower()) for path in below}
        found += sorted(p for p in below if pools[p] in ("validation", "test"))[:1]
    if 2 * len(found) > len(classes):
        where = printable(os.path.join(root, folder).rstrip("/"))
        raise UserError(
            f"{where} has folders of splits within those of its classes "
            f"({some(found, 3)}): put the splits outside, as test/<class>, or give one "
            "of these classes as config.data.data_dir if it is a set of its own, or "
            "rename the folders if they are no splits"
        )


def refuse_shared_images(
    root: str, paths: dict[str, Paths], inodes: dict[str, array.array]
) -> None:
    """Refuses one file in two splits, by whatever links.

    Args:
      root: of the set.
      paths: pool -> its images below the root.
      inodes: pool -> those of its images, of whatever device: only where two splits
        have one in common, all images are looked at.
    """
    for one, other in itertools.combinations(paths, 2):
        common = np.intersect1d(inodes[one], inodes[other])
        if not np.setdiff1d(common, UNKNOWN_INODES).size:
            continue
        files = {_file(root, path): path for path in paths[one]}
        both = [p for p in paths[other] if _file(root, p) in files]
        if both:
            same = files[_file(root, both[0])]
            raise UserError(
                f"{printable(root)} has {len(both):,} images that are in {one} and in "
                f"{other}, over links to one file, such as {printable(same)} and "
                f"{printable(both[0])}: give each split images of its own"
            )


def _file(root: str, path: str) -> tuple[int, int]:
    """What two names of one file have in common."""
    with reading(path):
        found = os.stat(os.path.join(root, path))
    return found.st_dev, found.st_ino


def unknown_class(root: str, folder: str, name: str, names: list[str]) -> UserError:
    close = near_matches(name, names)
    known = ", ".join(map(printable, names))
    if len(names) > MOST_LISTED:
        known = f"{len(names):,} others"
    hint = f"; did you mean {' or '.join(map(printable, close))}?" if close else ""
    return UserError(
        f"{printable(os.path.join(root, folder, name))} is a class that the training "
        f"folder does not have: it has {known}{hint}"
    )


def remarks_on(
    found: Found,
    splits: dict[str, str],
    names: list[str],
    classes: dict[str, dict[str, list[Group]]],
) -> Iterator[str]:
    for pool, folder in splits.items():
        if pool in classes and folder not in ("", pool):
            yield f"the folder {printable(folder)} is the {pool} split"
        elif pool not in classes:
            yield f"the folder {printable(folder)} has no class with images"
    if found.deep:
        yield (
            f"{found.deep:,} images lie in folders within the folder of their class, "
            "and are taken as images of that class"
        )
    if all(name.isdecimal() for name in names) and names != sorted(names, key=int):
        yield (
            "the names of the classes are numbers, in the order of text: "
            f"{some(names, 4)}"
        )
    depth = 1 if splits["train"] else 0
    stored = [classes["train"][name][0].folder.split("/")[depth] for name in names]
    if stored != sorted(stored):
        yield (
            "the order of the classes is that of their names with composed letters "
            f"(NFC), and not that of torchvision for this folder: {some(names, 4)}"
        )
    cases = collections.Counter(name.casefold() for name in names)
    alike = [name for name in names if cases[name.casefold()] > 1]
    if alike:
        yield f"classes whose names differ in case alone: {some(alike, 4)}"
    for pool in classes:
        absent = [name for name in names if name not in classes[pool]]
        if absent:
            yield (
                f"the {pool} images have none of {len(absent):,} of {len(names):,} "
                f"classes: {some(absent, 4)}"
            )
    groups = (group for c in classes.values() for of_c in c.values() for group in of_c)
    ends = {end.lower() for group in groups for end in group.ends}
    several = [s for s in SEVERAL_FRAMES if any(end.endswith(s) for end in ends)]
    if several:
        yield (
            "of images with several frames or pages, which may be among those of "
            f"{', '.join(several)}, the first is taken"
        )
