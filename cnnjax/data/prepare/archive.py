"""What is known about the official files of a set."""

import dataclasses
import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Example = tuple[int, dict[str, Any]]  # (key that TFDS shuffles by, features)


@dataclasses.dataclass(frozen=True)
class Archive:
    """One file to download.

    Args:
      file: its name under the base address.
      num_bytes: its size.
      sha256: its checksum, 64 hex digits.
    """

    file: str
    num_bytes: int
    sha256: str


@dataclasses.dataclass(frozen=True)
class Contents:
    """What the archives of a set hold.

    Args:
      splits: split -> examples; images are PNG bytes.
      class_names: name of a label feature -> its class names; only where TFDS does not
        know them itself.
    """

    splits: dict[str, Iterable[Example]]
    class_names: dict[str, list[str]]


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """A set that prepares itself without TensorFlow.

    Args:
      base_url: official address, without the file name.
      archives: the files to download from there.
      read: (file name -> downloaded path) -> contents.
    """

    base_url: str
    archives: tuple[Archive, ...]
    read: Callable[[dict[str, Path]], Contents]


def encode_png(pixels: np.ndarray) -> bytes:
    """Lossless PNG of uint8 [H, W] or [H, W, 3]."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()
