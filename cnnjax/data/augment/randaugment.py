"""RandAugment: for each image a few of fourteen operations, all of one strength.

Within a round every image takes one of them: its own matrix for the warp, its own image
to blend with, and so on. So a round costs the same for all.

Source: Cubuk et al. 2019, arXiv 1909.13719, section 3 and table 6. The strengths are
those of torchvision's RandAugment, whose interpolation is that of the nearest pixel
unless asked for; here it is bilinear.
"""

import jax
import jax.numpy as jnp

from cnnjax.data.augment.affine import turn, warp
from cnnjax.data.augment.colour import blend, luma, mean_luma
from cnnjax.data.augment.given import Given, own

HIGHEST = 30  # magnitude
KINDS = (
    *("identity", "shear_x", "shear_y", "translate_x", "translate_y", "rotate"),
    *("brightness", "colour", "contrast", "sharpness"),
    *("posterize", "solarize", "autocontrast", "equalize"),
)


def random_operations(given: Given, images: jax.Array) -> jax.Array:
    """As many rounds as the amount says, of magnitude `randaugment_magnitude`."""
    num, share = len(images), given["randaugment_magnitude"] / HIGHEST
    zero = given.zero(images)
    for key in jax.random.split(given.key("randaugment"), given["randaugment"]):
        key_kind, key_sign = jax.random.split(key)

        def draw_kinds(n: int, key: jax.Array = key_kind) -> jax.Array:
            return jax.random.randint(key, (n,), 0, len(KINDS), jnp.int32)

        def draw_signs(n: int, key: jax.Array = key_sign) -> jax.Array:
            return jax.random.rademacher(key, (n,), jnp.float32)

        kinds, signs = own(num, draw_kinds), own(num, draw_signs)
        images = one_round(images, kinds, signs, share, zero)
    return images


def one_round(
    images: jax.Array, kinds: jax.Array, signs: jax.Array, share: float, zero: jax.Array
) -> jax.Array:
    """One operation for each image.

    Args:
      images: float32 [B, H, W, C], from 0 to 1.
      kinds: indices of `KINDS`, int32 [B].
      signs: -1 or 1, of those that have two directions, float32 [B].
      share: of the greatest strength, from 0 to 1.
      zero: what comes from beyond the image, as of `Given.zero`.
    """
    of = {name: kinds == i for i, name in enumerate(KINDS)}
    strength = share * signs
    images = warp(images - zero, *_matrices(images, of, strength)) + zero
    images = _blended(images, of, 1 + 0.9 * strength)
    bits = 8 - round(4 * share)
    for name, changed in {
        "posterize": posterize(images, bits),
        "solarize": jnp.where(images >= 1 - share, 1 - images, images),
        "autocontrast": autocontrast(images),
        "equalize": equalize(images),
    }.items():
        images = jnp.where(of[name][:, None, None, None], changed, images)
    return images


def _matrices(images, of, strength) -> tuple[jax.Array, jax.Array]:
    """What `warp` takes; shears are about the upper left corner."""
    _, height, width, _ = images.shape
    angle = jnp.where(of["rotate"], -jnp.deg2rad(30 * strength), 0)
    matrix = turn(
        angle, *(jnp.where(of[f"shear_{axis}"], 0.3 * strength, 0) for axis in "xy")
    )
    sheared = (of["shear_x"] | of["shear_y"])[:, None]
    corner = jnp.array([-width / 2, -height / 2], jnp.float32)[None]
    kept = corner - jnp.sum(matrix * corner[:, None], axis=-1)
    far = [
        jnp.where(of[f"translate_{axis}"], jnp.trunc(150 / 331 * side * strength), 0)
        for axis, side in (("x", width), ("y", height))
    ]
    return matrix, jnp.where(sheared, kept, jnp.stack(far, axis=-1))


def _blended(images, of, factor) -> jax.Array:
    """Those operations that go from an image to another one, or beyond it."""
    other = jnp.zeros_like(images)
    for name, image in {
        "colour": luma(images),
        "contrast": mean_luma(images),
        "sharpness": smoothed(images),
    }.items():
        other = jnp.where(of[name][:, None, None, None], image, other)
    some = of["brightness"] | of["colour"] | of["contrast"] | of["sharpness"]
    new = blend(images, other, factor[:, None, None, None])
    return jnp.where(some[:, None, None, None], new, images)


def smoothed(images: jax.Array) -> jax.Array:
    """The mean of 3x3 pixels, of which the middle counts five; the border is kept."""
    inner = 4 * images[:, 1:-1, 1:-1]
    height, width = inner.shape[1:3]
    for i in range(3):
        for j in range(3):
            inner += images[:, i : i + height, j : j + width]
    return images.at[:, 1:-1, 1:-1].set(inner / 13)


def posterize(images: jax.Array, bits: int) -> jax.Array:
    """Keeps the highest bits of each of 256 levels."""
    return (_levels(images) >> (8 - bits) << (8 - bits)) / jnp.float32(255)


def autocontrast(images: jax.Array) -> jax.Array:
    """Stretches each channel to the range from 0 to 1; a constant one is kept."""
    least = images.min(axis=(1, 2), keepdims=True)
    spread = images.max(axis=(1, 2), keepdims=True) - least
    stretched = (images - least) / jnp.where(spread > 0, spread, 1)
    return jnp.where(spread > 0, stretched, images)


def equalize(images: jax.Array) -> jax.Array:
    """Makes the 256 levels of each channel equally frequent, as Pillow does it."""
    num, height, width, channels = images.shape
    levels = _levels(images)
    image, channel = jnp.arange(num), jnp.arange(channels)
    place = image[:, None, None, None], channel[None, None, None]
    counts = jnp.zeros((num, channels, 256), jnp.int32).at[*place, levels].add(1)
    brightest = levels.max(axis=(1, 2))  # [B, C]
    last = counts[image[:, None], channel[None], brightest]
    step = ((height * width - last) // 255)[..., None]
    below = jnp.cumsum(counts, axis=-1) - counts
    table = jnp.clip((below + step // 2) // jnp.maximum(step, 1), 0, 255)
    table = jnp.where(step > 0, table, jnp.arange(256)[None, None])
    return table[*place, levels] / jnp.float32(255)


def _levels(images: jax.Array) -> jax.Array:
    """White is 255: int32."""
    return jnp.round(255 * images).astype(jnp.int32)
