"""What a source of images offers, before any pixel is read."""

import dataclasses
from collections.abc import Callable

import numpy as np

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
    """

    name: str
    data_dir: str
    num_train: int
    num_validation: int
    num_test: int
    split_seed: int
    image_size: int
    num_classes: int


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
      read: reads the images with the given indices of a pool, in that order.
      note: what a reader of results should know about these images; may be empty.
    """

    pools: dict[str, Pool]
    class_names: tuple[str, ...]
    read: Read
    note: str = ""
