"""Cuts photographs: which pixels of one are seen, by section `geometry`.

The pixels are those of torchvision's transforms of the upright Pillow image
(`images.as_viewed`), bit for bit, for the same box; `cutting/boxes.py` draws it.
"""

from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image

from cnnjax.data.cutting import boxes
from cnnjax.data.cutting.geometry import GRID, INTERPOLATIONS, Geometry
from cnnjax.data.cutting.raw import Raw
from cnnjax.errors import UserError

# (number of the image in the batch, upright image) -> what is seen of it
Cut = Callable[[int, Image.Image], Image.Image]


def cutting(
    geometry: Geometry, size: int, draws: np.ndarray | None, views: bool = False
) -> Cut:
    """What is done to the images of a batch.

    Args:
      size: side of the result in pixels.
      draws: for training, as `draws` gives them, [n, DRAWS]; None for evaluation.
      views: all that the last evaluation sees of an image, one below the other.
    """
    if views:
        return lambda _, image: _below_each_other(list(seen(geometry, image, size)))
    if draws is None:
        return lambda _, image: evaluated(geometry, image, size)
    return lambda number, image: drawn(geometry, image, size, draws[number])


def evaluated(geometry: Geometry, image: Image.Image, size: int) -> Image.Image:
    """As torchvision's Resize and CenterCrop."""
    if geometry.evaluation == "center":
        return center_square(image, size)
    image = resized(geometry, image, geometry.larger(size))
    width, height = image.size
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def seen(geometry: Geometry, image: Image.Image, size: int) -> Iterator[Image.Image]:
    """What the last evaluation sees of an image: `Geometry.num_views` of them.

    As torchvision's Resize and TenCrop, or a grid in place of the latter, whose mirror
    images are made where the net runs.
    """
    if geometry.evaluation not in ("ten_crop", "multi_scale"):
        yield evaluated(geometry, image, size)
        return
    ten = geometry.evaluation == "ten_crop"
    for side in (geometry.larger(size),) if ten else geometry.scales:
        larger = resized(geometry, image, side)
        free = larger.height - size, larger.width - size
        corners = boxes.five_corners(*free) if ten else boxes.grid_corners(*free, GRID)
        for top, left in corners:
            yield larger.crop((left, top, left + size, top + size))
        for top, left in corners if ten else ():  # of the mirror image
            left = larger.width - size - left
            yield mirrored(larger.crop((left, top, left + size, top + size)))


def mirrored(image: Image.Image | Raw) -> Image.Image:
    """Left and right exchanged."""
    whole = image.image() if isinstance(image, Raw) else image
    return whole.transpose(Image.Transpose.FLIP_LEFT_RIGHT)


def _below_each_other(images: list[Image.Image]) -> Image.Image:
    """Images of one size as one."""
    width, height = images[0].size
    strip = Image.new(images[0].mode, (width, height * len(images)))
    for number, image in enumerate(images):
        whole = image.image() if isinstance(image, Raw) else image
        strip.paste(whole, (0, number * height))
    return strip


def drawn(
    geometry: Geometry, image: Image.Image, size: int, draws: np.ndarray
) -> Image.Image:
    """As torchvision's Resize and RandomCrop, or RandomResizedCrop.

    Args:
      image: upright, of mode L or RGB.
      size: side of the result in pixels.
      draws: [DRAWS], uniform on [0, 1).
    """
    if geometry.train == "center":
        return center_square(image, size)
    sizes, (*place, side) = draws[:-3].reshape(-1, 2), draws[-3:]
    places = np.array(place)
    if geometry.train == "random_resized_crop":
        width, height = image.size
        box = boxes.resized_crop(
            sizes, places, height, width, area=geometry.area, aspect=geometry.aspect
        )
        return _taken(image, box).resize(
            (size, size), INTERPOLATIONS[geometry.interpolation]
        )
    smallest, largest = geometry.shorter_side[0], geometry.shorter_side[-1]
    if geometry.train == "scale_crop":
        smallest = int(boxes.shorter_side(np.asarray(side), smallest, largest))
    image = resized(geometry, image, smallest)
    width, height = image.size
    return _taken(image, boxes.random_crop(places, height, width, size))


def resized(geometry: Geometry, image: Image.Image, side: int) -> Image.Image:
    """With the shorter side as asked.

    Raises:
      UserError: of a panorama, more pixels than an image may have.
    """
    width, height = image.size
    new_height, new_width = boxes.resized(height, width, side)
    most = 2 * (Image.MAX_IMAGE_PIXELS or 2**27)
    if new_height * new_width > most:
        raise UserError(
            f"an image of {height}x{width} would have {new_height * new_width:,} "
            f"pixels with a shorter side of {side}, and {most:,} are allowed: "
            "remove it, or set config.geometry to center or random_resized_crop"
        )
    if (width, height) == (new_width, new_height):
        return image
    filter_ = INTERPOLATIONS[geometry.interpolation]
    return image.resize((new_width, new_height), filter_)


def _taken(image: Image.Image, box: boxes.Box) -> Image.Image:
    """The pixels of a box: nothing outside it takes part in what follows."""
    top, left, height, width = map(int, box)
    return image.crop((left, top, left + width, top + height))


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
