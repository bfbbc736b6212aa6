"""Receptive fields against arithmetic by hand, and against what gradients reach."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from jax import lax

from cnnjax.analysis.profile import profile_model
from cnnjax.analysis.receptive_field import Field, of_image, propagate
from cnnjax.layers.conv import Conv
from cnnjax.layers.pool import AvgPool, MaxPool
from cnnjax.models.registry import create_model

SIDE = 40


def field_of(function, side=SIDE):
    """(rows, columns) that the centre of `function(image)` depends on, and all."""
    image = jax.ShapeDtypeStruct((1, side, side, 1), np.float32)
    traced = jax.make_jaxpr(function)(image)
    (field,) = propagate(traced.jaxpr, [of_image(4)], {})
    return field


def extent(field):
    sizes = {axis: high - low + 1 for axis, (low, high) in field.mixed.items()}
    sizes |= {s.axis: max(s.size, sizes.get(s.axis, 0)) for s in field.spans if s}
    return sizes[0], sizes[1]


def reached(function, side=SIDE):
    """The same, found by asking which pixels have a gradient."""
    image = np.random.RandomState(0).standard_normal((1, side, side, 1))
    shape = jax.eval_shape(function, jnp.asarray(image, jnp.float32)).shape
    row, column = shape[1] // 2, shape[2] // 2
    gradient = jax.grad(lambda x: function(x)[0, row, column].sum())(
        jnp.asarray(image, jnp.float32)
    )
    rows, columns = np.nonzero(np.asarray(gradient)[0, :, :, 0])
    return int(np.ptp(rows)) + 1, int(np.ptp(columns)) + 1


def conv(x, size, stride=1, padding=0, dilation=1):
    kernel = jnp.ones((size, size, x.shape[-1], 2), jnp.float32)
    pads = [(padding, padding)] * 2
    return lax.conv_general_dilated(
        x,
        kernel,
        (stride, stride),
        pads,
        rhs_dilation=(dilation, dilation),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
    )


def average(x, window, stride, padding=0):
    return AvgPool(window, stride, padding).apply({}, x)


CHAINS = {
    "three 3x3": (lambda x: conv(conv(conv(x, 3), 3), 3), 7),
    "7x7": (lambda x: conv(x, 7), 7),
    "two 3x3": (lambda x: conv(conv(x, 3), 3), 5),
    "strided": (lambda x: conv(conv(x, 3, stride=2), 3), 7),
    "dilated": (lambda x: conv(conv(x, 3, dilation=2), 3), 7),
    "pooled": (lambda x: conv(average(conv(x, 3), 2, 2), 3), 8),
    "large pool": (lambda x: conv(average(x, 4, 2), 3), 8),
    "residual": (lambda x: x[:, 1:-1, 1:-1].sum(-1, keepdims=True) + conv(x, 3), 3),
    "branches": (
        lambda x: jnp.concatenate([conv(x, 3, padding=1), conv(x, 5, padding=2)], -1),
        5,
    ),
    "subsampled": (lambda x: conv(x[:, ::2, ::2], 3), 5),
    "transposed": (lambda x: conv(x.transpose(0, 2, 1, 3), 3), 3),
    "reshaped": (lambda x: conv(x.reshape(1, SIDE, SIDE, 1, 1)[..., 0], 3), 3),
    "flipped branch": (lambda x: conv(x, 3, padding=1) + x[:, ::-1].mean(), SIDE),
}


@pytest.mark.parametrize("case", CHAINS)
def test_by_hand_and_by_gradient(case):
    function, size = CHAINS[case]
    assert extent(field_of(function)) == (size, size)
    if case != "flipped branch":
        assert reached(function) == (size, size)


def test_the_two_axes_are_apart():
    def function(x):
        kernel = jnp.ones((1, 7, 1, 1), jnp.float32)
        y = lax.conv_general_dilated(
            x, kernel, (1, 1), "VALID", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        return conv(y.transpose(0, 2, 1, 3), 3)

    assert extent(field_of(function)) == reached(function) == (3, 9)


def test_what_mixes_all_sees_all():
    for function in (
        lambda x: x.mean((1, 2)),
        lambda x: x.reshape(1, -1) @ jnp.ones((SIDE * SIDE, 3)),
        lambda x: x * x.mean((1, 2), keepdims=True),
        lambda x: jnp.sort(x.reshape(1, -1)),
        lambda x: jnp.fft.fft2(x[..., 0]).real,
    ):
        assert extent(field_of(function)) == (SIDE, SIDE)


def test_what_comes_from_no_image_sees_nothing():
    field = field_of(lambda x: jnp.ones((3, 4)) @ jnp.ones((4, 5)))
    assert field == Field((None, None), {})


def test_a_scan_runs_its_body_as_often():
    def function(x):
        body = lambda y, _: (conv(y, 3, padding=1)[..., :1], None)  # noqa: E731
        return lax.scan(body, x, None, length=5)[0]

    assert extent(field_of(function)) == (11, 11)


def test_of_a_net_with_and_without_scanned_blocks():
    arguments = {"depth": 14, "widths": (4, 8)}
    fields = [
        profile_model(create_model("resnet20_cifar", **arguments, scan_blocks=s), SHAPE)
        .layers[-1]
        .receptive_field
        for s in (False, True)
    ]
    assert fields[0] == fields[1]


SHAPE = (32, 32, 3)


class Users(nn.Module):
    """A module as somebody else would write it, with Flax's own layers."""

    @nn.compact
    def __call__(self, images, *, train: bool):
        x = nn.Conv(4, (5, 5), padding="VALID", name="theirs")(images)
        x = nn.max_pool(x, (2, 2), (2, 2))
        x = Conv(6, 3, name="ours")(x)
        return MaxPool(3, 2, name="pool")(x)


def test_of_a_users_module():
    image = jax.ShapeDtypeStruct((1, *SHAPE), np.float32)
    net = Users()
    variables = jax.eval_shape(
        lambda k, x: net.init(k, x, train=False), jax.random.key(0), image
    )
    assert jax.tree.leaves(variables)
    rows = {row.name: row for row in profile_model(net, SHAPE).layers}
    assert rows["theirs"].receptive_field == (5, 5)
    assert rows["ours"].receptive_field == (10, 10)  # 5, 6 behind the pool, 2 * 2 more
    assert rows["pool"].receptive_field == (14, 14)
    assert rows["theirs"].multiply_adds == 28 * 28 * 4 * 75
    assert rows["ours"].multiply_adds == 12 * 12 * 6 * 36
    assert rows["theirs"].params == 304
