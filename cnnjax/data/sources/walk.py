"""Walks a folder: which files are images, and what is ignored and why."""

import array
import collections
import os
from collections.abc import Iterator

from cnnjax.data.sources.paths import Group
from cnnjax.data.sources.source import reading
from cnnjax.errors import UserError, printable

PHOTOGRAPHS = (".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".tif", ".tiff")
SUFFIXES = frozenset(
    (*PHOTOGRAPHS, ".png", ".bmp", ".gif", ".ppm", ".pgm", ".pbm", ".pnm")
)
# As almost all of a million files have it, so that each costs no call more.
_USUAL = SUFFIXES | {suffix.upper() for suffix in SUFFIXES}
# What operating systems and file servers leave in folders, beside hidden files.
LEFT_BEHIND = frozenset(("__macosx", "thumbs.db", "desktop.ini", "@eadir"))
# Each folder with two links to the next doubles the ways, and no walk would end.
MOST_LINKS = 100_000
MOST_LINKS_WITHIN = 8
MOST_EXAMPLES = 3  # kept of what was ignored for one reason


class Found:
    """Counts while a folder is walked."""

    def __init__(self) -> None:
        self.ignored: dict[str, list] = collections.defaultdict(lambda: [0, []])
        self.deep = 0  # images in folders within the folder of their class
        self.links = 0  # to folders, that were followed
        self.inodes = array.array("Q")  # of the images, as far as they are known
        # Folders below the root that were read -> what the system said of them before.
        self.folders: dict[str, os.stat_result] = {}
        self.links_seen = False  # whether there is any link, of a folder or a file

    def ignore(self, reason: str, path: str) -> None:
        entry = self.ignored[reason]
        entry[0] += 1
        if len(entry[1]) < MOST_EXAMPLES:
            entry[1].append(printable(path))


def collect(
    root: str, folder: str, above: tuple[str, ...], found: Found, images: list[Group]
) -> None:
    """Adds all images below a folder, folder by folder."""
    for path, links, _ in walk(root, folder, above, found, images):
        collect(root, path, links, found, images)


def walk(
    root: str, folder: str, above: tuple[str, ...], found: Found, images: list[Group]
) -> Iterator[tuple[str, tuple[str, ...], str]]:
    """Sorts the content of one folder: images, folders (which it yields), and the rest.

    Args:
      root: of the set.
      folder: below the root.
      above: real folders from which links led here.
      found: counts what is ignored.
      images: gets the images of this folder.

    Yields:
      (path below the root, `above` for it, name) of each folder in it.
    """
    start = f"{folder}/" if folder else ""
    names, rest = _usual_images(scan(root, folder, found), found)
    for entry in rest:
        name = entry.name
        found.links_seen |= entry.is_symlink()
        suffix = name[name.rfind(".") :].lower() if "." in name else ""
        if name[0] == "." or name.lower() in LEFT_BEHIND:
            reason = "hidden" if name[0] == "." else "left by an operating system"
            ignore_all(root, start + name, entry, reason, found)
        elif entry.is_dir():
            links = above
            if entry.is_symlink():
                target = os.path.realpath(os.path.join(root, start + name))
                links = (*above, os.path.realpath(os.path.join(root, folder)))
                if any(f"{link}/".startswith(f"{target}/") for link in links):
                    found.ignore("link to a folder that it lies in", start + name)
                    continue
                found.links += 1
                if found.links > MOST_LINKS or len(links) > MOST_LINKS_WITHIN:
                    raise UserError(
                        f"{printable(root)} has more than {MOST_LINKS:,} ways over "
                        f"links to folders, or {MOST_LINKS_WITHIN} such links within "
                        "each other: give a folder with fewer of them"
                    )
            yield start + name, links, name
        elif entry.is_file():
            if suffix in SUFFIXES:
                names.append(name)
                found.inodes.append(entry.stat().st_ino)
            else:
                found.ignore(f"suffix {printable(suffix) or 'missing'}", start + name)
        else:
            there = os.path.exists(os.path.join(root, start + name))
            found.ignore(
                "no regular file" if there else "link to nothing", start + name
            )
    if names:
        names.sort()
        images.append(Group.of(folder, names))


def _usual_images(
    entries: list[os.DirEntry], found: Found
) -> tuple[list[str], list[os.DirEntry]]:
    """(names of regular files that are images, in no order; the rest, by name)."""
    names, rest = [], []
    for entry in entries:  # a million times: nothing here that is not needed
        name = entry.name
        if (
            name[name.rfind(".") :] in _USUAL
            and name[0] != "."
            and entry.is_file(follow_symlinks=False)
        ):
            names.append(name)
            found.inodes.append(entry.inode())
        else:
            rest.append(entry)
    # So that examples are the same everywhere.
    return names, sorted(rest, key=lambda entry: entry.name)


def is_image(name: str) -> bool:
    """Whether a file with that name, or path, is taken for an image."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def ignore_all(
    root: str, path: str, entry: os.DirEntry, reason: str, found: Found
) -> None:
    """Counts a file, or all files below a folder."""
    if not entry.is_dir(follow_symlinks=False):
        found.ignore(reason, path)
        return
    for folder, below, names in os.walk(os.path.join(root, path)):
        found.folders[os.path.relpath(folder, root)] = os.stat(folder)
        below.sort()
        for name in sorted(names):
            found.ignore(reason, os.path.relpath(os.path.join(folder, name), root))


def scan(root: str, folder: str, found: Found) -> list[os.DirEntry]:
    """The entries of a folder, in no order."""
    path = os.path.join(root, folder)
    with reading(path):
        found.folders[folder] = os.stat(path)  # before: what changes later is seen
        with os.scandir(path) as entries:
            return list(entries)
