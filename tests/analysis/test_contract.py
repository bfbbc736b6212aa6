"""What layers do with a batch, found in the traced program of a net."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn

from cnnjax.analysis.contract import Findings, examine
from cnnjax.errors import UserError
from cnnjax.layers.batch_norm import BatchNorm
from cnnjax.models.registry import create_model, variant
from cnnjax.net.initialize import abstract_variables
from tests import ordinary
from tests.models.entries import ARCHITECTURES

SHAPE = (8, 8, 1)


def look(net, shape=SHAPE, num_classes=3):
    return examine(net, abstract_variables(net, shape), shape, num_classes)


def around(layer):
    return look(ordinary.Around(layer))


class OverImages(nn.Module):
    """Mixes the images of a batch, in training or always."""

    always: bool = False

    @nn.compact
    def __call__(self, x, *, train):
        if train or self.always:
            x = x - x.mean(0, keepdims=True)
        return x


@pytest.mark.parametrize("name", ["convnet_digits", "resnet20_cifar"])
@pytest.mark.parametrize("norm", ["batch", "group"])
def test_our_nets_ask_for_the_batch_by_name(name, norm):
    entry = variant(name)
    found = look(create_model(name, norm=norm), entry.input_shape, entry.num_classes)
    assert found == Findings()
    assert found.of_parts() is None


@pytest.mark.slow
@pytest.mark.parametrize("name", ARCHITECTURES)
def test_all_our_nets_do(name):
    entry = variant(name)
    found = look(create_model(name), entry.input_shape, entry.num_classes)
    assert found == Findings()


@pytest.mark.parametrize(
    ("layer", "found"),
    [
        (ordinary.Gain(), Findings()),
        (ordinary.Counting(), Findings()),
        (OverImages(), Findings(mixes="layer")),
        (ordinary.Averaging(), Findings(keeps="layer")),
        (ordinary.Noise(), Findings(draws="layer")),
        (BatchNorm(0.9, 1e-5, None, "biased"), Findings(fixed="layer")),
    ],
)
def test_layers_of_others(layer, found):
    assert around(layer) == found


def test_flax_layers():
    assert look(ordinary.Net()) == Findings(mixes="norm")

    class Dropping(nn.Module):
        @nn.compact
        def __call__(self, images, *, train):
            x = nn.Dense(4, kernel_init=ordinary.normal)(images.mean((1, 2)))
            x = nn.LayerNorm()(nn.Dropout(0.5, deterministic=not train, name="drop")(x))
            return nn.Dense(3, kernel_init=ordinary.normal)(x)

    assert look(Dropping()) == Findings(draws="drop")


class Wrong(nn.Module):
    """Breaks the contract in one of several ways."""

    how: str

    @nn.compact
    def __call__(self, images, *, train):
        x = images.mean((1, 2))
        steps = self.variable("counts", "steps", jnp.zeros, ())
        if self.how == "changes" and not self.is_initializing():
            steps.value += 1
        if self.how == "type" and train:
            steps.value = jnp.zeros((), jnp.int32)
        if self.how == "late" and train:
            x = nn.Dense(3, name="only_in_training")(x)
        if self.how == "whole":
            x = x + self.param("count", lambda key: jnp.zeros((), jnp.int32))
        x = nn.Dense(4 if self.how == "width" else 3, kernel_init=ordinary.normal)(x)
        return {"logits": x} if self.how == "dict" else x


@pytest.mark.parametrize(
    ("net", "words"),
    [
        (Wrong("changes"), "cannot be trained.*counts.*evaluation neither"),
        (Wrong("type"), r"turns the collections .*float32\[\].* into .*int32\[\]"),
        (Wrong("late"), "only_in_training.*made with train=False"),
        (Wrong("whole"), "parameter count is of type int32"),
        (Wrong("width"), r"logits \[images, 3 classes\].*float32\[2, 4\]"),
        (Wrong("dict"), r"logits \[images, 3 classes\].*'logits'"),
        (ordinary.Around(OverImages(True)), "layer layer computes with all images"),
        (ordinary.Around(ordinary.Noise("noise")), "noise.*stream 'dropout'"),
    ],
)
def test_breaches_are_sentences(net, words):
    with pytest.raises(UserError, match=words):
        look(net)


def test_names_of_device_axes_are_refused():
    class Named(nn.Module):
        @nn.compact
        def __call__(self, images, *, train):
            norm = nn.BatchNorm(use_running_average=not train, axis_name="data")
            return nn.Dense(3, kernel_init=ordinary.normal)(norm(images).mean((1, 2)))

    with pytest.raises(UserError, match=r"names an axis of devices.*mode=jit"):
        look(Named())


def test_a_norm_over_the_batch_in_evaluation_is_refused():
    class Always(nn.Module):
        @nn.compact
        def __call__(self, images, *, train):
            x = nn.BatchNorm(use_running_average=False)(images)
            return nn.Dense(3, kernel_init=ordinary.normal)(x.mean((1, 2)))

    with pytest.raises(UserError, match="batch_stats"):
        look(Always())


def test_one_image_is_computed_as_among_others():
    """What is found is what is so: by numbers, for the two that differ."""
    x = np.random.RandomState(0).randn(4, *SHAPE).astype(np.float32)
    for layer, same in ((ordinary.Gain(), True), (OverImages(), False)):
        net = ordinary.Around(layer)
        variables = net.init(jax.random.key(0), x, train=False)
        alone = net.apply(variables, x[:1], train=True)
        together = net.apply(variables, x, train=True)[:1]
        assert np.allclose(alone, together, atol=1e-5) == same
        assert (around(layer).mixes is None) == same
