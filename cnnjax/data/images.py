"""Encoded images to one uint8 array, cropped and resized where a size is asked for."""

import io
from collections.abc import Iterable

import numpy as np
from PIL import Image

from cnnjax.errors import UserError

JPEG_START = b"\xff\xd8"
_MODES = {1: "L", 3: "RGB"}  # channels -> Pillow mode
# What Pillow raises on a file that is no image, or half of one.
_BROKEN = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def center_square(image: Image.Image, size: int) -> Image.Image:
    """Cuts the largest centred square and resizes it.

    The resize is bilinear over the whole footprint of an output pixel (antialiased when
    shrinking), as Pillow does it.

    Args:
      image: any Pillow image.
      size: side of the result in pixels, at least 1.

    Returns:
      The image, `size` x `size`; the same object if it already has that size.
    """
    width, height = image.size
    if width == height == size:
        return image
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side)
    return image.resize((size, size), Image.Resampling.BILINEAR, box=box)


def resize_batch(images: np.ndarray, size: int) -> np.ndarray:
    """`center_square` for an array.

    Shapes:
      images: uint8 [N, H, W, C], C is 1 or 3; result uint8 [N, size, size, C].
    """
    num, height, width, channels = images.shape
    if height == width == size:
        return images
    result = np.empty((num, size, size, channels), np.uint8)
    for i, pixels in enumerate(images):
        image = Image.fromarray(pixels[:, :, 0] if channels == 1 else pixels)
        result[i] = _pixels(center_square(image, size), channels)
    return result


def decoded_shape(encoded: bytes, name: str, size: int) -> tuple[int, int, int]:
    """(H, W, C) that an image has once decoded, read off its header.

    Args:
      encoded: bytes of the file.
      name: for the message of an error.
      size: side to crop and resize to, in pixels; 0 = as stored.

    Returns:
      C is 1 for a grey image, 3 for any other.
    """
    try:
        image = Image.open(io.BytesIO(encoded))
    except _BROKEN as error:
        raise _broken(name, error) from error
    width, height = (size, size) if size else image.size
    return height, width, 1 if image.mode in ("1", "L") else 3


def decode_all(
    encoded: Iterable[tuple[str, bytes]], num_images: int, channels: int, size: int
) -> np.ndarray:
    """Decodes PNG, JPEG and what else Pillow knows.

    Args:
      encoded: (name for messages, bytes of the file) of each image.
      num_images: how many there are, at least 1.
      channels: 1 or 3; grey images are repeated to three channels where need be.
      size: side to crop and resize to, in pixels; 0 = all have the same size already.

    Returns:
      uint8 [num_images, H, W, channels].

    Raises:
      UserError: a broken image; a coloured image where channels is 1; sizes that differ
        where `size` is 0.
    """
    result = None
    for i, (name, content) in enumerate(encoded):
        image = _decode(name, content, channels)
        if size:
            image = center_square(image, size)
        pixels = _pixels(image, channels)
        if result is None:
            first = name
            result = np.empty((num_images, *pixels.shape), np.uint8)
        if pixels.shape != result.shape[1:]:
            raise UserError(
                f"images differ in size: {first} is {_sides(result[0])}, {name} is "
                f"{_sides(pixels)}: set config.data.image_size to crop and resize all"
            )
        result[i] = pixels
    return result


def _decode(name: str, content: bytes, channels: int) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(content))
        image.load()  # opening alone reads no further than the header
        if channels == 1 and image.mode not in ("1", "L"):
            raise UserError(
                f"{name} is in colour, the first image of the set is grey: store all "
                "images in one of the two"
            )
        return (
            image if image.mode == _MODES[channels] else image.convert(_MODES[channels])
        )
    except _BROKEN as error:
        raise _broken(name, error) from error


def _pixels(image: Image.Image, channels: int) -> np.ndarray:
    width, height = image.size
    # A fifth faster than np.asarray(image).
    flat = np.frombuffer(image.tobytes(), np.uint8)
    return flat.reshape(height, width, channels)


def _sides(pixels: np.ndarray) -> str:
    return f"{pixels.shape[0]}x{pixels.shape[1]}"


def _broken(name: str, error: Exception) -> UserError:
    return UserError(f"{name} is not a readable image ({error}): replace or remove it")
