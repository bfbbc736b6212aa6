"""Folded nets give the logits of the trained ones, or a sentence that says why not."""

import functools

import jax
import numpy as np
import pytest
from flax import linen as nn
from flax.core import meta
from flax.traverse_util import flatten_dict

from cnnjax.analysis.folding import fold_batch_norm
from cnnjax.errors import UserError
from cnnjax.layers.conv import Conv
from cnnjax.layers.conv_norm_act import ConvNormAct
from cnnjax.layers.norm import Norm
from cnnjax.layers.ordinary import as_function
from cnnjax.models.registry import create_model, list_models, variant
from cnnjax.net.forward import forward_eval
from cnnjax.net.initialize import abstract_variables
from tests import ordinary
from tests.models.entries import (
    ARCHITECTURES,
    SHALLOW,
    STRUCTURES,
    few_by_default,
    images_of,
    one_seed,
    smallest_shape,
)
from tests.slow import slow_but

# Norms before the convolutions, or behind dense layers, whose vectors become maps.
NOT_FOLDED = ("preact_resnet", "wide_resnet16", "wide_resnet2", "wide_resnet4")
NOT_FOLDED += ("densenet", "mlp", "lenet5")


def foldable(name):
    return not name.startswith(NOT_FOLDED)


def trained(name, arguments):
    """A net with batch norm in float64, and variables far from their start."""
    model = create_model(name, norm="batch", dtype="float64", **arguments)
    shape = smallest_shape(model, variant(name).input_shape[-1])
    stream = np.random.RandomState(0)
    variables = jax.tree.map(
        lambda v: v + 0.2 * np.abs(stream.standard_normal(v.shape)) * (v.ndim == 1),
        one_seed(model, shape),
    )
    return model, variables, shape


def logits_of(model, variables, images):
    state = {c: tree for c, tree in variables.items() if c != "params"}
    run = jax.jit(lambda p, s, x: forward_eval(model, p, s, x))
    return np.asarray(run(variables["params"], state, images))


@pytest.mark.parametrize(
    "name",
    slow_but(
        ("resnet20_cifar",),
        filter(foldable, [*ARCHITECTURES, "preact_resnet18"]),
    ),
)
def test_logits_stay(name):
    with jax.enable_x64(True):
        model, variables, shape = trained(name, SHALLOW.get(name, {}))
        bare, folded = fold_batch_norm(model, variables, shape)
        images = images_of(shape)[:2]
        before = logits_of(model, variables, images)
        after = logits_of(bare, folded, images)
    assert set(folded) == {"params"}
    scale = np.abs(before).max()
    np.testing.assert_allclose(after / scale, before / scale, atol=1e-10)
    paths = flatten_dict(folded["params"], sep="/")
    assert not any(path.endswith("/scale") for path in paths)


@pytest.mark.parametrize("name", few_by_default(STRUCTURES))
def test_every_structure_folds_or_says_why_not(name):
    model, shape = create_model(name, norm="batch"), variant(name).input_shape
    declared = meta.unbox(abstract_variables(model, shape))
    variables = jax.tree.map(lambda v: np.zeros(v.shape, np.float32), declared)
    if foldable(name):
        fold_batch_norm(model, variables, shape)
        return
    with pytest.raises(UserError, match=r"batch norms follow no convolution.*norm"):
        fold_batch_norm(model, variables, shape)


def test_nets_without_batch_norm_have_nothing_to_fold():
    model = create_model("mlp", norm="none")
    with pytest.raises(UserError, match="nothing to fold"):
        fold_batch_norm(model, one_seed(model, (4, 4, 1)), (4, 4, 1))


def test_the_lists_name_entries():
    assert all(any(n.startswith(p) for n in list_models()) for p in NOT_FOLDED)


class Halved(Conv):
    """Not linear in its kernel as ours are: it would be folded wrongly."""

    @nn.compact
    def __call__(self, x):
        return super().__call__(x) / 2


class Small(nn.Module):
    """One convolution of a choice, a norm, an activation with a parameter."""

    norm: Norm
    conv: type = Conv

    @nn.compact
    def __call__(self, images, *, train):
        conv = functools.partial(self.conv, use_bias=not self.norm.has_bias)
        act = as_function(ordinary.PReLU)
        unit = ConvNormAct(4, 3, conv=conv, norm=self.norm, act=act)
        return unit(images, train=train).mean((1, 2))


def small(conv=Conv):
    model = Small(Norm("batch"), conv)
    variables = one_seed(model, (6, 6, 2))
    return model, jax.tree.map(lambda v: v + 0.3, variables)


def test_activations_with_parameters_are_kept():
    model, variables = small()
    bare, folded = fold_batch_norm(model, variables, (6, 6, 2))
    images = images_of((6, 6, 2))
    assert "PReLU_0" in str(jax.tree.structure(folded))
    np.testing.assert_allclose(
        logits_of(bare, folded, images),
        logits_of(model, variables, images),
        rtol=1e-4,
        atol=1e-5,
    )


@pytest.mark.parametrize("conv", [Halved, ordinary.StandardizedConv])
def test_convolutions_of_others_are_not_folded(conv):
    model, variables = small(conv)
    with pytest.raises(UserError, match="follow no convolution"):
        fold_batch_norm(model, variables, (6, 6, 2))


def test_nets_of_others_are_not_folded():
    net = ordinary.Net()
    variables = one_seed(net, (6, 6, 2))
    with pytest.raises(UserError, match="Net has none"):
        fold_batch_norm(net, variables, (6, 6, 2))
