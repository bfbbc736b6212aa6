"""A folder of images, one subfolder a class.

Either `<data_dir>/{train,validation or val,test}/<class>/*.png`, or without splits
`<data_dir>/<class>/*.png`, from which validation and test are carved out.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cnnjax.data.images import decode_all, decoded_shape
from cnnjax.data.source import Pool, Request, Source, check_directory
from cnnjax.errors import UserError

SUFFIXES = (".png", ".jpg", ".jpeg")
# Folder name -> pool.
POOLS = {
    "train": "train",
    "validation": "validation",
    "val": "validation",
    "test": "test",
}


def open_source(request: Request) -> Source:
    """Lists the files; classes are the subfolders of the training folder, sorted.

    Args:
      request: `data_dir` is the folder; `image_size` is needed where sizes differ.

    Raises:
      UserError: no such folder, no images, a class that training does not have.
    """
    if not request.data_dir:
        raise UserError(
            "config.data.data_dir is empty: give the folder with one subfolder a class"
        )
    root = Path(request.data_dir).expanduser()
    check_directory(root)
    folders = {
        pool: root / folder
        for folder, pool in POOLS.items()
        if (root / folder).is_dir()
    }
    if "train" not in folders:
        folders = {"train": root}
    names = tuple(_subfolders(folders["train"]))
    if len(names) < 2:
        raise UserError(
            f"{folders['train']} has {len(names)} subfolders with images: give a "
            "folder (config.data.data_dir) with one subfolder for each of at least 2 "
            "classes"
        )
    files = {pool: _list_files(folder, names) for pool, folder in folders.items()}
    pools = {p: Pool(len(paths), labels) for p, (paths, labels) in files.items()}
    size = request.image_size
    first = files["train"][0][0]
    shape = decoded_shape(_content(first), str(first), size)

    def read(pool: str, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        paths, labels = files[pool]

        def images() -> Iterator[tuple[str, bytes]]:
            for index in indices:
                yield str(paths[index]), _content(paths[index])

        return decode_all(images(), len(indices), shape[2], size), labels[indices]

    def all_files() -> Iterator[Path]:
        return itertools.chain.from_iterable(paths for paths, _ in files.values())

    return Source(pools, names, shape, read, root=root, files=all_files)


def _subfolders(folder: Path) -> list[str]:
    return sorted(
        child.name
        for child in folder.iterdir()
        if child.is_dir() and any(_is_image(file) for file in child.iterdir())
    )


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES


def _list_files(folder: Path, names: tuple[str, ...]) -> tuple[list[Path], np.ndarray]:
    """Every image in order of class and file name, with labels int32 [N]."""
    paths, labels = [], []
    for name in _subfolders(folder):
        if name not in names:
            raise UserError(
                f"{folder / name} is a class that the training folder does not have: "
                f"it has {', '.join(names)}"
            )
        found = sorted(file for file in (folder / name).iterdir() if _is_image(file))
        paths += found
        labels += [names.index(name)] * len(found)
    return paths, np.array(labels, np.int32)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror}") from error
