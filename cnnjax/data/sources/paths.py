"""Paths of a million files in little memory."""

import itertools
import operator
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, overload

import numpy as np

_END = "\0"  # in no name of a file


class Group(NamedTuple):
    """Files of one folder.

    Args:
      folder: its path.
      number: of the files, at least 1.
      names: of the files, each ended by a zero byte.
      ends: the last five characters of each.
    """

    folder: str
    number: int
    names: bytes
    ends: frozenset[str]

    @classmethod
    def of(cls, folder: str, names: list[str]) -> "Group":
        ends = frozenset({name[-5:] for name in names})
        return cls(folder, len(names), os.fsencode(_END.join([*names, ""])), ends)


class Paths(Sequence[str]):
    """Paths `folder/name` below one root, kept as bytes: 40 or so a path, not 100.

    Args:
      folders: each with at least one file.
      counts: files in each folder, int64 [folders].
      names: of the files, folder by folder, each ended by a zero byte.
    """

    def __init__(self, folders: Sequence[str], counts: np.ndarray, names: bytes):
        self.folders = tuple(folders)
        self.counts = counts
        self.names = names
        self._starts = np.cumsum(counts) - counts
        self._ends = np.flatnonzero(np.frombuffer(names, np.uint8) == 0)

    @classmethod
    def of(cls, groups: Sequence[Group]) -> "Paths":
        """Those of groups of files, in the order that they are given."""
        return cls(
            [group.folder for group in groups],
            np.array([group.number for group in groups], np.int64),
            b"".join(group.names for group in groups),
        )

    @classmethod
    def joined(cls, parts: Iterable["Paths"]) -> "Paths":
        """All paths of several, one after the other."""
        parts = list(parts)
        return cls(
            [folder for part in parts for folder in part.folders],
            np.concatenate([part.counts for part in parts]),
            b"".join(part.names for part in parts),
        )

    def __len__(self) -> int:
        return len(self._ends)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Paths):
            return NotImplemented
        return (self.folders, self.names) == (other.folders, other.names)

    def __hash__(self) -> int:
        return hash(self.names)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        index = range(len(self))[operator.index(index)]
        start = self._ends[index - 1] + 1 if index else 0
        name = os.fsdecode(self.names[start : self._ends[index]])
        return os.path.join(self.folder_of(index), name)

    def folder_of(self, index: int) -> str:
        return self.folders[np.searchsorted(self._starts, index, side="right") - 1]

    def __iter__(self) -> Iterator[str]:
        for folder, names in self.by_folder():
            yield from (os.path.join(folder, name) for name in names)

    def by_folder(self, order: Iterable[int] = ()) -> Iterator[tuple[str, list[str]]]:
        """(folder, names of its files), one folder after the other.

        Args:
          order: places of the folders; as they are kept, if not given.
        """
        for place in order or range(len(self.folders)):
            first = self._starts[place]
            start = self._ends[first - 1] + 1 if first else 0
            names = self.names[start : self._ends[first + self.counts[place] - 1]]
            yield self.folders[place], os.fsdecode(names).split(_END)

    def in_order(self) -> Iterator[tuple[str, list[str]]]:
        """As `by_folder`, in the order of whole paths; a folder may come twice."""
        starts = [f"{folder}/" for folder in self.folders]
        order = sorted(range(len(starts)), key=starts.__getitem__)
        if any(starts[b].startswith(starts[a]) for a, b in itertools.pairwise(order)):
            # Files of a folder and of those in it alternate.
            for path in sorted(self):
                folder, _, name = path.rpartition("/")
                yield folder, [name]
        else:
            yield from self.by_folder(order)
