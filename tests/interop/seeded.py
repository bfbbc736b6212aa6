"""Weights and images made from a seed, the same on every machine.

Used by the recording script beside this file and by the tests, so that a record holds
names and outputs and no weights. NumPy's `RandomState` is frozen.
"""

import zlib

import numpy as np


def values_of(name, shape, salt=""):
    """Standard normal values seeded by a name."""
    seed = zlib.crc32((salt + name).encode())
    return np.random.RandomState(seed).standard_normal(shape)


def seeded_weights(shapes):
    """Name -> float64 values, scaled so that activations of a deep net stay bounded.

    Args:
      shapes: name -> shape, as in a state dict of torch, without counters.
    """
    weights = {}
    for name, shape in shapes.items():
        values = values_of(name, shape)
        if name.endswith("running_var"):
            values = 1 + 0.5 * np.abs(values)
        elif len(shape) > 1:
            values *= np.sqrt(2 / np.prod(shape[1:]))
        else:
            values = 0.2 * values + (1 if name.endswith("weight") else 0)
        weights[name] = values
    return weights


def seeded_images(num_images, size):
    """[N, H, W, 3], float64."""
    return values_of("images", (num_images, size, size, 3))


def seeded_labels(num_images):
    return np.arange(num_images) * 7 % 10


def projection(name, values):
    """A random projection of an array, which changes if any value is wrong."""
    return float((np.asarray(values) * values_of(name, np.shape(values), "on")).sum())
