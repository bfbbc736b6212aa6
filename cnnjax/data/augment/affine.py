"""Rotation, translation, scale and shear: one affine warp, bilinear, for all of them.

What comes from beyond the image is what standardisation makes 0.
"""

import jax
import jax.numpy as jnp

from cnnjax.data.augment.given import Given, uniform

NAMES = ("rotation", "translation", "scale", "shear")


def random_affine(given: Given, images: jax.Array) -> jax.Array:
    """Turns, shears, scales and moves each image about its centre.

    Angles are uniform to both sides, translations too (in whole pixels, for rows and
    columns by themselves), factors uniform from 1 - scale to 1 + scale; the shear is
    along the rows. What is 0 changes nothing for the others.

    Source: torchvision's RandomAffine.
    """
    num, height, width, _ = images.shape

    def symmetric(name: str, *shape: int) -> jax.Array:
        largest = given[name]
        return uniform(given.key(name), num, *shape, low=-largest, high=largest)

    angle, shear = (jnp.deg2rad(symmetric(name)) for name in ("rotation", "shear"))
    factor = 1 + symmetric("scale")
    size = jnp.array([[width, height]], jnp.float32)
    moved = jnp.round(symmetric("translation", 2) * size)
    zero = given.zero(images)
    matrix = factor[:, None, None] * turn(angle, jnp.tan(shear), jnp.zeros(num))
    return warp(images - zero, matrix, moved) + zero


def turn(angle: jax.Array, along_rows: jax.Array, along_columns: jax.Array):
    """A rotation after shears, on (x, y) with y down, as torchvision composes them.

    Args:
      angle: clockwise, in radians, [B].
      along_rows: pixels to the left for each row further down, [B].
      along_columns: pixels up for each column further right, [B].

    Returns:
      float32 [B, 2, 2] of determinant 1.
    """
    cos, sin = jnp.cos(angle), jnp.sin(angle)
    first_row = cos + sin * along_columns, -sin
    second_row = sin - cos * along_columns, cos
    rows = [
        jnp.stack([left, right - left * along_rows], axis=-1)
        for left, right in (first_row, second_row)
    ]
    return jnp.stack(rows, axis=-2)


def warp(images: jax.Array, matrix: jax.Array, moved: jax.Array) -> jax.Array:
    """Maps each pixel to `matrix` times its place, and moves it; bilinear.

    Args:
      images: float32 [B, H, W, C]; beyond them there are zeros.
      matrix: float32 [B, 2, 2], on places (x, y) in pixels from the centre, y down.
      moved: (x, y) in pixels, float32 [B, 2].

    Returns:
      float32 [B, H, W, C].
    """
    num, height, width, _ = images.shape
    a, b, c, d = (matrix[:, i, j][:, None, None] for i in (0, 1) for j in (0, 1))
    det = a * d - b * c
    x0, y0 = (width - 1) / 2, (height - 1) / 2
    x = jnp.arange(width, dtype=jnp.float32)[None, None] - x0
    y = jnp.arange(height, dtype=jnp.float32)[None, :, None] - y0
    x, y = x - moved[:, 0, None, None], y - moved[:, 1, None, None]
    columns = (d * x - b * y) / det + x0  # [B, H, W]
    rows = (a * y - c * x) / det + y0
    padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    top, down = _split(rows, height)
    left, right = _split(columns, width)
    place = jnp.arange(num)[:, None, None]

    def tap(row: jax.Array, column: jax.Array) -> jax.Array:
        return padded.at[place, row, column].get(mode="promise_in_bounds")

    above = tap(top, left) * (1 - right) + tap(top, left + 1) * right
    below = tap(top + 1, left) * (1 - right) + tap(top + 1, left + 1) * right
    return above * (1 - down) + below * down


def _split(places: jax.Array, size: int) -> tuple[jax.Array, jax.Array]:
    """Index of the pixel before each place in the padded image, and how far behind.

    Returns:
      int32 [B, H, W] from 0 to `size`, and float32 [B, H, W, 1] from 0 to 1.
    """
    places = jnp.clip(places, -1, size) + 1
    before = jnp.minimum(jnp.floor(places), size)
    return before.astype(jnp.int32), (places - before)[..., None]
