"""Every form of the convolution against the plain operation, values and gradients."""

import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from jax.sharding import AxisType, PartitionSpec

from cnnjax.errors import UserError
from cnnjax.layers.functional.conv import convolution
from cnnjax.layers.functional.conv_cpu import MAX_UNROLLED_GROUPS, Geometry, choose_form
from cnnjax.layers.functional.window import as_padding

# name: (image, kernel, features, strides, padding, dilation, groups), then the form.
CASES = {
    "3x3": ((6, 7, 4), (3, 3), 5, (1, 1), 1, (1, 1), 1, "canonical"),
    "3x3 strided, even": ((8, 8, 3), (3, 3), 4, (2, 2), 1, (1, 1), 1, "canonical"),
    "rows left over": ((9, 11, 3), (3, 2), 4, (3, 2), 0, (1, 1), 1, "canonical"),
    "uneven padding": (
        (6, 5, 2),
        (3, 3),
        3,
        (2, 1),
        ((0, 3), (2, 1)),
        (1, 1),
        1,
        "canonical",
    ),
    "padding over kernel": ((4, 4, 2), (2, 2), 3, (1, 1), 3, (1, 1), 1, "canonical"),
    "1x1 padded": ((4, 4, 2), (1, 1), 3, (2, 2), 1, (1, 1), 1, "canonical"),
    "dilated": ((9, 9, 2), (3, 3), 3, (1, 1), 2, (2, 2), 1, "canonical"),
    "strided, dilated": ((9, 9, 2), (2, 2), 3, (2, 2), 2, (2, 3), 1, "spread_kernel"),
    "1x1": ((5, 4, 3), (1, 1), 4, (1, 1), 0, (1, 1), 1, "pointwise"),
    "1x1 strided": ((5, 4, 3), (1, 1), 4, (2, 2), 0, (1, 1), 1, "pointwise"),
    "3x3 on 1x1": ((1, 1, 3), (3, 3), 4, (1, 1), 1, (1, 1), 1, "matrix_product"),
    "3x3 on 2x2": ((2, 2, 3), (3, 3), 4, (1, 1), 1, (1, 1), 1, "matrix_product"),
    "2x2 strided": ((2, 2, 3), (3, 3), 4, (2, 2), 1, (1, 1), 1, "matrix_product"),
    "2x2 dilated": ((2, 2, 3), (3, 3), 4, (1, 1), 2, (2, 2), 1, "matrix_product"),
    "4x4 strided": ((4, 4, 3), (3, 3), 4, (2, 2), 1, (1, 1), 1, "patches_product"),
    "whole map": ((4, 3, 3), (4, 3), 4, (1, 1), 0, (1, 1), 1, "patches_product"),
    "patches, holes": ((6, 6, 2), (3, 3), 3, (1, 1), 0, (2, 2), 1, "patches_product"),
    "depthwise": ((6, 5, 4), (3, 3), 4, (2, 1), 1, (1, 1), 4, "shifted_products"),
    "depthwise doubled": (
        (5, 5, 3),
        (3, 3),
        6,
        (1, 1),
        1,
        (2, 2),
        3,
        "shifted_products",
    ),
    "grouped": ((6, 6, 4), (3, 3), 6, (2, 2), 1, (1, 1), 2, "per_group"),
    "grouped 1x1": ((4, 4, 6), (1, 1), 3, (1, 1), 0, (1, 1), 3, "per_group"),
    "many groups": ((4, 4, 72), (3, 3), 36, (1, 1), 1, (1, 1), 36, "plain"),
}


