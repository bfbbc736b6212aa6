"""CIFAR-10 and CIFAR-100 from the official *binary* archives.

The archives for Python hold pickles, which run code when read; these hold plain bytes.
Members are read inside the archive by their known names: no path of it is ever used.

Source:
  Krizhevsky 2009, "Learning multiple layers of features from tiny images";
  https://www.cs.toronto.edu/~kriz/cifar.html, section "Binary version".
"""

import functools
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from cnnjax.data.prepare.archive import Archive, Contents, Example, ImageSet, encode_png
from cnnjax.errors import UserError

BASE_URL = "https://www.cs.toronto.edu/~kriz"
SIDE = 32
NUM_PIXELS = 3 * SIDE * SIDE  # bytes of an image: red plane, green plane, blue plane


def read_members(path: Path, members: tuple[str, ...]) -> dict[str, bytes]:
    """Contents of the named members of a tar archive, path inside it -> bytes."""
    contents = {}
    with tarfile.open(path, "r:gz") as archive:
        for member in archive:
            if member.isfile() and member.name in members:
                content: Any = archive.extractfile(member)  # not None of a file
                contents[member.name] = content.read()
    if missing := set(members) - set(contents):
        raise UserError(
            f"{path.name} lacks {', '.join(sorted(missing))}: it is not the official "
            "archive; delete it and prepare again"
        )
    return contents


def examples(split: str, content: bytes, labels: tuple[str, ...]) -> Iterator[Example]:
    """Examples in the order of the archive; keys and ids are those of TFDS.

    Args:
      split: 'train' or 'test', for the id.
      content: records of one byte a label, then `NUM_PIXELS` bytes.
      labels: names of the label features in the order of their bytes.
    """
    rows = np.frombuffer(content, np.uint8).reshape(-1, len(labels) + NUM_PIXELS)
    for index, row in enumerate(rows):
        planes = row[len(labels) :].reshape(3, SIDE, SIDE)
        yield (
            index,
            {
                "id": f"{split}_{index:05d}",
                "image": encode_png(np.ascontiguousarray(planes.transpose(1, 2, 0))),
                **{name: int(row[i]) for i, name in enumerate(labels)},
            },
        )


def read(
    files: dict[str, Path],
    *,
    folder: str,
    splits: dict[str, tuple[str, ...]],
    names: dict[str, str],
) -> Contents:
    """Reads the one archive of a set.

    Args:
      files: file name -> path.
      folder: folder inside the archive.
      splits: split -> its members, in order.
      names: label feature -> member with its class names; in the order of the bytes.
    """
    (path,) = files.values()
    wanted = [*names.values(), *(m for members in splits.values() for m in members)]
    contents = read_members(path, tuple(f"{folder}/{member}" for member in wanted))
    labels = tuple(names)
    return Contents(
        splits={
            split: examples(
                split, b"".join(contents[f"{folder}/{m}"] for m in m_s), labels
            )
            for split, m_s in splits.items()
        },
        class_names={
            label: contents[f"{folder}/{member}"].decode().split()
            for label, member in names.items()
        },
    )


SETS: dict[str, ImageSet] = {
    "cifar10": ImageSet(
        BASE_URL,
        (
            Archive(
                "cifar-10-binary.tar.gz",
                170_052_171,
                "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
            ),
        ),
        functools.partial(
            read,
            folder="cifar-10-batches-bin",
            splits={
                "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
                "test": ("test_batch.bin",),
            },
            names={"label": "batches.meta.txt"},
        ),
    ),
    "cifar100": ImageSet(
        BASE_URL,
        (
            Archive(
                "cifar-100-binary.tar.gz",
                168_513_733,
                "58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
            ),
        ),
        functools.partial(
            read,
            folder="cifar-100-binary",
            splits={"train": ("train.bin",), "test": ("test.bin",)},
            names={
                "coarse_label": "coarse_label_names.txt",
                "label": "fine_label_names.txt",
            },
        ),
    ),
}
