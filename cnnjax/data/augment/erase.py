"""Random erasing and cutout: a part of the standardised image becomes 0."""

import jax
import jax.numpy as jnp

from cnnjax.data.augment.given import Given, chosen, own, uniform
from cnnjax.data.cutting import boxes

# Share of the area and height / width of what is erased: Zhong et al. 2017, table 1,
# and torchvision.
AREA = (0.02, 1 / 3)
ASPECT = (0.3, 10 / 3)


def cutout(given: Given, images: jax.Array) -> jax.Array:
    """Zeros a square whose centre is a random pixel; it may stick out of the image.

    Source: DeVries and Taylor 2017, arXiv 1708.04552, section 3.2.
    """
    num, height, width, _ = images.shape
    size = given["cutout"]
    key_row, key_column = jax.random.split(given.key("cutout"))

    def corner(key: jax.Array, side: int) -> jax.Array:
        centre = own(num, lambda n: jax.random.randint(key, (n, 1), 0, side, jnp.int32))
        return centre - size // 2

    row, column = corner(key_row, height), corner(key_column, width)
    hole = inside(boxes.Box(row, column, size, size), height, width)
    return jnp.where(hole, 0, images)


def random_erasing(given: Given, images: jax.Array) -> jax.Array:
    """Zeros a box of random area and aspect, with the probability that is the amount.

    Source: Zhong et al. 2017, arXiv 1708.04896, algorithm 1.
    """
    num, height, width, _ = images.shape
    key_size, key_place, key_choice = jax.random.split(given.key("erase"), 3)
    box = boxes.erased(
        uniform(key_size, num, boxes.TRIES, 2),
        uniform(key_place, num, 2),
        height,
        width,
        area=AREA,
        aspect=ASPECT,
    )
    hole = inside(boxes.Box(*(x[:, None] for x in box)), height, width)
    hole &= chosen(key_choice, num, given["erase"])
    return jnp.where(hole, 0, images)


def inside(box: boxes.Box, height: int, width: int) -> jax.Array:
    """Which pixels of images are within a box: bool [B, H, W, 1].

    Args:
      box: fields int32 [B, 1], or numbers.
      height: of the images.
      width: of the images.
    """
    rows, columns = jnp.arange(height)[None], jnp.arange(width)[None]
    in_rows = (rows >= box.top) & (rows < box.top + box.height)  # [B, H]
    in_columns = (columns >= box.left) & (columns < box.left + box.width)  # [B, W]
    return in_rows[:, :, None, None] & in_columns[:, None, :, None]
