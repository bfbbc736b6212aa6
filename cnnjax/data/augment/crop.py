"""Random crops: of the padded image, or of a part that is resized to all of it."""

import jax
import jax.numpy as jnp

from cnnjax.data.augment.given import Given, own, uniform
from cnnjax.data.cutting import boxes


def random_crop(given: Given, images: jax.Array) -> jax.Array:
    """Pads each side by zeros and cuts the original size at a random place.

    All (2 pad + 1)^2 places are equally likely, for each image by itself.

    Source: He et al. 2015, arXiv 1512.03385, section 4.2 (pad 4).
    """
    pad, key = given["crop_pad"], given.key("crop_pad")
    num, height, width, _ = images.shape
    padded = jnp.pad(images, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    corner = own(
        num, lambda n: jax.random.randint(key, (n, 2), 0, 2 * pad + 1, jnp.int32)
    )
    rows = corner[:, :1] + jnp.arange(height)[None]  # [B, H]
    columns = corner[:, 1:] + jnp.arange(width)[None]  # [B, W]
    # One gather of pixels is fast with and without a flip after it, in a scan or not;
    # a dynamic slice per image loses a factor of 7 when XLA fuses a flip into it.
    place = (jnp.arange(num)[:, None, None], rows[:, :, None], columns[:, None, :])
    return padded.at[place].get(mode="promise_in_bounds")


def random_resized_crop(given: Given, images: jax.Array) -> jax.Array:
    """Cuts a box of random area and aspect, and resizes it to the size of the image.

    The share of the area is uniform between the amount and 1.

    Source: Szegedy et al. 2014, arXiv 1409.4842, section 6 (8% of the area, 4/3).
    """
    num, height, width, _ = images.shape
    key_size, key_place = jax.random.split(given.key("resized_crop"))
    most = given["resized_crop_aspect"]
    box = boxes.resized_crop(
        uniform(key_size, num, boxes.TRIES, 2),
        uniform(key_place, num, 2),
        height,
        width,
        area=(given["resized_crop"], 1.0),
        aspect=(1 / most, most),
    )
    return resize(images, box)


def resize(images: jax.Array, box: boxes.Box) -> jax.Array:
    """Boxes, resized bilinearly to the size of the image; pixels beyond are not seen.

    No box is larger than the image, so there is nothing to smooth.

    Shapes: images [B, H, W, C], each field of the box [B].
    """
    _, height, width, _ = images.shape
    rows = _weights(box.top, box.height, height)
    columns = _weights(box.left, box.width, width)
    # Exact products: the default of an accelerator may be of half precision.
    exact = jax.lax.Precision.HIGHEST
    images = jnp.einsum("bij,bjwc->biwc", rows, images, precision=exact)
    return jnp.einsum("bij,bhjc->bhic", columns, images, precision=exact)


def _weights(start: jax.Array, length: jax.Array, size: int) -> jax.Array:
    """Weight of pixel j in pixel i of the resized box: float32 [B, size, size]."""
    pixels = jnp.arange(size, dtype=jnp.float32)
    start, length = (x.astype(jnp.float32)[:, None] for x in (start, length))
    place = (pixels[None] + 0.5) * (length / size) - 0.5
    place = start + jnp.clip(place, 0, length - 1)  # [B, size]
    distance = jnp.abs(place[:, :, None] - pixels[None, None])
    return jnp.maximum(0, 1 - distance)