def draw(image, kernel, features, groups, dtype=np.float64, num_images=2):
    stream = np.random.RandomState(0)
    x = stream.randn(num_images, *image)
    weights = stream.randn(*kernel, image[2] // groups, features)
    return jnp.asarray(x, dtype), jnp.asarray(weights, dtype)


def value_and_gradients(conv, x, kernel):
    shape = jax.eval_shape(conv, x, kernel)
    cotangent = np.random.RandomState(1).randn(*shape.shape)

    @jax.jit
    def run(x, kernel, cotangent):
        y, pull_back = jax.vjp(conv, x, kernel)
        return (y, *pull_back(cotangent))

    return run(x, kernel, jnp.asarray(cotangent, shape.dtype))


def check_against_plain(image, kernel, features, strides, padding, dilation, groups):
    """Compares in float64, where all forms agree to rounding.

    The plain operation crashes XLA for some dilated and strided shapes; there, the
    reference is the plain convolution by the kernel with zeros between its taps.
    """
    x, weights = draw(image, kernel, features, groups)
    options = {"strides": strides, "padding": padding, "groups": groups}

    def plain(x, weights):
        sizes = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
        spread = jnp.zeros((*sizes, *weights.shape[2:]), weights.dtype)
        spread = spread.at[:: dilation[0], :: dilation[1]].set(weights)
        return convolution(x, spread, **options, impl="lax")

    fast = functools.partial(convolution, **options, dilation=dilation)
    results = value_and_gradients(fast, x, weights)
    references = value_and_gradients(plain, x, weights)
    for ours, theirs in zip(results, references, strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", CASES)
def test_agrees_with_plain(name):
    *arguments, form = CASES[name]
    image, kernel, features, strides, padding, dilation, groups = arguments
    geometry = Geometry(strides, as_padding(padding), dilation, groups)
    shape = (*kernel, image[2] // groups, features)
    assert choose_form((2, *image), shape, geometry).name == form
    with jax.enable_x64(True):
        check_against_plain(*arguments)


sizes = st.tuples(st.integers(1, 7), st.integers(1, 7))
small = st.tuples(st.integers(1, 3), st.integers(1, 3))
pads = st.tuples(st.integers(0, 3), st.integers(0, 3))


@settings(max_examples=10, deadline=None, derandomize=True)
@given(
    size=sizes,
    kernel=st.tuples(st.integers(1, 4), st.integers(1, 4)),
    strides=small,
    padding=st.tuples(pads, pads),
    dilation=st.one_of(st.just((1, 1)), small),
    groups=st.sampled_from([1, 1, 2, 3]),
    widths=small,
)
def test_agrees_on_random_shapes(
    size, kernel, strides, padding, dilation, groups, widths
):
    for axis in (0, 1):
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        assume(size[axis] + sum(padding[axis]) >= reach)
    channels, features = groups * widths[0], groups * widths[1]
    with jax.enable_x64(True):
        check_against_plain(
            (*size, channels), kernel, features, strides, padding, dilation, groups
        )


def test_choices_name_every_form():
    assert MAX_UNROLLED_GROUPS < 36
    assert {case[-1] for case in CASES.values()} == {
        "canonical",
        "spread_kernel",
        "pointwise",
        "matrix_product",
        "patches_product",
        "shifted_products",
        "per_group",
        "plain",
    }


def layouts_in_scan(impl: str, **options) -> set[str]:
    """Layouts of all convolutions in the compiled gradient of a scan over batches."""
    kernel = jnp.ones((3, 3, 4, 4))

    def loss(kernel, x):
        return jnp.square(convolution(x, kernel, impl=impl, **options)).sum()

    def step(kernel, x):
        # With respect to both, as inside a net.
        of_kernel, of_x = jax.grad(loss, (0, 1))(kernel, x)
        return kernel - of_kernel, of_x

    batches = jnp.ones((3, 8, 12, 12, 4))
    scan = jax.jit(functools.partial(jax.lax.scan, step))
    text = scan.lower(kernel, batches).compile().as_text()
    return set(re.findall(r"dim_labels=(\S+_\S+->\w+)", text))


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="layouts are those of CPU")
@pytest.mark.parametrize("strides", [1, 2])
def test_scanned_gradients_stay_in_the_fast_layout(strides):
    """XLA's CPU backend has a fast kernel for this one layout only, elsewhere a loop.

    A convolution in any other layout is about a hundred times slower; the entry
    computation alone is rewritten (jax-ml/jax#12868), hence the scan.
    """
    options = {"strides": strides, "padding": 1}
    assert layouts_in_scan("xla", **options) == {"b01f_01io->b01f"}
    assert layouts_in_scan("lax", **options) > {"b01f_01io->b01f"}, (
        "XLA now rewrites convolutions inside loops too: measure whether the canonical "
        "form is still needed"
    )


def transformed():
    """Ways in which the rest of the package runs a gradient, over a leading axis."""

    def gradient(x, kernel):
        def loss(x, kernel):
            return jnp.square(convolution(x, kernel, strides=2, padding=1)).sum()

        return jax.grad(loss, (0, 1))(x, kernel)

    def one_by_one(x, kernel):
        pairs = [gradient(a, b) for a, b in zip(x, kernel, strict=True)]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *pairs)

    def scanned(x, kernel):
        return jax.lax.scan(lambda _, pair: (None, gradient(*pair)), None, (x, kernel))[
            1
        ]

    return {
        "one by one": one_by_one,
        "vmap": jax.vmap(gradient),
        "map": lambda x, kernel: jax.lax.map(lambda pair: gradient(*pair), (x, kernel)),
        "scan": scanned,
        "checkpoint": jax.vmap(jax.checkpoint(gradient)),
    }


@pytest.mark.parametrize("way", ["vmap", "map", "scan", "checkpoint"])
def test_transformations(way):
    stream = np.random.RandomState(0)
    x = jnp.asarray(stream.randn(3, 2, 6, 6, 4), jnp.float32)
    kernel = jnp.asarray(stream.randn(3, 3, 3, 4, 5), jnp.float32)
    ways = transformed()
    for ours, theirs in zip(
        jax.jit(ways[way])(x, kernel),
        jax.jit(ways["one by one"])(x, kernel),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)


@pytest.mark.skipif(jax.device_count() < 2, reason="needs two devices")
@pytest.mark.parametrize("check_vma", [True, False])
def test_shared_kernel_under_shard_map(check_vma):
    """Images differ between devices, the kernel does not: its gradient is the sum."""
    x, kernel = draw((6, 6, 4), (3, 3), 5, 1, np.float32)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(AxisType.Auto,))

    def loss(kernel, x):
        return jnp.square(convolution(x, kernel, padding=1)).sum()

    def sharded(x, kernel):
        gradient = jax.grad(loss)(kernel, x)
        # With checked types, the transpose of the kernel's cast has summed already.
        return gradient if check_vma else jax.lax.psum(gradient, "data")

    in_specs = (PartitionSpec("data"), PartitionSpec())
    mapped = jax.shard_map(
        sharded,
        mesh=mesh,
        in_specs=in_specs,
        out_specs=PartitionSpec(),
        check_vma=check_vma,
    )
    expected = jax.grad(loss)(kernel, x)
    np.testing.assert_allclose(
        jax.jit(mapped)(x, kernel), expected, rtol=1e-4, atol=1e-3
    )


