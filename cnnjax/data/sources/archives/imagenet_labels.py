"""What comes beside the images of ImageNet: names, and labels of validation images."""

import contextlib
import csv
import dataclasses
import io
import os
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

from cnnjax.data.sources.archives.mat_file import structures
from cnnjax.data.sources.source import reading
from cnnjax.errors import UserError, printable
from cnnjax.files import read_regular

KIT = "ILSVRC2012_devkit_t12"
# Of the kit, packed or not.
TRUTH = f"{KIT}/data/ILSVRC2012_validation_ground_truth.txt"
META = f"{KIT}/data/meta.mat"
# Kaggle's.
SOLUTION, SYNSETS = "LOC_val_solution.csv", "LOC_synset_mapping.txt"
MOST_BYTES = 2**26  # of one of these files, and of the kit when unpacked
_NUMBER = re.compile(r"ILSVRC2012_val_(\d{8})\.\w+")


@dataclasses.dataclass(frozen=True)
class Annotations:
    """Of what is told twice, `by_name` counts.

    Args:
      words: WordNet id -> names of the class in words; may be empty.
      by_name: name of a validation image, without suffix -> WordNet id.
      by_number: WordNet ids of validation images 1, 2, ...
    """

    words: Mapping[str, str]
    by_name: Mapping[str, str]
    by_number: Sequence[str]

    def labels(self, names: Iterable[str], where: str) -> list[str]:
        """WordNet ids of validation images.

        Args:
          names: of their files.
          where: they lie, for messages.

        Raises:
          UserError: one whose class is told nowhere.
        """
        return [self._label(name, where) for name in names]

    def _label(self, name: str, where: str) -> str:
        if found := self.by_name.get(os.path.splitext(name)[0]):
            return found
        match = _NUMBER.fullmatch(name)
        if match and 0 < int(match[1]) <= len(self.by_number):
            return self.by_number[int(match[1]) - 1]
        raise UserError(
            f"nothing says of which class {printable(name)} in {printable(where)} is: "
            f"put {KIT}.tar.gz or {SOLUTION} beside it, or do without validation "
            "images by config.data.num_test=-1"
        )


def find(folders: Iterable[str]) -> Annotations:
    """Reads what there is in some folders; the first that has a file counts.

    Raises:
      UserError: a file that is damaged, or larger than such a file can be.
    """
    folders = list(folders)
    words: dict[str, str] = {}
    by_name: dict[str, str] = {}
    by_number: list[str] = []
    if path := _first(folders, SOLUTION):
        with _understood(path):
            by_name = _solution(_text(_read(path)))
    if path := _first(folders, SYNSETS):
        with _understood(path):
            rows = (line.split(" ", 1) for line in _text(_read(path)).splitlines())
            words = {row[0]: row[-1].strip() for row in rows if len(row) == 2}
    if path := _first(folders, f"{KIT}.tar.gz"):
        with _understood(path):
            kit = _unpacked(_read(path))
            truth, of_kit = _truth(kit[TRUTH], kit[META])
            by_number, words = truth, {**of_kit, **words}
    elif path := _first(folders, TRUTH):
        with _understood(path):
            truth, of_kit = _truth(_read(path), _read(path[: -len(TRUTH)] + META))
            by_number, words = truth, {**of_kit, **words}
    return Annotations(words, by_name, by_number)


def _first(folders: list[str], name: str) -> str | None:
    paths = (os.path.join(folder, name) for folder in folders)
    return next((path for path in paths if os.path.lexists(path)), None)


def _read(path: str) -> bytes:
    with reading(path):
        return read_regular(path, MOST_BYTES)


def _text(content: bytes) -> str:
    return content.decode("utf-8", "backslashreplace")


def _solution(text: str) -> dict[str, str]:
    """Of 'ImageId,PredictionString' with 'class x y x y' for each box."""
    rows = csv.DictReader(io.StringIO(text))
    if not rows.fieldnames or "ImageId" not in rows.fieldnames:
        raise ValueError("no column ImageId")
    return {row["ImageId"]: row["PredictionString"].split()[0] for row in rows}


def _truth(truth: bytes, meta: bytes) -> tuple[list[str], dict[str, str]]:
    """(WordNet id of each validation image, words of each class)."""
    synsets = {int(row["ILSVRC2012_ID"][0]): row for row in structures(meta, "synsets")}
    words = {row["WNID"]: row["words"] for row in synsets.values()}
    return [synsets[int(line)]["WNID"] for line in truth.split()], words


def _unpacked(packed: bytes) -> dict[str, bytes]:
    """The two files that count, from a small archive in memory."""
    stream = zlib.decompressobj(wbits=31)  # gzip
    content = stream.decompress(packed, MOST_BYTES)
    if stream.unconsumed_tail:
        raise ValueError(f"it unpacks to more than {MOST_BYTES:,} bytes")
    found = {}
    with tarfile.TarFile(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            name = os.path.normpath(member.name)
            if name in (TRUTH, META) and member.type == tarfile.REGTYPE:
                start = member.offset_data
                found[name] = content[start : start + member.size]
    return found


@contextlib.contextmanager
def _understood(path: str) -> Iterator[None]:
    """Says of a file of labels that it is damaged, in whatever way."""
    try:
        yield
    except (
        *(ValueError, KeyError, IndexError, TypeError, AttributeError),
        *(csv.Error, tarfile.TarError, zlib.error),
    ) as error:
        raise UserError(
            f"{printable(path)} is not what its name says, or damaged "
            f"({type(error).__name__}: {error}): copy it again"
        ) from error
