"""The bytes of the tensors in files of torch: entries of an archive, or stretches."""

from typing import BinaryIO, Protocol

import numpy as np

from cnnjax.errors import printable
from cnnjax.interop.files.archive import Archive
from cnnjax.interop.files.inert_pickle import PickleError


class Storages(Protocol):
    """Gives the bytes of storages, of one order."""

    order: str

    def read(self, key: str) -> bytes: ...


class Entries:
    """Storages as entries of an archive."""

    def __init__(self, archive: Archive, folder: str):
        self.archive, self.folder = archive, folder
        order = f"{folder}byteorder"
        is_big = order in archive.entries and archive.read(order, 9) == b"big"
        self.order = ">" if is_big else "<"

    def read(self, key: str) -> bytes:
        name = f"{self.folder}data/{key}"
        if name not in self.archive.entries:
            raise self.archive.damaged(f"{printable(name)} is missing")
        return self.archive.read(name, self.archive.size(name))


class Stretches:
    """Storages as stretches of a file, each behind the number of its elements."""

    def __init__(self, file: BinaryIO):
        self.file, self.order = file, "<"
        self.places: dict[str, tuple[int, int]] = {}

    def find(self, keys: list[str], sizes: dict[str, int]) -> None:
        """Where each storage is.

        Args:
          keys: in the order of the file.
          sizes: key -> bytes of an element.

        Raises:
          PickleError: the file does not hold them.
        """
        if lacking := sizes.keys() - set(keys):
            raise PickleError(f"its list of storages lacks {len(lacking):,}")
        at, end = self.file.tell(), self.file.seek(0, 2)
        for key in keys:
            self.file.seek(at)
            count = int(np.frombuffer(self.file.read(8), f"{self.order}i8")[0])
            length = count * sizes[key]
            if count < 0 or key in self.places or at + 8 + length > end:
                raise PickleError("the file ends before its tensors do")
            self.places[key] = (at + 8, length)
            at += 8 + length

    def read(self, key: str) -> bytes:
        at, length = self.places[key]
        self.file.seek(at)
        return self.file.read(length)
