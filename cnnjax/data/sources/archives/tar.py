"""What lies in a tar archive, and where: its files are read in place.

Nothing is extracted, so that no name of a member is ever a path; links and all else
that is no plain file is counted and left alone. Compressed archives are not opened.
"""

import array
import collections
import contextlib
import dataclasses
import io
import json
import os
import tarfile
from collections.abc import Iterator
from typing import Any, BinaryIO

import numpy as np

from cnnjax.data import array_cache
from cnnjax.data.contents import Ignored
from cnnjax.data.decoded_cache import key_of
from cnnjax.data.sources.paths import Group, Paths
from cnnjax.data.sources.source import reading
from cnnjax.data.sources.walk import Found
from cnnjax.errors import UserError, printable
from cnnjax.files import UnfitFile, open_regular

KIND = "archives"
# Goes up when archives are listed differently.
VERSION = 2
MOST_BYTES = 2**30  # of kept listings
MOST_ARCHIVE = 2**44  # bytes; ImageNet's has 1.5e11
# Of a member; as many pixels as Pillow decodes, with 16 bits a channel, are larger.
MOST_MEMBER = 2**30
# Of what stands before a member, such as a long name.
MOST_HEADER = 2**20
# Zeros at the end of an archive: two blocks, and what fills its last record up.
MOST_END = 2 * tarfile.BLOCKSIZE + tarfile.RECORDSIZE - 1
SUFFIX = ".tar"
_ARRAYS = ("described", "counts", "names", "offsets", "sizes")


@dataclasses.dataclass(frozen=True)
class Members:
    """The plain files in archives, in the order in which they lie there.

    Args:
      root: folder of the archives.
      paths: of members, in folders `archive` or `archive<zero>inner archive`.
      offsets: of the first byte of each in its archive, int64.
      sizes: in bytes, int64.
      ignored: what else is in the archives.
    """

    root: str
    paths: Paths
    offsets: np.ndarray
    sizes: np.ndarray
    ignored: tuple[Ignored, ...]

    def content(self, index: int) -> bytes:
        """The bytes of one member.

        Raises:
          UserError: the archive cannot be read, or became shorter.
        """
        path = os.path.join(self.root, self.paths.folder_of(index).split("\0")[0])
        with reading(path), open_regular(path, MOST_ARCHIVE) as file:
            size, offset = int(self.sizes[index]), int(self.offsets[index])
            content = os.pread(file.fileno(), size, offset)
        if len(content) < size:
            raise UserError(f"{self.name(index)} is cut short: copy the archive again")
        return content

    def name(self, index: int) -> str:
        """For messages."""
        path = os.path.join(self.root, self.paths[index].replace("\0", "/"))
        return printable(path)


def members(root: str, archives: list[str], *, within: bool = False) -> Members:
    """Lists archives, or takes the listing that the cache has of them.

    Args:
      root: their folder.
      archives: names below it.
      within: whether archives in them are listed in their place.

    Raises:
      UserError: one that is damaged, cut short or no tar; a name that comes twice.
    """
    parts = [_of_archive(root, archive, within) for archive in archives]
    counted: dict[str, Ignored] = {}
    for part in parts:
        for entry in part.ignored:
            before = counted.get(entry.reason, Ignored(entry.reason, 0))
            counted[entry.reason] = Ignored(
                entry.reason,
                before.count + entry.count,
                (*before.examples, *entry.examples)[:3],
            )
    return Members(
        root,
        Paths.joined([part.paths for part in parts]),
        np.concatenate([part.offsets for part in parts]),
        np.concatenate([part.sizes for part in parts]),
        tuple(counted.values()),
    )


def _of_archive(root: str, archive: str, within: bool) -> Members:
    path = os.path.join(root, archive)
    with reading(path):
        key = key_of([path], (KIND, VERSION, root, archive, within))
    found = array_cache.find(KIND, key, _ARRAYS)
    if found is not None:
        described, counts, names, offsets, sizes = found
        folders, entries = json.loads(described.tobytes())
        paths = Paths(folders, counts, names.tobytes())
        left = tuple(Ignored(r, n, tuple(e)) for r, n, e in entries)
        return Members(root, paths, offsets, sizes, left)
    listed = _listed(root, archive, within)
    ignored = [dataclasses.astuple(entry) for entry in listed.ignored]
    words = json.dumps((listed.paths.folders, ignored))
    array_cache.keep(
        KIND,
        key,
        MOST_BYTES,
        described=np.frombuffer(words.encode(), np.uint8),
        counts=listed.paths.counts,
        names=np.frombuffer(listed.paths.names, np.uint8),
        offsets=listed.offsets,
        sizes=listed.sizes,
    )
    return listed


