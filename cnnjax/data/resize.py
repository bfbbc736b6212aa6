"""Images of any size made square: centre crop, then bilinear resize."""

import numpy as np
from PIL import Image


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
        result[i] = np.asarray(center_square(image, size)).reshape(size, size, channels)
    return result
