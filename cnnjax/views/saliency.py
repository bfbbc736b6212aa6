"""Which pixels a logit depends on: by gradients, and by covering them.

All functions are pure, of (network, variables, images, targets), and give signed maps
[N, H, W, C]; each image is attributed by itself, because an evaluation sees no batch.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cnnjax.views.passes import chosen, logits_of


def gradient(
    network: nn.Module, variables: Any, images: jax.Array, targets: jax.Array
) -> jax.Array:
    """The gradient of a logit with respect to the image.

    Args:
      network: a net of `create_model`.
      variables: {'params': ..., other collections}.
      images: float [N, H, W, C], as the net takes them.
      targets: int [N], the class of each image whose logit is looked at.

    Returns:
      [N, H, W, C], signed.

    Source: Simonyan et al. 2013, arXiv 1312.6034, section 3.
    """

    def score(x):
        return chosen(logits_of(network, variables, x), targets).sum()

    return jax.grad(score)(images)


def gradient_times_input(
    network: nn.Module, variables: Any, images: jax.Array, targets: jax.Array
) -> jax.Array:
    """The gradient times the image; arguments and result as of `gradient`.

    Source: Shrikumar et al. 2016, arXiv 1605.01713.
    """
    return images * gradient(network, variables, images, targets)


def _weighted(
    network: nn.Module,
    variables: Any,
    targets: jax.Array,
    weights: np.ndarray,
    image: Callable[[jax.Array], jax.Array],
) -> jax.Array:
    """The sum of weights[k] * the gradient at image(k), one k after another."""
    first = image(jnp.zeros((), int))

    def add(total, of_step):
        weight, k = of_step
        return total + weight * gradient(network, variables, image(k), targets), None

    steps = jnp.asarray(weights, first.dtype), jnp.arange(len(weights))
    return jax.lax.scan(add, jnp.zeros_like(first), steps)[0]


def integrated_gradients(
    network: nn.Module,
    variables: Any,
    images: jax.Array,
    targets: jax.Array,
    baseline: jax.Array | float = 0.0,
    steps: int = 50,
) -> jax.Array:
    """The mean gradient on the way from a baseline to the image, times that way.

    The sum over an image is logit(image) - logit(baseline), up to the error of the sum.

    Args:
      network: as of `gradient`.
      variables: as of `gradient`.
      images: as of `gradient`.
      targets: as of `gradient`.
      baseline: where the way starts; 0 is the mean colour of standardised images.
      steps: points of the Gauss-Legendre rule.

    Source: Sundararajan et al. 2017, arXiv 1703.01365.
    """
    points, weights = np.polynomial.legendre.leggauss(steps)
    way, places = images - baseline, jnp.asarray((1 + points) / 2, images.dtype)
    given = network, variables, targets, weights / 2
    return way * _weighted(*given, lambda k: baseline + places[k] * way)


def noise(images: jax.Array, seed: int, samples: int, share: float) -> jax.Array:
    """Normal noise [samples, N, H, W, C] of a share of each image's range."""
    axes = tuple(range(1, images.ndim))
    spread = jnp.ptp(images, axis=axes, keepdims=True)
    shape = (samples, *images.shape)
    drawn = jax.random.normal(jax.random.key(seed), shape, images.dtype)
    return share * spread[None] * drawn


def smooth_grad(
    network: nn.Module,
    variables: Any,
    images: jax.Array,
    targets: jax.Array,
    seed: int = 0,
    samples: int = 25,
    share: float = 0.15,
) -> jax.Array:
    """The mean gradient over noisy copies of the image, the same for a seed.

    Args:
      network: as of `gradient`.
      variables: as of `gradient`.
      images: as of `gradient`.
      targets: as of `gradient`.
      seed: of the noise.
      samples: copies.
      share: standard deviation of the noise, as a share of the range of the image.

    Source: Smilkov et al. 2017, arXiv 1706.03825.
    """
    added = noise(images, seed, samples, share)
    given = network, variables, targets, np.full(samples, 1 / samples)
    return _weighted(*given, lambda k: images + added[k])


def by_gradients(
    network: nn.Module,
    variables: Any,
    images: jax.Array,
    targets: jax.Array,
    seed: int = 0,
    *,
    steps: int = 32,
    samples: int = 16,
) -> dict[str, jax.Array]:
    """The four methods above at once, in a program that compiles one gradient.

    Args:
      network: as of `gradient`.
      variables: as of `gradient`.
      images: as of `gradient`.
      targets: as of `gradient`.
      seed: of SmoothGrad.
      steps: of the integrated gradients, from 0.
      samples: of SmoothGrad.

    Returns:
      Name of the method -> [N, H, W, C].
    """
    points, weights = np.polynomial.legendre.leggauss(steps)
    places = np.concatenate([[1.0], (1 + points) / 2, np.ones(samples)])
    kinds = np.zeros((len(places), 3))  # what a gradient counts for: plain, way, noise
    kinds[0, 0] = 1
    kinds[1 : 1 + steps, 1] = weights / 2
    kinds[1 + steps :, 2] = 1 / samples
    added = noise(images, seed, samples, 0.15)
    added = jnp.concatenate([jnp.zeros((1 + steps, *images.shape)), added])

    def add(totals, of_step):
        place, kind, move = of_step
        slope = gradient(network, variables, place * images + move, targets)
        return totals + kind[:, None, None, None, None] * slope[None], None

    start = jnp.zeros((3, *images.shape), images.dtype)
    arrays = (jnp.asarray(each, images.dtype) for each in (places, kinds, added))
    (plain, way, smooth), _ = jax.lax.scan(add, start, tuple(arrays))
    return {
        "gradient": plain,
        "gradient x input": images * plain,
        "integrated gradients": images * way,
        "SmoothGrad": smooth,
    }


def occlusion(
    network: nn.Module,
    variables: Any,
    images: jax.Array,
    targets: jax.Array,
    window: int = 8,
    stride: int = 4,
    fill: float = 0.0,
) -> jax.Array:
    """What a logit loses by covering a square, averaged over the squares of a pixel.

    The last squares of a row or column may reach beyond the image.

    Args:
      network: as of `gradient`.
      variables: as of `gradient`.
      images: as of `gradient`.
      targets: as of `gradient`.
      window: side of the square in pixels.
      stride: pixels from one square to the next, at most `window`.
      fill: what the square has instead; 0 is the mean colour of standardised images.

    Returns:
      [N, H, W, 1].

    Source: Zeiler and Fergus 2013, arXiv 1311.2901, section 4.2.
    """
    size = images.shape[1:3]
    starts = [stride * np.arange(-(-max(s - window, 0) // stride) + 1) for s in size]
    corners = jnp.asarray(np.stack(np.meshgrid(*starts, indexing="ij"), -1))
    whole = chosen(logits_of(network, variables, images), targets)
    rows, columns = jnp.arange(size[0])[:, None], jnp.arange(size[1])[None, :]

    def add(sums, corner):
        row, column = corner
        covered = (rows >= row) & (rows < row + window)
        covered &= (columns >= column) & (columns < column + window)
        covered = covered[None, :, :, None]
        x = jnp.where(covered, jnp.asarray(fill, images.dtype), images)
        lost = whole - chosen(logits_of(network, variables, x), targets)
        total, count = sums
        total += lost[:, None, None, None] * covered
        return (total, count + covered), None

    shape = (len(images), *size, 1)
    start = jnp.zeros(shape, whole.dtype), jnp.zeros((1, *size, 1), whole.dtype)
    (total, count), _ = jax.lax.scan(add, start, corners.reshape(-1, 2))
    return total / count
