"""What a source of images offers, before any pixel is read."""

import contextlib
import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np

from cnnjax.data.contents import Ignored
from cnnjax.errors import UserError, printable

# split -> (pool, indices in rising order)
Chosen = dict[str, tuple[str, np.ndarray]]
# (pool, indices) -> (images uint8 [n, H, W, C], labels int32 [n]); those of files take
# draws of `geometry.draw` as well, and are then as training sees them; or with
# `views`, all views of the last evaluation, one below the other.
Read = Callable[..., tuple[np.ndarray, np.ndarray]]
# (pool, indices) -> (name for messages, bytes of the file) of each image
Encoded = Callable[[str, np.ndarray], Iterator[tuple[str, bytes]]]


@dataclasses.dataclass(frozen=True)
class Pool:
    """The images that a source keeps under one name.

    Args:
      size: number of images.
      labels: integers [size], not checked yet; None for a set that is only declared.
      stratified: whether a choice of images is stratified by class.
    """

    size: int
    labels: np.ndarray | None = None
    stratified: bool = True


@dataclasses.dataclass(frozen=True)
class Source:
    """Pools 'train' and, where the source has them, 'validation' and 'test'.

    Args:
      pools: name -> Pool; 'train' is always there.
      class_names: one name per label.
      image_shape: (H, W, C) of the first training image, as `read` gives it.
      read: reads the images with the given indices of a pool, in that order; several
        threads may call it at once.
      note: what a reader of results should know about these images; may be empty.
      root: folder of the files; None for embedded sources.
      files: lists the files that the images come from, by their path below `root`.
      ignored: what lies there and is in no pool.
      remarks: sentences for the user before training.
      certain: whether all images have the channels of the first one.
      in_splits: whether somebody divided the images, though no pool but 'train' may be
        left of that.
      mark: tells sets apart whose files have the same names and sizes, such as by
        labels that lie beside the images.
      encoded: gives the files of images; None for those that are none.
    """

    pools: dict[str, Pool]
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    read: Read
    note: str = ""
    root: Path | None = None
    files: Callable[[], Iterable[str]] = tuple
    ignored: tuple[Ignored, ...] = ()
    remarks: tuple[str, ...] = ()
    certain: bool = True
    in_splits: bool = False
    mark: str = ""
    encoded: Encoded | None = None


class MissingData(UserError):
    """The set is not there at all; a plan can do without it."""


@contextlib.contextmanager
def reading(what: object) -> Iterator[None]:
    """Says of a file that the system does not give why; above, it would be a write.

    Args:
      what: is read, where the error names no file.
    """
    try:
        yield
    except OSError as error:
        raise UserError(
            f"{printable(error.filename or what)} cannot be read: "
            f"{error.strerror or error}"
        ) from error


def data_folder(data_dir: str) -> Path:
    """The folder that `config.data.data_dir` names; `~` is the user's home.

    Raises:
      UserError: this user has no known home folder.
    """
    try:
        return Path(data_dir).expanduser()
    except RuntimeError as error:
        raise UserError(
            f"config.data.data_dir={data_dir!r} begins with ~, but the system knows no "
            "home folder of this user: give the path in full"
        ) from error


def check_directory(directory: Path) -> None:
    """Raises a UserError unless the folder is there and may be listed."""
    name = printable(directory)
    if not os.path.isdir(directory):
        there = os.path.lexists(directory)
        kind = "is not a folder" if there else "does not exist"
        raise (UserError if there else MissingData)(
            f"{name} {kind}: change config.data.data_dir or --data_dir"
        )
    if not os.access(directory, os.R_OK | os.X_OK):
        raise UserError(
            f"{name} may not be read by this user: change its permissions or "
            "config.data.data_dir"
        )
