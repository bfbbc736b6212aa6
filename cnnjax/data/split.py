"""The images of one split, in memory or read when asked for."""

import dataclasses
from typing import ClassVar

import numpy as np

from cnnjax.data.sources.source import Read
from cnnjax.errors import UserError


class Unreadable(UserError):
    """A streamed image is not what it was at the start, or should have been."""


@dataclasses.dataclass(frozen=True)
class Split:
    """Images uint8 [N, H, W, C] and labels int32 [N], in the order of the source."""

    streamed: ClassVar[bool] = False
    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self.images.shape[1:]

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """(images uint8 [n, H, W, C], labels int32 [n]) of some of its places."""
        return self.images[indices], self.labels[indices]


@dataclasses.dataclass(frozen=True)
class StreamedSplit:
    """A split that decodes its images each time they are asked for.

    Args:
      name: 'train', 'validation' or 'test', for messages.
      source_read: `Source.read`.
      pool: of the source.
      indices: which images of the pool, in rising order.
      image_shape: (H, W, C) that all of them must have.
      from_files: whether an image may be broken; those of embedded sources are not.
    """

    streamed: ClassVar[bool] = True
    name: str
    source_read: Read
    pool: str
    indices: np.ndarray
    image_shape: tuple[int, int, int]
    from_files: bool = True

    def __len__(self) -> int:
        return len(self.indices)

    def read(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `Split.read`; several threads may read at once.

        Raises:
          Unreadable: a broken image, or one of another shape than the first.
        """
        if len(indices) == 0:
            return np.empty((0, *self.image_shape), np.uint8), np.empty(0, np.int32)
        try:
            images, labels = self.source_read(self.pool, self.indices[indices])
            require_shape(images, self.image_shape, self.name)
        except UserError as error:
            raise Unreadable(str(error)) from error
        return images, labels


def require_shape(images: np.ndarray, shape: tuple[int, int, int], split: str) -> None:
    """Raises a UserError unless images [n, H, W, C] have the shape (H, W, C)."""
    if images.shape[1:] != shape:
        raise UserError(
            f"the first training image is {shape}, some {split} images are "
            f"{images.shape[1:]} (height, width, channels): set config.data.image_size "
            "to crop and resize all"
        )
