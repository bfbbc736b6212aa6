"""Filters: their order, their pairs in other nets, and dead ones."""

import jax
import numpy as np
import pytest

from cnnjax.errors import UserError
from cnnjax.models.registry import create_model
from cnnjax.views.passes import DoesNotApply
from cnnjax.views.weights import filters, matched, pictures, responses
from tests.models.entries import one_seed

SHAPE = (8, 8, 3)
NET = create_model("resnet20_cifar", depth=8, widths=(6, 6, 6))


def variables_of(kernel=None):
    variables = one_seed(NET, SHAPE)
    if kernel is not None:
        variables["params"]["stem_conv"]["kernel"] = kernel
    return variables


KERNEL = np.asarray(variables_of()["params"]["stem_conv"]["kernel"])
IMAGES = np.zeros((1, *SHAPE), np.float32)


def test_strongest_first_and_dead_ones():
    kernel = KERNEL * np.array([1, 5, 0.001, 2, 0, 1])
    found = filters(NET, variables_of(kernel), IMAGES)
    assert found.path == "stem_conv"
    norms = np.sqrt((kernel**2).sum(axis=(0, 1, 2)))
    np.testing.assert_array_equal(found.units, np.argsort(-norms, kind="stable"))
    assert found.units[0] == 1
    assert sorted(found.units[found.dead]) == [2, 4]
    varies = np.array([0.01, 1, 1, 0.5, 0, 1])  # after the norm behind it
    found = filters(NET, variables_of(kernel), IMAGES, varies=varies)
    assert sorted(found.units[found.dead]) == [0, 4]
    for unit, own in zip(found.units, found.kernels, strict=True):
        np.testing.assert_allclose(own, kernel[..., unit], rtol=1e-6)
    assert np.abs(pictures(found)).max() == 1


def test_responses_are_those_behind_the_norm():
    """A small filter that batch norm makes large again is alive."""
    variables = variables_of(KERNEL * np.array([1, 1e-3, 1, 1, 1, 1]))
    statistics = variables["batch_stats"]["stem_norm"]
    statistics["var"] = np.array([1, 1e-6, 1, 1, 1, 1], np.float32)
    variables["params"]["stem_norm"]["scale"] = np.array([1, 1, 0, 1, 1, 1.0], "f")
    images = np.random.RandomState(0).standard_normal((4, *SHAPE)).astype("f")
    found = jax.jit(lambda v, x: responses(NET, v, x, "stem_conv"))(variables, images)
    found = np.asarray(found)
    assert found[2] == 0
    assert np.delete(found, 2).min() > 0.1


def test_a_permuted_net_is_paired_filter_by_filter():
    order = np.array([4, 2, 0, 5, 1, 3])
    noise = np.random.RandomState(0).standard_normal(KERNEL.shape)
    near = (KERNEL + 0.02 * KERNEL.std() * noise)[..., order]
    first = filters(NET, variables_of(), IMAGES)
    second, alike = matched(filters(NET, variables_of(near), IMAGES), first)
    np.testing.assert_array_equal(order[second.units], first.units)
    assert alike.min() > 0.99


def test_other_layers_and_what_has_no_filters():
    found = filters(NET, variables_of(), IMAGES, "stage2_block1/conv1")
    assert found.kernels.shape == (6, 3, 3, 6)
    shown = pictures(found)
    strongest = np.abs(found.kernels).sum(axis=(1, 2)).shape
    assert shown.shape == (6, 3, 3, 1)
    assert strongest == (6, 6)
    with pytest.raises(UserError, match="'stem_norm' has no filters"):
        filters(NET, variables_of(), IMAGES, "stem_norm")
    with pytest.raises(DoesNotApply, match="shapes differ"):
        matched(found, filters(NET, variables_of(), IMAGES))


def test_weights_of_a_dense_layer_are_pictures_of_the_image():
    net = create_model("mlp", widths=(5,))
    variables = one_seed(net, SHAPE)
    found = filters(net, variables, IMAGES)
    assert found.kernels.shape == (5, *SHAPE)
    image = np.random.RandomState(1).standard_normal(SHAPE)
    kernel = np.asarray(variables["params"][found.path]["kernel"])
    flat = image.transpose(2, 0, 1).ravel() @ kernel  # as `Flatten` puts it
    own = (found.kernels * image).sum(axis=(1, 2, 3))
    np.testing.assert_allclose(own, flat[found.units], rtol=1e-4)
