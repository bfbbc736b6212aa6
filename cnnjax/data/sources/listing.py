"""Lists a folder of images: those of each split and class, and what is ignored.

Two layouts: `<root>/<split>/<class>/...`, where split folders are recognised by
`SPLITS` in any case, or `<root>/<class>/...`. Images may lie in folders within those of
their class. The order of classes and files is that of torchvision's ImageFolder, once
the letters of names are composed (NFC), which macOS decomposes.
"""

import array
import collections
import dataclasses
import os
import unicodedata
from collections.abc import Sequence

import numpy as np

from cnnjax.data.contents import Ignored
from cnnjax.data.sources.folder_checks import (
    NOT_A_CLASS,
    SPLITS,
    refuse_shared_images,
    refuse_splits_within,
    remarks_on,
    require_sorted,
    unknown_class,
)
from cnnjax.data.sources.paths import Group, Paths
from cnnjax.data.sources.walk import Found, collect, ignore_all, scan, walk
from cnnjax.errors import UserError, printable


@dataclasses.dataclass(frozen=True)
class Listing:
    """The images of a folder and all else that is in it; nothing was opened.

    Args:
      class_names: in the order of the labels.
      paths: pool -> images below the root, in the order of the source.
      labels: pool -> int32, of the same images.
      unsorted: pool -> number of images of a split without folders for classes, which
        are not among `paths`.
      ignored: what was not taken, by reason.
      remarks: sentences on what the user may not have meant.
      in_splits: whether there are folders of splits, with images or without.
    """

    class_names: tuple[str, ...]
    paths: dict[str, Paths]
    labels: dict[str, np.ndarray]
    unsorted: dict[str, int]
    ignored: tuple[Ignored, ...]
    remarks: tuple[str, ...]
    in_splits: bool


def list_images(root: str, found: Found | None = None) -> Listing:
    """Walks a folder once.

    Args:
      root: a folder that is there.
      found: a new one, for who wants to know what was met on the way.

    Raises:
      UserError: no classes or just one; two folders for one split or class; a class
        that the training images do not have; a folder that may not be read; one file
        in two splits.
    """
    found = Found() if found is None else found
    splits = _split_folders(root, found)
    classes: dict[str, dict[str, list[Group]]] = {}  # pool -> class -> images
    unsorted, inodes = {}, {}
    for pool, folder in splits.items():
        loose: list[Group] = []
        found.inodes = inodes[pool] = array.array("Q")
        classes[pool] = _classes(root, folder, found, loose)
        for path in Paths.of(loose):
            found.ignore(NOT_A_CLASS, path)
        if pool == "train":
            require_sorted(root, folder, classes[pool], found)
            refuse_splits_within(root, folder, classes[pool])
        elif loose and not classes[pool]:
            unsorted[pool] = num_images(loose)
    names = sorted(classes["train"])
    label = {name: number for number, name in enumerate(names)}
    for pool in sorted(classes):
        for name in classes[pool]:
            if name not in label:
                raise unknown_class(root, splits[pool], name, names)
    sorted_splits = {p: f for p, f in splits.items() if p not in unsorted}
    taken = {pool: of_pool for pool, of_pool in classes.items() if of_pool}
    paths = {
        p: Paths.of([group for name in sorted(c) for group in c[name]])
        for p, c in taken.items()
    }
    refuse_shared_images(root, paths, inodes)
    return Listing(
        class_names=tuple(printable(name) for name in names),
        paths=paths,
        labels={
            p: np.repeat(
                np.array([label[n] for n in sorted(c)], np.int32),
                [num_images(c[n]) for n in sorted(c)],
            )
            for p, c in taken.items()
        },
        unsorted=unsorted,
        ignored=tuple(
            Ignored(reason, count, tuple(examples))
            for reason, (count, examples) in sorted(found.ignored.items())
        ),
        remarks=tuple(remarks_on(found, sorted_splits, names, taken)),
        in_splits=splits["train"] != "",
    )


def _split_folders(root: str, found: Found) -> dict[str, str]:
    """Pool -> name of its folder, with 'train' first; '' stands for the root itself."""
    names: dict[str, list[str]] = collections.defaultdict(list)
    entries = sorted(scan(root, "", found), key=lambda entry: entry.name)
    found.links_seen |= any(entry.is_symlink() for entry in entries)
    for entry in entries:
        pool = SPLITS.get(entry.name.lower())
        if pool and entry.is_dir():
            names[pool].append(entry.name)
    for pool, of_pool in names.items():
        if len(of_pool) > 1:
            raise UserError(
                f"{printable(root)} has more than one folder for the {pool} split "
                f"({', '.join(map(printable, of_pool))}): keep one"
            )
    if not names:
        return {"train": ""}
    if "train" not in names:
        held = ", ".join(printable(name) for (name,) in names.values())
        raise UserError(
            f"{printable(root)} has a folder for a split ({held}) and none named "
            "train: give the training images such a folder, or rename the others if "
            "they are classes"
        )
    folders = {
        pool: names[pool][0] for pool in sorted(names, key=lambda p: p != "train")
    }
    for entry in entries:
        if entry.name not in folders.values():
            reason = "hidden" if entry.name[0] == "." else "beside the split folders"
            ignore_all(root, entry.name, entry, reason, found)
    return folders


def _classes(
    root: str, folder: str, found: Found, loose: list[Group]
) -> dict[str, list[Group]]:
    """Name of each class (NFC) -> its images; images outside of any go to `loose`."""
    classes: dict[str, list[Group]] = {}
    spelled: dict[str, str] = {}
    for path, above, name in walk(root, folder, (), found, loose):
        images: list[Group] = []
        collect(root, path, above, found, images)
        if not images:
            found.ignore("folder without an image", path)
            continue
        # Macs decompose the letters of names; a class has one name everywhere.
        normal = unicodedata.normalize("NFC", name)
        if normal in spelled:
            raise UserError(
                f"{printable(os.path.join(root, folder))} has two folders for the "
                f"class {printable(normal)}, {spelled[normal]!a} and "
                f"{name!a} (one letter in two encodings): merge them"
            )
        images.sort()  # as torchvision: by folder, then by file
        classes[normal], spelled[normal] = images, name
        found.deep += num_images([group for group in images if group.folder != path])
    return classes


def num_images(groups: Sequence[Group]) -> int:
    return sum(group.number for group in groups)