def _listed(root: str, archive: str, within: bool) -> Members:
    path = os.path.join(root, archive)
    found, groups = Found(), []
    offsets, sizes = array.array("q"), array.array("q")
    try:
        with reading(path), open_regular(path, MOST_ARCHIVE) as file:
            # The archive itself, and then those within it, in their order.
            stretches = [(archive, 0, os.fstat(file.fileno()).st_size)]
            for folder, start, stop in stretches:
                names = []
                for name, offset, size in _plain(file, folder, start, stop, found):
                    if within and folder == archive and name.endswith(SUFFIX):
                        stretches.append((f"{archive}\0{name}", offset, offset + size))
                        continue
                    names.append(name)
                    offsets.append(offset)
                    sizes.append(size)
                _refuse_twice(path, names)
                if names:
                    groups.append(Group.of(folder, names))
    except UnfitFile as error:
        raise UserError(f"{error}: remove it, or copy the archive again") from error
    return Members(
        root,
        Paths.of(groups),
        np.array(offsets, np.int64),
        np.array(sizes, np.int64),
        tuple(Ignored(r, n, tuple(e)) for r, (n, e) in sorted(found.ignored.items())),
    )


def _plain(
    file: BinaryIO, folder: str, start: int, stop: int, found: Found
) -> Iterator[tuple[str, int, int]]:
    """(name, offset in the file, bytes) of each plain file in a stretch of a file."""
    where = printable(folder.replace("\0", "/"))
    window = _Window(file, start, stop)
    with _understood(where), contextlib.closing(_opened(window)) as archive:
        while (member := archive.next()) is not None:
            # It keeps all it has seen, for links, which are not followed.
            archive.members.clear()
            offset, size = start + member.offset_data, member.size
            if offset + size > stop:
                raise tarfile.ReadError("it is cut short")
            if member.isdir():
                continue
            path = os.path.join(folder.replace("\0", "/"), member.name)
            if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE) or (
                member.issparse()
            ):
                found.ignore("no plain file in an archive", path)
            elif size > MOST_MEMBER:
                if not (folder.endswith(SUFFIX) and member.name.endswith(SUFFIX)):
                    found.ignore(f"file of more than {MOST_MEMBER:,} bytes", path)
                    continue
                yield member.name, offset, size
            elif os.path.basename(member.name).startswith("."):
                found.ignore("hidden", path)
            elif member.name.isprintable():
                yield member.name, offset, size
            else:
                found.ignore("name that is not printable", path)
        _require_end(window, archive.offset)


def _require_end(window: "_Window", offset: int) -> None:
    """Raises a `ReadError` unless no file can be behind what was taken for the end.

    A download that was given its room beforehand has zeros where it was cut; what `cat`
    joined has the other archive there.
    """
    left = window.seek(0, os.SEEK_END) - offset
    window.seek(offset)
    end = window.read(min(left, MOST_END))
    if any(end[: tarfile.BLOCKSIZE]) or left < tarfile.BLOCKSIZE:
        raise tarfile.ReadError(f"no header and no end at byte {offset:,}")
    if offset == 0:
        raise tarfile.ReadError("there is no file in it")
    if any(end) or left > MOST_END:
        raise tarfile.ReadError(
            f"its files end at byte {offset:,} of {offset + left:,}, where a cut copy "
            "has zeros and a joined one other files"
        )


def _opened(window: "_Window") -> Any:
    """A `TarFile`, of which what its type does not tell is used as well."""
    return tarfile.TarFile(fileobj=window, mode="r", errors="surrogateescape")


@contextlib.contextmanager
def _understood(where: str) -> Iterator[None]:
    try:
        yield
    # Numbers that are none, and whatever else its parsers stumble over.
    except (tarfile.TarError, ValueError, EOFError, OverflowError) as error:
        raise UserError(
            f"{where} is no tar archive, cut short or damaged ({error}): compare its "
            "checksum with the published one and copy it again"
        ) from error


def _refuse_twice(path: str, names: list[str]) -> None:
    if len(set(names)) < len(names):
        ((twice, _),) = collections.Counter(names).most_common(1)
        raise UserError(
            f"{printable(path)} has more than one file named {printable(twice)}: pack "
            "it anew with one of them"
        )


class _Window(io.RawIOBase):
    """A stretch of a file, of which headers alone are read."""

    def __init__(self, file: BinaryIO, start: int, stop: int):
        self._handle, self._start, self._size = file.fileno(), start, stop - start
        self._place = 0
        self.name = ""

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= MOST_HEADER:
            raise tarfile.ReadError(f"a header of {size:,} bytes")
        size = max(0, min(size, self._size - self._place))
        content = os.pread(self._handle, size, self._start + self._place)
        self._place += len(content)
        return content

    def seek(self, place: int, whence: int = 0) -> int:
        self._place = place + (0, self._place, self._size)[whence]
        return self._place

    def tell(self) -> int:
        return self._place
