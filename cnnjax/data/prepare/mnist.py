"""MNIST and Fashion-MNIST from the official IDX files.

Source:
  LeCun, Cortes and Burges, "The MNIST database of handwritten digits" (format of the
  files), from the CVDF mirror that TFDS uses; Xiao, Rasul and Vollgraf 2017, arXiv
  1708.07747.
"""

import gzip
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cnnjax.data.prepare.archive import Archive, Contents, Example, ImageSet, encode_png
from cnnjax.errors import UserError

PREFIXES = {"train": "train", "test": "t10k"}  # split -> start of its file names
UNSIGNED_BYTE = 8  # code of the type in an IDX header


def read_idx(path: Path) -> np.ndarray:
    """The uint8 array of a gzipped IDX file: 0, 0, type, rank, sizes, values."""
    content = gzip.decompress(path.read_bytes())
    rank = content[3] if content[:3] == bytes((0, 0, UNSIGNED_BYTE)) else 0
    shape = tuple(np.frombuffer(content, ">u4", rank, 4).tolist())
    start = 4 + 4 * rank
    if not rank or len(content) != start + math.prod(shape):
        raise UserError(
            f"{path.name} is no IDX file of bytes: it is not the official archive; "
            "delete it and prepare again"
        )
    return np.frombuffer(content, np.uint8, offset=start).reshape(shape)


def examples(images: np.ndarray, labels: np.ndarray) -> Iterator[Example]:
    """Examples in the order of the files, with TFDS's keys."""
    for index, (pixels, label) in enumerate(zip(images, labels, strict=True)):
        yield index, {"image": encode_png(pixels), "label": int(label)}


def read(files: dict[str, Path]) -> Contents:
    """Reads the four files of a set; TFDS knows the class names."""
    return Contents(
        splits={
            split: examples(
                read_idx(files[f"{prefix}-images-idx3-ubyte.gz"]),
                read_idx(files[f"{prefix}-labels-idx1-ubyte.gz"]),
            )
            for split, prefix in PREFIXES.items()
        },
        class_names={},
    )


SETS: dict[str, ImageSet] = {
    "mnist": ImageSet(
        "https://storage.googleapis.com/cvdf-datasets/mnist",
        (
            Archive(
                "train-images-idx3-ubyte.gz",
                9_912_422,
                "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            ),
            Archive(
                "train-labels-idx1-ubyte.gz",
                28_881,
                "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            ),
            Archive(
                "t10k-images-idx3-ubyte.gz",
                1_648_877,
                "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            ),
            Archive(
                "t10k-labels-idx1-ubyte.gz",
                4_542,
                "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
            ),
        ),
        read,
    ),
    "fashion_mnist": ImageSet(
        # Plain HTTP is the official address; the checksums are what is trusted.
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com",
        (
            Archive(
                "train-images-idx3-ubyte.gz",
                26_421_880,
                "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            ),
            Archive(
                "train-labels-idx1-ubyte.gz",
                29_515,
                "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            ),
            Archive(
                "t10k-images-idx3-ubyte.gz",
                4_422_102,
                "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            ),
            Archive(
                "t10k-labels-idx1-ubyte.gz",
                5_148,
                "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
            ),
        ),
        read,
    ),
}
