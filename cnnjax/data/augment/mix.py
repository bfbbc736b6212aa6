"""Mixup and cutmix: an example and another one of the batch become one.

The partner is given by a random permutation; share and box are those of the whole
batch. With both, each batch is mixed in one of the two ways, by a coin.
"""

import jax
import jax.numpy as jnp

from cnnjax.data.augment.erase import inside
from cnnjax.data.augment.given import Given, own
from cnnjax.data.cutting.boxes import Box
from cnnjax.shard import shard

NAMES = ("mixup_alpha", "cutmix_alpha")
Mixed = tuple[jax.Array, jax.Array]


def mix(given: Given, images: jax.Array, targets: jax.Array) -> Mixed:
    """Mixes images and targets as the amounts ask for it."""
    if not given["cutmix_alpha"]:
        return mixup(given, images, targets)
    if not given["mixup_alpha"]:
        return cutmix(given, images, targets)
    coin = jax.random.bernoulli(given.key("mixup or cutmix"), jnp.float32(0.5))
    both = mixup(given, images, targets), cutmix(given, images, targets)
    return jax.tree.map(lambda a, b: jnp.where(coin, a, b), *both)


def mixup(given: Given, images: jax.Array, targets: jax.Array) -> Mixed:
    """Mean of two examples, weighted by a share that is Beta(alpha, alpha).

    Source: Zhang et al. 2018, arXiv 1710.09412, section 2 and the authors' code.
    """
    share, partner = _draw(given.key("mixup_alpha"), given["mixup_alpha"], len(images))

    def blend(x: jax.Array) -> jax.Array:
        return share * x + (1 - share) * shard().gather(x)[partner]

    return blend(images), blend(targets)


def cutmix(given: Given, images: jax.Array, targets: jax.Array) -> Mixed:
    """Pastes a box of another example; targets are mixed by its share of the area.

    Of the area the box has 1 - Beta(alpha, alpha), less what sticks out.

    Source: Yun et al. 2019, arXiv 1905.04899, section 3.1.
    """
    num, height, width, _ = images.shape
    key, key_place = jax.random.split(given.key("cutmix_alpha"))
    share, partner = _draw(key, given["cutmix_alpha"], num)
    place = jax.random.uniform(key_place, (2,), jnp.float32)
    box = cutmix_box(share, place, height, width)
    pasted = inside(Box(*(x[None, None] for x in box)), height, width)
    images = jnp.where(pasted, shard().gather(images)[partner], images)
    kept = 1 - box.height * box.width / jnp.float32(height * width)
    return images, kept * targets + (1 - kept) * shard().gather(targets)[partner]


def cutmix_box(share: jax.Array, place: jax.Array, height: int, width: int) -> Box:
    """The box that is pasted: int32 scalars.

    Args:
      share: of the area that the image keeps.
      place: uniform draws [2], for the centre.
      height: of the image.
      width: of the image.
    """
    radius = 0.5 * jnp.sqrt(1 - share)

    def extent(draw: jax.Array, side: int) -> tuple[jax.Array, jax.Array]:
        centre = jnp.floor(draw * side).astype(jnp.int32)
        half = jnp.floor(radius * side).astype(jnp.int32)
        start = jnp.maximum(centre - half, 0)
        return start, jnp.minimum(centre + half, side) - start

    top, box_height = extent(place[0], height)
    left, box_width = extent(place[1], width)
    return Box(top, left, box_height, box_width)


def _draw(key: jax.Array, alpha: float, num: int) -> tuple[jax.Array, jax.Array]:
    """The share of the batch that stays, and the partner of each image, int32 [B]."""
    key_share, key_partner = jax.random.split(key)
    share = jax.random.beta(key_share, alpha, alpha, dtype=jnp.float32)
    return share, own(num, lambda n: jax.random.permutation(key_partner, n))
