"""What lies in a folder of images: taken per split and class, or ignored, and why.

Two layouts: `<root>/<split>/<class>/...`, where split folders are recognised by
`SPLITS` in any case, or `<root>/<class>/...`. Images may lie in folders within those of
their class. The order of classes and files is that of torchvision's ImageFolder, once
the letters of names are composed (NFC), which Macs take apart.
"""

import collections
import dataclasses
import os
import unicodedata
from collections.abc import Iterator

import numpy as np

from cnnjax.data.contents import Ignored, some
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
PHOTOGRAPHS = (".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff")
SUFFIXES = frozenset(
    (*PHOTOGRAPHS, ".png", ".bmp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm")
)
# What operating systems and file servers leave in folders, beside hidden files.
LEFT_BEHIND = frozenset(("__macosx", "thumbs.db", "desktop.ini", "@eadir"))
MOST_EXAMPLES = 3  # kept of what was ignored for one reason
NOT_A_CLASS = "image outside the folder of a class"


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
      remarks: sentences on what a person might have meant otherwise.
      in_splits: whether there are folders of splits, with images or without.
    """

    class_names: tuple[str, ...]
    paths: dict[str, list[str]]
    labels: dict[str, np.ndarray]
    unsorted: dict[str, int]
    ignored: tuple[Ignored, ...]
    remarks: tuple[str, ...]
    in_splits: bool


class _Found:
    """Counts while a folder is walked."""

    def __init__(self) -> None:
        self.ignored: dict[str, list] = collections.defaultdict(lambda: [0, []])
        self.deep = 0  # images in folders within the folder of their class

    def ignore(self, reason: str, path: str) -> None:
        entry = self.ignored[reason]
        entry[0] += 1
        if len(entry[1]) < MOST_EXAMPLES:
            entry[1].append(printable(path))


def list_images(root: str) -> Listing:
    """Walks a folder once.

    Args:
      root: a folder that is there.

    Raises:
      UserError: no classes or just one; two folders for one split or class; a class
        that the training images do not have; a folder that may not be read.
    """
    found = _Found()
    splits = _split_folders(root, found)
    classes: dict[str, dict[str, list[str]]] = {}  # pool -> class -> paths
    unsorted = {}
    for pool, folder in splits.items():
        loose: list[str] = []
        classes[pool] = _classes(root, folder, found, loose)
        for path in loose:
            found.ignore(NOT_A_CLASS, path)
        if pool == "train":
            _require_sorted(root, folder, classes[pool], found)
            _refuse_splits_within(root, folder, classes[pool])
        elif loose and not classes[pool]:
            unsorted[pool] = len(loose)
    names = sorted(classes["train"])
    label = {name: number for number, name in enumerate(names)}
    for pool in sorted(classes):
        for name in classes[pool]:
            if name not in label:
                raise _unknown_class(root, splits[pool], name, names)
    sorted_splits = {p: f for p, f in splits.items() if p not in unsorted}
    taken = {pool: of_pool for pool, of_pool in classes.items() if of_pool}
    return Listing(
        class_names=tuple(printable(name) for name in names),
        paths={p: [f for n in sorted(c) for f in c[n]] for p, c in taken.items()},
        labels={
            p: np.repeat(
                np.array([label[n] for n in sorted(c)], np.int32),
                [len(c[n]) for n in sorted(c)],
            )
            for p, c in taken.items()
        },
        unsorted=unsorted,
        ignored=tuple(
            Ignored(reason, count, tuple(examples))
            for reason, (count, examples) in sorted(found.ignored.items())
        ),
        remarks=tuple(_remarks(found, sorted_splits, names, taken)),
        in_splits=splits["train"] != "",
    )


# -- splits and classes ----------------------------------------------------------------


def _split_folders(root: str, found: _Found) -> dict[str, str]:
    """Pool -> name of its folder, with 'train' first; '' stands for the root itself."""
    names: dict[str, list[str]] = collections.defaultdict(list)
    entries = _scan(root)
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
            _ignore_all(root, entry.name, entry, reason, found)
    return folders


def _classes(
    root: str, folder: str, found: _Found, loose: list[str]
) -> dict[str, list[str]]:
    """Name of each class (NFC) -> its images; those outside of any come to `loose`."""
    classes: dict[str, list[str]] = {}
    spelled: dict[str, str] = {}
    for path, above, name in _walk(root, folder, (), found, loose):
        images: list[str] = []
        _collect(root, path, above, found, images)
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
        # As torchvision: by folder, then by file.
        images.sort(key=lambda image: image.rpartition("/"))
        classes[normal], spelled[normal] = images, name
        depth = path.count("/") + 1
        found.deep += sum(image.count("/") > depth for image in images)
    return classes


def _collect(
    root: str, folder: str, above: tuple[str, ...], found: _Found, images: list[str]
) -> None:
    """Adds all images below a folder, in no order."""
    for path, links, _ in _walk(root, folder, above, found, images):
        _collect(root, path, links, found, images)


def _walk(
    root: str, folder: str, above: tuple[str, ...], found: _Found, images: list[str]
) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Sorts the content of one folder: images, folders (which it yields), and the rest.

    Args:
      root: of the set.
      folder: below the root.
      above: real folders from which links led here.
      found: counts what is ignored.
      images: gets the images.

    Yields:
      (path below the root, `above` for it, name) of each folder in it.
    """
    start = f"{folder}/" if folder else ""
    for entry in _scan(root, folder):
        name = entry.name
        suffix = name[name.rfind(".") :].lower() if "." in name else ""
        ours = name[0] != "." and name.lower() not in LEFT_BEHIND
        if ours and suffix in SUFFIXES and entry.is_file(follow_symlinks=False):
            images.append(start + name)
        elif not ours:
            reason = "hidden" if name[0] == "." else "left by an operating system"
            _ignore_all(root, start + name, entry, reason, found)
        elif entry.is_dir():
            links = above
            if entry.is_symlink():
                target = os.path.realpath(os.path.join(root, start + name))
                links = (*above, os.path.realpath(os.path.join(root, folder)))
                if any(f"{link}/".startswith(f"{target}/") for link in links):
                    found.ignore("link to a folder that it lies in", start + name)
                    continue
            yield start + name, links, name
        elif entry.is_file():
            if suffix in SUFFIXES:
                images.append(start + name)
            else:
                found.ignore(f"suffix {printable(suffix) or 'missing'}", start + name)
        else:
            kind = "link to nothing" if entry.is_symlink() else "no regular file"
            found.ignore(kind, start + name)


