"""The registry for tests: which entries stand for others, and at which small size."""

import functools

import jax
import numpy as np

from cnnjax.errors import UserError
from cnnjax.models import create_model, list_models, variant
from cnnjax.models.initialize import abstract_variables, init_variables

NUM_IMAGES = 4
SIZES = (8, 16, 28, 32, 48, 64, 67, 80, 96, 112, 128, 160, 192, 224, 227, 299)

# Compiling is what these tests spend their time on, and each program runs once.
QUICK_TO_COMPILE = {
    "xla_backend_optimization_level": 0,
    "xla_llvm_disable_expensive_passes": True,
}


def _smallest_of_each(key):
    smallest = {}
    for name in list_models():
        other = smallest.setdefault(key(name), name)
        if variant(name).num_params < variant(other).num_params:
            smallest[key(name)] = name
    return list(smallest.values())


def _structure(name):
    """Everything but sizes: entries that differ in it are different programs."""
    entry = variant(name)
    choices = {k: v for k, v in entry.defaults().items() if isinstance(v, str | bool)}
    return entry.build, tuple(sorted(choices.items())), entry.norm["kind"], entry.act


# The smallest entry of each class, and of each class with each set of choices.
ARCHITECTURES = _smallest_of_each(lambda name: variant(name).build)
STRUCTURES = _smallest_of_each(_structure)


@functools.cache
def smallest_shape(name):
    """The smallest input of a few that the net takes: (side, side, channels)."""
    channels = variant(name).input_shape[-1]
    for side in SIZES:
        try:
            abstract_variables(create_model(name), (side, side, channels))
        except UserError:
            continue
        return side, side, channels
    raise AssertionError(f"{name} takes none of the sizes {SIZES}")


def images_for(name, seed=0):
    shape = (NUM_IMAGES, *smallest_shape(name))
    return np.random.RandomState(seed).standard_normal(shape).astype(np.float32)


def one_seed(model, name, seed=0):
    variables = init_variables(model, smallest_shape(name), (seed,))
    return jax.tree.map(lambda leaf: leaf[0], variables)
