"""Multiply-adds against arithmetic by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from cnnjax.analysis.complexity import model_multiply_adds, multiply_adds
from cnnjax.layers.functional.conv import convolution
from cnnjax.models.registry import create_model
from tests.run.tiny import tiny_run


def spec(*shape):
    return jax.ShapeDtypeStruct(shape, np.float32)


def of_net(name, shape, **arguments):
    model = create_model(name, **arguments)
    return model_multiply_adds(model, shape)


def cifar_by_hand(n, side, widths=(16, 32, 64)):
    """3x3 convolutions: outputs x 9 x input channels; then the head."""
    total, before = side**2 * widths[0] * 9 * 3, widths[0]
    for stage, width in enumerate(widths):
        positions = (side // 2**stage) ** 2
        total += positions * width * 9 * before  # first of the stage
        total += (2 * n - 1) * positions * width * 9 * width
        before = width
    return total + widths[-1] * 10


def test_resnet_20_by_hand():
    """Stem 442,368; stages 14,155,776 and twice 12,976,128; head 640."""
    total = 442_368 + 14_155_776 + 2 * 12_976_128 + 640
    assert cifar_by_hand(3, 32) == total
    assert of_net("resnet20_cifar", (32, 32, 3)) == total
    assert of_net("plain20_cifar", (32, 32, 3)) == total


def test_projections_count():
    """The 40.81 M of the public tables is that of nets with option B."""
    extra = 16**2 * 16 * 32 + 8**2 * 32 * 64
    got = of_net("resnet20_cifar", (32, 32, 3), shortcut="B")
    assert got == cifar_by_hand(3, 32) + extra == 40_813_184


def test_maps_smaller_than_the_kernel_count_their_padding():
    """At 8x8 the last maps are 2x2, where convolutions are written as im2col."""
    widths = (8, 16, 32)
    got = of_net("resnet20_cifar", (8, 8, 3), widths=widths)
    assert got == cifar_by_hand(3, 8, widths)


def test_bottlenecks_by_hand():
    """1x1 convolutions are written as dots."""
    got = of_net("resnet20_cifar", (8, 8, 3), depth=11, block="bottleneck")
    total, before = 64 * 16 * 27, 16
    for side, width in ((8, 16), (4, 32), (2, 64)):
        total += side**2 * (before * width + 9 * width * width + width * 4 * width)
        before = 4 * width
    assert got == total + 256 * 10


def test_lenet_and_mlp_by_hand():
    lenet = 28**2 * 6 * 25 + 10**2 * 16 * 150 + 400 * 120 + 120 * 84 + 84 * 10
    assert of_net("lenet5", (28, 28, 1)) == lenet
    assert of_net("mlp", (28, 28, 1)) == 784 * 256 + 256 * 256 + 256 * 10


def test_a_run_counts_one_image():
    run = tiny_run()
    assert run.multiply_adds == 48 * 6 + 6 * 3
    # Forward, and twice that backward, for 9 steps of 8 images.
    assert run.work() == 3 * 9 * 8 * run.multiply_adds


CASES = {
    "3x3": ((1, 8, 8, 4), (3, 3, 4, 6), {"padding": 1}, 64 * 6 * 36),
    "strided": ((1, 8, 8, 4), (3, 3, 4, 6), {"padding": 1, "strides": 2}, 16 * 6 * 36),
    "dilated": ((1, 8, 8, 4), (3, 3, 4, 6), {"padding": 2, "dilation": 2}, 64 * 6 * 36),
    "1x1": ((1, 8, 8, 4), (1, 1, 4, 6), {}, 64 * 24),
    "strided 1x1": ((1, 8, 8, 4), (1, 1, 4, 6), {"strides": 2}, 16 * 24),
    "2x2 map": ((1, 2, 2, 4), (3, 3, 4, 6), {"padding": 1}, 4 * 6 * 36),
    "1x1 map": ((1, 1, 1, 4), (3, 3, 4, 6), {"padding": 1}, 1 * 6 * 36),
    "two images": ((2, 8, 8, 4), (3, 3, 4, 6), {"padding": 1}, 2 * 64 * 6 * 36),
    "grouped": ((1, 8, 8, 4), (3, 3, 2, 6), {"padding": 1, "groups": 2}, 64 * 6 * 18),
    "depthwise": ((1, 8, 8, 4), (3, 3, 1, 4), {"padding": 1, "groups": 4}, 64 * 4 * 9),
}


@pytest.mark.parametrize("impl", ["lax", "auto"])
@pytest.mark.parametrize("case", CASES)
def test_every_form_of_a_convolution_counts_the_same(case, impl):
    x, kernel, arguments, expected = CASES[case]

    def run(x, kernel):
        return convolution(x, kernel, impl=impl, **arguments)

    assert multiply_adds(run, spec(*x), spec(*kernel)) == expected


def test_products_and_what_wraps_them():
    a, b = spec(5, 3, 4), spec(5, 4, 7)
    product = 5 * 3 * 4 * 7
    assert multiply_adds(jnp.matmul, a, b) == product
    assert multiply_adds(jax.jit(jnp.matmul), a, b) == product
    assert multiply_adds(jax.checkpoint(jnp.matmul), a, b) == product
    assert multiply_adds(lambda a, b: jnp.einsum("nij,njk->ik", a, b), a, b) == product
    assert multiply_adds(lambda a, b: (a + 1).sum() * b.sum(), a, b) == 0


def test_a_scan_multiplies():
    def repeated(x, w):
        return lax.scan(lambda y, _: (y @ w, None), x, None, length=6)[0]

    assert multiply_adds(repeated, spec(2, 3), spec(3, 3)) == 6 * 2 * 9

    def mapped(x, w):
        return lax.map(lambda row: row @ w, x)

    assert multiply_adds(mapped, spec(5, 2, 3), spec(3, 3)) == 5 * 2 * 9


def test_of_two_branches_the_dearer_counts():
    def either(x, w):
        return lax.cond(x[0, 0] > 0, lambda: x @ w, lambda: x)

    assert multiply_adds(either, spec(2, 3), spec(3, 3)) == 2 * 9
