"""Stages, the last features, and effective receptive fields, of many nets."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cnnjax.analysis.profile import profile_model
from cnnjax.models.registry import create_model, list_models
from cnnjax.views.passes import DoesNotApply, logits_of
from cnnjax.views.saliency import gradient
from cnnjax.views.signals import along_depth, effective_field, effective_side
from cnnjax.views.stages import feature_maps, penultimate_of, stages_of
from tests.models.entries import (
    DEEP,
    FEW,
    SHALLOW,
    one_seed,
    smallest_shape,
)
from tests.slow import slow_but


def net_of(name):
    net = create_model(name, **SHALLOW.get(name, {}))
    shape = smallest_shape(net, 3)
    return net, shape


# Without a position: layers see the whole image.
FLAT = set(list_models("mlp*"))
NAMES = [name for name in list_models() if name not in DEEP]


@pytest.mark.parametrize("name", slow_but(("lenet5_published",), NAMES))
def test_views_of_every_net(name):
    """Stages, fields and gradients of each entry, in one program, on a small image."""
    net, shape = net_of(name)
    variables = one_seed(net, shape)
    images = np.random.RandomState(0).standard_normal((2, *shape)).astype(np.float32)
    targets = np.array([0, 1])
    has_maps = name not in FLAT
    paths = [place.path for place in stages_of(net, shape)] if has_maps else []
    if not has_maps:
        with pytest.raises(DoesNotApply, match="no maps"):
            stages_of(net, shape)

    @jax.jit
    def run(variables, x):
        maps = feature_maps(net, variables, x, paths) if paths else {}
        fields = {p: effective_field(net, variables, x, p) for p in paths[:1]}
        last = penultimate_of(net, variables, x)
        return maps, fields, last, gradient(net, variables, x, targets)

    maps, fields, last, slope = jax.tree.map(np.asarray, run(variables, images))
    assert last.shape[0] == 2
    assert last.ndim == 2
    assert np.isfinite(slope).all()
    for path in paths:
        assert maps[path].shape[1] * maps[path].shape[2] > 1
    for field in fields.values():
        assert field.shape == shape[:2]


@pytest.mark.parametrize("name", slow_but(("vgg11_bn_cifar",), FEW))
def test_fields_have_the_size_of_the_profile(name):
    net, shape = net_of(name)
    rows = {layer.name: layer for layer in profile_model(net, shape).layers}
    compared = 0
    for place in stages_of(net, shape):
        if place.path in rows and place.field.spans[1]:
            assert place.extent == rows[place.path].receptive_field
            compared += 1
    assert compared or name != "vgg11_bn_cifar"


def test_last_features_give_the_logits():
    net = create_model("resnet20_cifar", depth=8, widths=(2, 3, 4))
    shape = (8, 8, 3)
    variables = one_seed(net, shape)
    images = np.random.RandomState(0).standard_normal((3, *shape)).astype(np.float32)

    @jax.jit
    def run(variables, x):
        return penultimate_of(net, variables, x), logits_of(net, variables, x)

    last, logits = run(variables, images)
    head = variables["params"]["head"]
    by_hand = np.asarray(last) @ head["kernel"] + head["bias"]
    np.testing.assert_allclose(by_hand, logits, rtol=1e-4, atol=1e-5)


def test_the_effective_field_lies_in_the_theoretical_one():
    net = create_model("resnet20_cifar", depth=8, widths=(2, 2, 2))
    shape = (20, 20, 3)
    variables = one_seed(net, shape)
    images = np.random.RandomState(0).standard_normal((4, *shape)).astype(np.float32)
    place = next(p for p in stages_of(net, shape) if p.path.startswith("stage1"))
    program = jax.jit(lambda v, x: effective_field(net, v, x, place.path))
    field = np.asarray(program(variables, images))
    (top, bottom), (left, right) = place.window(10, 10)
    outside = field.copy()
    outside[max(top, 0) : bottom + 1, max(left, 0) : right + 1] = 0
    assert not outside.any()
    assert field[10, 10] > 0
    assert 1 <= effective_side(field) <= place.extent[0]


def test_side_of_an_effective_field():
    field = np.zeros((9, 9))
    field[2:5, 2:5] = 1
    field[0, 0] = 0.04  # below what counts
    assert effective_side(field) == pytest.approx(3)
    assert effective_side(np.zeros((3, 3))) == 0


def test_sizes_along_the_depth():
    """The response of the first layer and the gradient of its kernel, by hand."""
    net = create_model("resnet20_cifar", depth=8, widths=(2, 2, 2), norm="none")
    shape = (8, 8, 3)
    variables = one_seed(net, shape)
    images = np.random.RandomState(0).standard_normal((5, *shape)).astype(np.float32)
    labels = np.array([0, 1, 2, 3, 4])

    @jax.jit
    def by_hand(variables, x):
        def loss(kernel):
            stem = {**variables["params"]["stem_conv"], "kernel": kernel}
            params = {**variables["params"], "stem_conv": stem}
            logits = logits_of(net, {**variables, "params": params}, x)
            return -jax.nn.log_softmax(logits)[jnp.arange(5), labels].mean()

        kernel = variables["params"]["stem_conv"]["kernel"]
        return jnp.sqrt((jax.grad(loss)(kernel) ** 2).sum())

    found = jax.jit(lambda v, x: along_depth(net, v, x, labels))(variables, images)
    assert len(found) == 7
    response, slope = found["stem_conv"]
    np.testing.assert_allclose(slope, by_hand(variables, images), rtol=1e-4)
    maps = jax.jit(lambda v, x: feature_maps(net, v, x, ["stem_conv"]))
    first = np.asarray(maps(variables, images)["stem_conv"])
    np.testing.assert_allclose(response, first.std(), rtol=1e-4)


def test_auxiliary_heads_change_no_view():
    """They run in training alone: views see the net of an evaluation."""
    net = create_model("googlenet_cifar", num_blocks=(1, 1, 1), width=0.25)
    shape = smallest_shape(net, 3)
    names = [place.path for place in stages_of(net, shape)]
    assert not any("auxiliary" in name for name in names)
