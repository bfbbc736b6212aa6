"""Which part of an image is taken: boxes as pure functions of uniform draws.

One definition for the compiled step (JAX arrays, images of one size) and for reading
photographs (NumPy arrays, each with its own size). Draws are uniform on [0, 1), of any
leading shape; heights and widths are integers, or integer arrays of that shape.
"""

import math
from typing import Any, NamedTuple

# Draws of a size that `resized_crop` may refuse before it falls back.
TRIES = 10


class Box(NamedTuple):
    """Pixels [top, top + height) x [left, left + width); int32, any leading shape."""

    top: Any
    left: Any
    height: Any
    width: Any


def resized_crop(
    sizes: Any,
    places: Any,
    height: Any,
    width: Any,
    *,
    area: tuple[float, float],
    aspect: tuple[float, float],
) -> Box:
    """A box with a random share of the area and a random aspect, at a random place.

    Area is uniform, aspect log-uniform. A box that sticks out is refused; after ten
    the largest centred one whose aspect is allowed is taken.

    Args:
      sizes: draws [..., 10, 2] for share and aspect.
      places: draws [..., 2] for the corner.
      height: of the images, in pixels.
      width: of the images, in pixels.
      area: smallest and largest share of the area.
      aspect: smallest and largest width / height.

    Returns:
      Boxes [...], at least one pixel high and wide.

    Source: Szegedy et al. 2014, arXiv 1409.4842, section 6; torchvision's
    RandomResizedCrop.get_params.
    """
    xp = sizes.__array_namespace__()
    heights, widths = _tried(xp, sizes, height, width, area, aspect)
    most_high, most_wide = _for_each_try(height), _for_each_try(width)
    fits = (heights > 0) & (heights <= most_high)
    fits &= (widths > 0) & (widths <= most_wide)
    found, box_height, box_width = _first(xp, fits, heights, widths)
    whole_height, whole_width = _largest(xp, height, width, aspect)
    box_height = xp.where(found, box_height, whole_height)
    box_width = xp.where(found, box_width, whole_width)
    spare = height - box_height, width - box_width
    top, left = _corner(xp, places, *spare)
    top, left = (
        xp.where(found, drawn, free // 2)
        for drawn, free in zip((top, left), spare, strict=True)
    )
    return Box(top, left, box_height, box_width)


def erased(
    sizes: Any,
    places: Any,
    height: Any,
    width: Any,
    *,
    area: tuple[float, float],
    aspect: tuple[float, float],
) -> Box:
    """As `resized_crop`, for a box that is erased: empty after ten refused draws.

    It is smaller than the image both ways, and aspect is height / width.

    Source: Zhong et al. 2017, arXiv 1708.04896, algorithm 1; torchvision's
    RandomErasing.get_params.
    """
    xp = sizes.__array_namespace__()
    inverse = (1 / aspect[1], 1 / aspect[0])
    flipped = xp.stack([sizes[..., 0], 1 - sizes[..., 1]], axis=-1)
    heights, widths = _tried(xp, flipped, height, width, area, inverse)
    most_high, most_wide = _for_each_try(height), _for_each_try(width)
    fits = (heights < most_high) & (widths < most_wide)
    found, box_height, box_width = _first(xp, fits, heights, widths)
    box_height, box_width = (xp.where(found, x, 0) for x in (box_height, box_width))
    top, left = _corner(xp, places, height - box_height, width - box_width)
    return Box(top, left, box_height, box_width)


def random_crop(places: Any, height: Any, width: Any, size: int) -> Box:
    """A square of `size` pixels, every place within the image equally likely.

    Args:
      places: draws [..., 2] for the corner.
      height: of the images, at least `size`.
      width: of the images, at least `size`.
      size: side of the square.

    Source: torchvision's RandomCrop.get_params.
    """
    xp = places.__array_namespace__()
    top, left = _corner(xp, places, height - size, width - size)
    side = xp.full_like(top, size)
    return Box(top, left, side, side)


def shorter_side(draws: Any, smallest: int, largest: int) -> Any:
    """A side in pixels, each of `smallest` to `largest` equally likely; int32.

    Source: Simonyan and Zisserman 2014, arXiv 1409.1556, section 3.1 (scale jittering).
    """
    xp = draws.__array_namespace__()
    return smallest + _below(xp, draws, largest - smallest + 1)


def resized(height: int, width: int, side: int) -> tuple[int, int]:
    """(height, width) with the shorter side as asked, the longer one rounded down.

    Source: torchvision's Resize of an integer.
    """
    if height < width:
        return side, int(side * width / height)
    return int(side * height / width), side


def five_corners(free_height: int, free_width: int) -> list[tuple[int, int]]:
    """Top and left of five crops: top left, top right, bottom left and right, middle.

    Args:
      free_height: height of the image less that of a crop.
      free_width: likewise.

    Source: Krizhevsky et al. 2012, section 4.1; torchvision's FiveCrop.
    """
    below, beside = free_height, free_width
    middle = (round(below / 2), round(beside / 2))
    return [(0, 0), (0, beside), (below, 0), (below, beside), middle]


def grid_corners(
    free_height: int, free_width: int, count: int
) -> list[tuple[int, int]]:
    """As `five_corners`, of `count` x `count` crops at equal distances, row by row.

    Source: Simonyan and Zisserman 2014, arXiv 1409.1556, section 3.2 (5 x 5).
    """
    steps = [place / (count - 1) for place in range(count)]
    return [
        (round(down * free_height), round(along * free_width))
        for down in steps
        for along in steps
    ]


def _tried(
    xp: Any,
    sizes: Any,
    height: Any,
    width: Any,
    area: tuple[float, float],
    aspect: tuple[float, float],
) -> tuple[Any, Any]:
    """Heights and widths [..., 10] that are drawn, whether they fit or not."""
    least, most = map(math.log, aspect)
    share = area[0] + (area[1] - area[0]) * sizes[..., 0]
    ratio = xp.exp(least + (most - least) * sizes[..., 1])
    pixels = share * _for_each_try(height * width)
    heights, widths = xp.sqrt(pixels / ratio), xp.sqrt(pixels * ratio)
    return xp.round(heights).astype(xp.int32), xp.round(widths).astype(xp.int32)


def _for_each_try(side: Any) -> Any:
    """[...] -> [..., 1]; a number stays one."""
    return side[..., None] if getattr(side, "ndim", 0) else side


def _first(xp: Any, fits: Any, heights: Any, widths: Any) -> tuple[Any, Any, Any]:
    """Whether one fits, and height and width of the first one that does."""
    first = xp.argmax(fits, axis=-1)[..., None]
    chosen = (
        xp.take_along_axis(tried, first, axis=-1)[..., 0] for tried in (heights, widths)
    )
    return xp.any(fits, axis=-1), *chosen


def _largest(
    xp: Any, height: Any, width: Any, aspect: tuple[float, float]
) -> tuple[Any, Any]:
    """(height, width) of the largest box with an allowed aspect."""
    height, width = xp.asarray(height), xp.asarray(width)
    low = xp.round(width / aspect[0]).astype(xp.int32)
    slim = xp.round(height * aspect[1]).astype(xp.int32)
    ratio = width / height
    return (
        xp.where(ratio < aspect[0], low, height).astype(xp.int32),
        xp.where(ratio > aspect[1], slim, width).astype(xp.int32),
    )


def _corner(xp: Any, places: Any, free_height: Any, free_width: Any) -> tuple[Any, Any]:
    """A corner that leaves as many pixels free at most."""
    return (
        _below(xp, places[..., 0], free_height + 1),
        _below(xp, places[..., 1], free_width + 1),
    )


def _below(xp: Any, draws: Any, count: Any) -> Any:
    """Integers 0 to count - 1, equally likely; int32."""
    scaled = xp.floor(draws * count).astype(xp.int32)
    return xp.minimum(scaled, xp.asarray(count - 1).astype(xp.int32))
