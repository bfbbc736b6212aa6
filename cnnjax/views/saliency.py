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

AT_ONCE = 64  # images whose gradients are computed together


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
    images_at: Callable[[jax.Array], jax.Array],
) -> jax.Array:
    """Sums of gradients at many images, as many of these at once as are worth it.

    Args:
      network: as of `gradient`.
      variables: as of `gradient`.
      targets: int [N].
      weights: [K], or [K, sums] for several sums.
      images_at: numbers [k] from 0 to K - 1 -> images [k, N, H, W, C].

    Returns:
      [N, H, W, C], or [sums, N, H, W, C].
    """
    count, num = len(weights), len(targets)
    at_once = max(1, min(count, AT_ONCE // num))
    rows = -(-count // at_once)
    # The last row is filled up with images that do not count.
    filled = np.zeros((rows * at_once, *weights.shape[1:]))
    filled[:count] = weights
    numbers = jnp.arange(rows * at_once).reshape(rows, at_once) % count
    many = jnp.tile(jnp.asarray(targets), at_once)

    def add(total, of_row):
        weight, k = of_row
        x = images_at(k)
        flat = x.reshape(-1, *x.shape[2:])
        slopes = gradient(network, variables, flat, many).reshape(x.shape)
        return total + jnp.tensordot(weight, slopes, axes=(0, 0)), None

    example = jax.eval_shape(images_at, numbers[0])
    start = jnp.zeros((*weights.shape[1:], *example.shape[1:]), example.dtype)
    weighted = jnp.asarray(filled, example.dtype)
    weighted = weighted.reshape(rows, at_once, *weights.shape[1:])
    return jax.lax.scan(add, start, (weighted, numbers))[0]


def _scales(values: np.ndarray, like: jax.Array) -> jax.Array:
    """Numbers [K] as [K, 1, 1, 1, 1]."""
    return jnp.asarray(values, like.dtype).reshape(-1, 1, 1, 1, 1)


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
    way, back = images - baseline, _scales((1 - points) / 2, images)
    given = network, variables, targets, weights / 2
    return way * _weighted(*given, lambda k: images[None] - back[k] * way[None])


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
    return _weighted(*given, lambda k: images[None] + added[k])


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
    clean = jnp.zeros((1 + steps, *images.shape), images.dtype)
    added = jnp.concatenate([clean, noise(images, seed, samples, 0.15)])
    scales = _scales(places, images)
    plain, way, smooth = _weighted(
        *(network, variables, targets, kinds),
        lambda k: scales[k] * images[None] + added[k],
    )
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
