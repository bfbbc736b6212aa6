"""The registry for tests: which entries stand for others, and at which small size."""

import jax
import numpy as np

from cnnjax.errors import UserError
from cnnjax.models.registry import list_models, variant
from cnnjax.net.initialize import abstract_variables, init_variables
from tests.slow import slow_but

NUM_IMAGES = 4
SIZES = (8, 16, 28, 32, 48, 64, 67, 80, 96, 112, 128, 160, 192, 224, 227, 299)

# Nets that take long to compile, with fewer blocks of a kind; whole with `-m slow`.
SHALLOW = {
    "googlenet_cifar": {"num_blocks": (1, 1, 1), "width": 0.25},
    "bn_inception": {"num_blocks": (1, 1, 1)},
    "bn_inception_published": {"num_blocks": (1, 1, 1)},
    "inception_v2": {"auxiliary_heads": False},  # which would need 299 pixels
    "inception_v3": {"auxiliary_heads": False},  # likewise
    "inception_v4": {"num_blocks": (1, 1, 1)},
    "inception_resnet_v1": {"num_blocks": (1, 1, 2)},
    "densenetbc100_12_cifar": {"depth": 16},
    "wide_resnet40_1": {"depth": 10},
}


# Hundreds of equal blocks, which take an hour to compile when written out.
DEEP = {"resnet1202_cifar", "plain1202_cifar", "preact_resnet1001_cifar"}


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


# Quick to trace and to compile, and of every kind between them: no norm, plain, with
# branches, with shortcuts behind and before, by concatenation, with groups and gates.
FEW = (
    "lenet5_published",
    "vgg11_bn_cifar",
    "googlenet_cifar",
    "resnet20_cifar",
    "preact_resnet18",
    "densenetbc100_12_cifar",
    "mobilenet_v3_small",
)


def few_by_default(names):
    """Parameters of a test that loops over entries: all but `FEW` are slow."""
    return slow_but(FEW, names)


def smallest_shape(model, channels):
    """The smallest input of a few that a net takes: (side, side, channels)."""
    for side in SIZES:
        try:
            abstract_variables(model, (side, side, channels))
        except UserError:
            continue
        return side, side, channels
    raise AssertionError(f"{model} takes none of the sizes {SIZES}")


def images_of(shape, seed=0):
    stream = np.random.RandomState(seed)
    return stream.standard_normal((NUM_IMAGES, *shape)).astype(np.float32)


def one_seed(model, shape, seed=0):
    variables = init_variables(model, shape, (seed,))
    return jax.tree.map(lambda leaf: leaf[0], variables)
