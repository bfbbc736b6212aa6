"""A folder of images, one subfolder a class.

Either `<data_dir>/{train,validation,test}/<class>/*.png`, or without splits
`<data_dir>/<class>/*.png`, from which validation and test are carved out. `listing.py`
has the names that count, and `images.py` what becomes of the pixels.
"""

import os
from collections.abc import Iterator

import numpy as np

from cnnjax.data.images import decode_all, decoded_shape
from cnnjax.data.request import Request
from cnnjax.data.sources.listing import Listing, list_images
from cnnjax.data.sources.source import (
    MissingData,
    Pool,
    Source,
    check_directory,
    data_folder,
    reading,
)
from cnnjax.errors import UserError, printable
from cnnjax.files import read_regular

# As many pixels as Pillow decodes, uncompressed and with 16 bits a channel, are larger.
MOST_FILE_BYTES = 2**30


def open_source(request: Request) -> Source:
    """Lists the files; classes are the subfolders of the training folder, sorted.

    Args:
      request: `data_dir` is the folder; `image_size` is needed where sizes differ.

    Raises:
      UserError: no such folder, no images, a class that training does not have, a
        split that is not sorted into classes.
    """
    if not request.data_dir:
        raise MissingData(
            "config.data.data_dir is empty: give the folder with one subfolder a class"
        )
    folder = data_folder(request.data_dir)
    check_directory(folder)
    root = str(folder)
    try:
        listing = list_images(root)
    except RecursionError as error:
        raise UserError(
            f"the folders in {printable(root)} lie too deep within each other: give "
            "one with a subfolder for each class"
        ) from error
    absent = _unsorted(root, listing, request)
    pools = {p: Pool(len(labels), labels) for p, labels in listing.labels.items()}
    size, first = request.image_size, listing.paths["train"][0]
    where = printable(os.path.join(root, first))
    shape = decoded_shape(_content(root, first), where, size, request.channels)

    def read(pool: str, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        def images() -> Iterator[tuple[str, bytes]]:
            for index in indices:
                path = listing.paths[pool][index]
                yield printable(os.path.join(root, path)), _content(root, path)

        convert = request.channels == 1
        pixels = decode_all(images(), len(indices), shape[2], size, convert)
        return pixels, listing.labels[pool][indices]

    def all_files() -> Iterator[str]:
        for paths in listing.paths.values():
            yield from paths

    return Source(
        pools,
        listing.class_names,
        shape,
        read,
        root=folder,
        files=all_files,
        ignored=listing.ignored,
        remarks=(*listing.remarks, *absent),
        certain=bool(request.channels) or shape[2] == 3,
        in_splits=listing.in_splits,
    )


def _unsorted(root: str, listing: Listing, request: Request) -> list[str]:
    """Sentences on splits whose classes are unknown; refuses where they are wanted."""
    sentences = []
    for pool, num in listing.unsorted.items():
        key = f"num_{pool}"
        what = f"{num:,} {pool} images in {printable(root)} lie in no folder of a class"
        wanted = getattr(request, key) == 0
        if wanted and not (pool == "test" and request.holds_out):
            raise UserError(
                f"{what}: sort them into one folder a class, or do without them by "
                f"config.data.{key}=-1 (none) or a number (taken out of train)"
            )
        sentences.append(f"{what} and are not used")
    return sentences


def _content(root: str, path: str) -> bytes:
    path = os.path.join(root, path)
    with reading(path):
        return read_regular(path, MOST_FILE_BYTES)