def _ignore_all(
    root: str, path: str, entry: os.DirEntry, reason: str, found: _Found
) -> None:
    """Counts a file, or all files below a folder."""
    if not entry.is_dir(follow_symlinks=False):
        found.ignore(reason, path)
        return
    for folder, below, names in os.walk(os.path.join(root, path)):
        below.sort()
        for name in sorted(names):
            found.ignore(reason, os.path.relpath(os.path.join(folder, name), root))


def _scan(root: str, folder: str = "") -> list[os.DirEntry]:
    """What lies in a folder, by name, so that examples are the same everywhere."""
    path = os.path.join(root, folder)
    try:
        with os.scandir(path) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        raise UserError(
            f"{printable(path)} cannot be read: {error.strerror}"
        ) from error


# -- what a person should hear ---------------------------------------------------------


def _require_sorted(
    root: str, folder: str, classes: dict[str, list[str]], found: _Found
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
    above = {_above_split(image) for images in classes.values() for image in images}
    if len(above - {""}) == 1 and not folder:
        inner = printable(os.path.join(root, *above))
        also += f"; there are folders of splits in {inner}: perhaps that is the set"
    raise UserError(
        f"{where} has {len(classes)} subfolder{'s' * (len(classes) != 1)} with images: "
        "give a folder (config.data.data_dir) with one subfolder for each of at least "
        f"2 classes{also}"
    )


def _above_split(image: str) -> str:
    """The folder in which that of a split lies, for an image in one; else ''."""
    *folders, _ = image.split("/")
    for depth, name in enumerate(folders):
        if name.lower() in SPLITS:
            return "/".join(folders[:depth])
    return ""


def _refuse_splits_within(
    root: str, folder: str, classes: dict[str, list[str]]
) -> None:
    """Refuses `<class>/<split>/...`, which would train on images set apart for tests.

    A few such folders are taken for what else their name may mean.
    """
    depth = 2 if folder else 1
    found = []
    for images in classes.values():
        parts = (image.split("/") for image in images)
        below = {"/".join(p[: depth + 1]) for p in parts if len(p) > depth + 1}
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


def _unknown_class(root: str, folder: str, name: str, names: list[str]) -> UserError:
    close = near_matches(name, names)
    known = ", ".join(map(printable, names))
    if len(names) > MOST_LISTED:
        known = f"{len(names):,} others"
    hint = f"; did you mean {' or '.join(map(printable, close))}?" if close else ""
    return UserError(
        f"{printable(os.path.join(root, folder, name))} is a class that the training "
        f"folder does not have: it has {known}{hint}"
    )


def _remarks(
    found: _Found,
    splits: dict[str, str],
    names: list[str],
    classes: dict[str, dict[str, list[str]]],
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
    stored = [classes["train"][name][0].split("/")[depth] for name in names]
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
    images = (image for c in classes.values() for of_c in c.values() for image in of_c)
    if any(image.lower().endswith(".gif") for image in images):
        yield "of animated images (.gif) the first frame is taken"