@pytest.mark.parametrize("name", CASES)
def test_bfloat16_stays_bfloat16(name):
    image, kernel, features, strides, padding, dilation, groups, _ = CASES[name]
    x, weights = draw(image, kernel, features, groups, jnp.bfloat16)
    conv = functools.partial(
        convolution, strides=strides, padding=padding, dilation=dilation, groups=groups
    )

    def abstract(x, weights):
        y, pull_back = jax.vjp(conv, x, weights)
        return (y, *pull_back(y))

    y, of_x, of_kernel = jax.eval_shape(abstract, x, weights)
    assert {y.dtype, of_x.dtype, of_kernel.dtype} == {jnp.dtype(jnp.bfloat16)}
    assert (of_x.shape, of_kernel.shape) == (x.shape, weights.shape)


def test_bfloat16_is_close_to_float32():
    x, kernel = draw((6, 6, 4), (3, 3), 5, 1, jnp.bfloat16)
    conv = functools.partial(convolution, padding=1)
    exact = value_and_gradients(conv, x.astype(jnp.float32), kernel.astype(jnp.float32))
    for ours, theirs in zip(value_and_gradients(conv, x, kernel), exact, strict=True):
        np.testing.assert_allclose(ours.astype(np.float32), theirs, rtol=0.05, atol=0.3)


def test_second_derivatives_in_reverse_mode():
    x, kernel = draw((5, 5, 2), (3, 3), 3, 1, np.float32)

    def penalty(impl, kernel):
        def loss(x):
            return jnp.square(convolution(x, kernel, padding=1, impl=impl)).sum()

        return jnp.square(jax.grad(loss)(x)).sum()

    ours, theirs = (
        jax.grad(functools.partial(penalty, i))(kernel) for i in ("auto", "lax")
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)


def test_plain_has_forward_mode():
    x, kernel = draw((5, 5, 2), (3, 3), 3, 1, np.float32)
    conv = functools.partial(convolution, padding=1, impl="lax")
    _, tangent = jax.jvp(lambda k: conv(x, k), (kernel,), (kernel,))
    np.testing.assert_allclose(tangent, conv(x, kernel), rtol=1e-5, atol=1e-5)


def test_unknown_impl():
    x, kernel = draw((5, 5, 2), (3, 3), 3, 1, np.float32)
    with pytest.raises(UserError, match="allowed are auto, lax, xla"):
        convolution(x, kernel, impl="fast")


def test_same_padding_is_refused():
    x, kernel = draw((5, 5, 2), (3, 3), 3, 1, np.float32)
    with pytest.raises(UserError, match="not explicit"):
        convolution(x, kernel, padding="SAME")
