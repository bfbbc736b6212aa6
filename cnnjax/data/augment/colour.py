"""Brightness, contrast, saturation, hue and grey, as torchvision defines them.

Images are float32 [B, H, W, C] in which white is 1; results stay from 0 to 1. With
several of them the order is that of this file, where torchvision's ColorJitter draws
the order of the first four.
"""

import jax
import jax.numpy as jnp

from cnnjax.data.augment.given import Given, chosen, factors, uniform

# Shares of red, green and blue in the brightness, ITU-R 601-2.
LUMA = (0.2989, 0.587, 0.114)


def random_brightness(given: Given, images: jax.Array) -> jax.Array:
    """Multiplies each image by a factor."""
    factor = factors(given.key("brightness"), len(images), given["brightness"])
    return blend(images, jnp.float32(0), factor)


def random_contrast(given: Given, images: jax.Array) -> jax.Array:
    """Multiplies the distance of pixels to the mean brightness of their image."""
    factor = factors(given.key("contrast"), len(images), given["contrast"])
    return blend(images, mean_luma(images), factor)


def random_saturation(given: Given, images: jax.Array) -> jax.Array:
    """Multiplies the distance of pixels to their own brightness."""
    factor = factors(given.key("saturation"), len(images), given["saturation"])
    return blend(images, luma(images), factor)


def random_hue(given: Given, images: jax.Array) -> jax.Array:
    """Turns the hue to either side; the amount 0.5 is half the circle of colours."""
    most = given["hue"]
    key = given.key("hue")
    return turn_hue(images, uniform(key, len(images), 1, 1, low=-most, high=most))


def random_grey(given: Given, images: jax.Array) -> jax.Array:
    """Replaces colours by their brightness, with the probability that is the amount."""
    greyed = chosen(given.key("grey"), len(images), given["grey"])
    return jnp.where(greyed, luma(images), images)


def luma(images: jax.Array) -> jax.Array:
    """Brightness of each pixel: [B, H, W, 1]."""
    if images.shape[-1] == 1:
        return images
    red, green, blue = (images[..., i : i + 1] * LUMA[i] for i in range(3))
    return red + green + blue


def mean_luma(images: jax.Array) -> jax.Array:
    """Mean brightness of each image: [B, 1, 1, 1]."""
    return luma(images).mean(axis=(1, 2), keepdims=True)


def blend(images: jax.Array, other: jax.Array, factor: jax.Array) -> jax.Array:
    """`other` and the difference to it times a factor, from 0 to 1."""
    return jnp.clip(factor * images + (1 - factor) * other, 0, 1)


def turn_hue(images: jax.Array, turns: jax.Array) -> jax.Array:
    """Turns the hue with lightness and saturation of HSV as they are.

    Args:
      images: float32 [B, H, W, 3].
      turns: share of the whole circle, [B, 1, 1].

    Source: Smith 1978, "Color gamut transform pairs", of which these are the closed
    forms without a case for each sixth of the circle.
    """
    red, green, blue = (images[..., i] for i in range(3))
    most, least = images.max(axis=-1), images.min(axis=-1)
    spread = most - least
    sixths = jnp.where(
        most == red,
        green - blue,
        jnp.where(most == green, blue - red, red - green),
    ) / jnp.where(spread == 0, 1, spread)
    sixths += jnp.where(most == red, 0, jnp.where(most == green, 2, 4))
    sixths += 6 * turns

    def channel(offset: int) -> jax.Array:
        # The remainder by hand: that of XLA on CPU is no vector operation.
        place = offset + sixths
        place -= 6 * jnp.floor(place / 6)
        return most - spread * jnp.clip(jnp.minimum(place, 4 - place), 0, 1)

    return jnp.stack([channel(offset) for offset in (5, 3, 1)], axis=-1)
