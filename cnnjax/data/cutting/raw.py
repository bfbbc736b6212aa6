"""Pixels of a file that are stored as they are, of which no more is copied than needed.

It has the few members of a Pillow image that `cuts.py` asks for, and gives its pixels.
"""

import re
from typing import Any

import numpy as np
from PIL import Image

# The header that Pillow writes; others are read by Pillow.
_HEADER = re.compile(rb"P6\n([1-9]\d{0,4}) ([1-9]\d{0,4})\n255\n")


class Raw:
    """Pixels uint8 [H, W, 3], a view of the bytes that hold them."""

    mode = "RGB"

    def __init__(self, pixels: np.ndarray):
        self.pixels = pixels

    @classmethod
    def of(cls, content: bytes) -> "Raw | None":
        """The pixels of a whole PPM file as stores have it; None for another file."""
        header = _HEADER.match(content)
        if header is None:
            return None
        width, height = map(int, header.groups())
        most = 2 * (Image.MAX_IMAGE_PIXELS or 2**27)
        if len(content) - header.end() != 3 * width * height or width * height > most:
            return None
        flat = np.frombuffer(content, np.uint8, offset=header.end())
        return cls(flat.reshape(height, width, 3))

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)."""
        return self.width, self.height

    @property
    def width(self) -> int:
        return self.pixels.shape[1]

    @property
    def height(self) -> int:
        return self.pixels.shape[0]

    def crop(self, box: tuple[int, int, int, int]) -> Any:
        """As Pillow's: left, top, right, bottom; nothing is copied within the image."""
        left, top, right, bottom = box
        if min(left, top) < 0 or right > self.width or bottom > self.height:
            return self.image().crop(box)
        return Raw(self.pixels[top:bottom, left:right])

    def resize(self, *arguments: Any, **options: Any) -> Image.Image:
        """As Pillow's, which makes the image of these pixels alone."""
        return self.image().resize(*arguments, **options)

    def image(self) -> Image.Image:
        """The same in Pillow."""
        return Image.fromarray(np.ascontiguousarray(self.pixels))
