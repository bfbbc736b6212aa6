"""How alike what two layers make of the same images is.

Source: Kornblith et al. 2019, arXiv 1905.00414, section 3.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np


def cka(first: np.ndarray, second: np.ndarray) -> float:
    """Linear centred kernel alignment of two sets of features of the same images.

    Args:
      first: [N, ...], any shape per image.
      second: [N, ...], likewise; the same images in the same order.

    Returns:
      0 to 1; 1 where one is a rotation and a factor of the other; NaN where the
      features of one are the same for all images.
    """
    return float(cka_matrix([first], [second])[0, 0])


def cka_matrix(first: Sequence[np.ndarray], second: Sequence[np.ndarray]) -> np.ndarray:
    """`cka` of each of the first with each of the second, in float64."""
    ours, theirs = (
        np.stack([kernel(np, np.asarray(each, float)) for each in features])
        for features in (first, second)
    )
    return ours @ theirs.T


def alignment(first: Any, second: Any) -> Any:
    """`cka` of arrays of JAX, in float32 at least; pure."""
    wide = (
        jnp.asarray(x, jnp.promote_types(x.dtype, "float32")) for x in (first, second)
    )
    ours, theirs = (kernel(jnp, x) for x in wide)
    return ours @ theirs


def kernel(library: Any, features: Any) -> Any:
    """The centred products of images with images, as a vector [N^2] of length 1.

    Args:
      library: numpy or jax.numpy.
      features: float [N, ...], an array of it.
    """
    flat = features.reshape(len(features), -1)
    flat = flat - flat.mean(axis=0, keepdims=True)
    # Whatever their scale is, their fourth powers are numbers then.
    largest = abs(flat).max()
    flat = flat / library.where(largest > 0, largest, library.nan)
    product = (flat @ flat.T).ravel()
    return product / library.sqrt((product**2).sum())
