"""Initial values of whole nets are those of every earlier version, bit for bit."""

import hashlib

import jax
import numpy as np
import pytest
from flax import traverse_util

from cnnjax.models.registry import create_model
from cnnjax.net.initialize import init_variables

# (net, its arguments, image shape) -> digests of seeds 0 and 1.
GOLDEN = {
    "mlp": ({"widths": (8, 5)}, (4, 4, 1), ("d94a76917c3723d3", "4441f70cd0dee384")),
    "resnet20_cifar": (
        {"depth": 10, "widths": (4, 8), "scan_blocks": False},
        (8, 8, 3),
        ("536e03ebf59dc79a", "07e6c1c6baa5dea1"),
    ),
    "lenet5": ({}, (28, 28, 1), ("b42341e3d56e3da2", "4955995a3ef406d1")),
}


def digest(variables, seed):
    """Of names, shapes and float32 bits of one seed."""
    flat = traverse_util.flatten_dict(variables, sep="/")
    total = hashlib.sha256()
    for path in sorted(flat):
        values = np.asarray(flat[path][seed], "<f4")
        total.update(f"{path} {values.shape}".encode())
        total.update(np.ascontiguousarray(values))
    return total.hexdigest()[:16]


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_digests(name):
    arguments, shape, expected = GOLDEN[name]
    variables = init_variables(create_model(name, **arguments), shape, (0, 1))
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {np.dtype("f4")}
    assert (digest(variables, 0), digest(variables, 1)) == expected, (
        f"initial values of {name} have changed: results of earlier versions cannot be "
        "repeated; if that is wanted, say so in CHANGELOG.md and put the new digests in"
    )
