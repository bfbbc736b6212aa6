"""What a source of images offers, before any pixel is read."""

import dataclasses
import os
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np

from cnnjax.errors import UserError

# (pool, indices) -> (images uint8 [n, H, W, C], labels int32 [n])
Read = Callable[[str, np.ndarray], tuple[np.ndarray, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Request:
    """What the config asks of a source; the keys are those of section `data`.

    Args:
      name: name of the source.
      data_dir: folder with prepared sets or images; unused by embedded sources.
      num_train: training images; 0 = all that are left.
      num_validation: images held out of the training pool.
      num_test: test images; 0 = all.
      split_seed: seed of the choice of images.
      image_size: side of the square images in pixels; 0 = as the source has them.
      num_classes: classes of the synthetic source; 0 = as the source has them.
      num_folds: of cross-validation; 0 = none.
      fold: the one that is the test split.
    """

    name: str
    data_dir: str
    num_train: int
    num_validation: int
    num_test: int
    split_seed: int
    image_size: int
    num_classes: int
    num_folds: int = 0
    fold: int = 0


@dataclasses.dataclass(frozen=True)
class Pool:
    """The images that a source keeps under one name.

    Args:
      size: number of images.
      labels: int32 [size] where they are known without decoding, so that a choice of
        images can be stratified by class; else None.
    """

    size: int
    labels: np.ndarray | None = None


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
      files: lists the files below `root` that the images come from.
    """

    pools: dict[str, Pool]
    class_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    read: Read
    note: str = ""
    root: Path | None = None
    files: Callable[[], Iterable[Path]] = tuple


def check_directory(directory: Path) -> None:
    """Raises a UserError unless the folder is there and may be listed."""
    if not os.path.isdir(directory):
        kind = "is not a folder" if os.path.exists(directory) else "does not exist"
        raise UserError(
            f"{directory} {kind}: change config.data.data_dir or --data_dir"
        )
    if not os.access(directory, os.R_OK | os.X_OK):
        raise UserError(
            f"{directory} may not be read by this user: change its permissions or "
            "config.data.data_dir"
        )
