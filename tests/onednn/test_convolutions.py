"""oneDNN's convolutions in compiled programs, against float64 ones of XLA."""

import functools
from concurrent.futures import ThreadPoolExecutor

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnnjax.layers.conv import Conv
from cnnjax.layers.functional.conv import convolution
from cnnjax.layers.functional.conv_geometry import Geometry
from cnnjax.layers.functional.conv_onednn import BY_ONEDNN
from cnnjax.layers.functional.conv_operation import convolve
from cnnjax.layers.functional.window import as_padding, as_pair
from cnnjax.onednn import calls
from cnnjax.onednn.convolutions import ROLES, Spec
from cnnjax.onednn.library import VARIABLE, library

installed = pytest.mark.skipif(
    jax.default_backend() != "cpu" or not calls.available(),
    reason="oneDNN (onednn-cpu-gomp) is not installed, or this is no CPU",
)
EPSILON = np.finfo(np.float32).eps


def results(x, kernel, cotangent, conv):
    """Output and both gradients."""
    y, pull_back = jax.vjp(conv, x, kernel)
    return (y, *pull_back(cotangent))


def geometry(strides=1, padding=0, dilation=1, groups=1):
    return Geometry(as_pair(strides), as_padding(padding), as_pair(dilation), groups)


def check(image, kernel, features, options, num_images=2):
    """Each value may be off by the rounding of its own sum, and no more.

    A sum of n products in float32 is within n epsilon times the sum of their sizes
    (Higham 2002, section 3.1), in any order.
    """
    stream = np.random.RandomState(0)
    groups = options.get("groups", 1)
    x = stream.randn(num_images, *image).astype(np.float32)
    w = stream.randn(*kernel, image[2] // groups, features).astype(np.float32)
    shape = jax.eval_shape(functools.partial(convolution, **options), x, w).shape
    ct = stream.randn(*shape).astype(np.float32)
    form = functools.partial(convolve, geometry(**options), BY_ONEDNN)
    ours = jax.jit(functools.partial(results, conv=form))(x, w, ct)
    with jax.enable_x64(True):
        conv = functools.partial(convolution, **options, impl="xla")
        exact = functools.partial(results, conv=conv)
        double = [np.float64(a) for a in (x, w, ct)]
        values = jax.jit(exact)(*double)
        sizes = jax.jit(exact)(*map(np.abs, double))
    taps = np.prod(kernel)
    terms = (taps * image[2], taps * features, num_images * shape[1] * shape[2])
    for got, value, size, count in zip(ours, values, sizes, terms, strict=True):
        assert got.dtype == np.float32
        error = np.abs(np.asarray(got) - np.asarray(value))
        assert (error <= count * EPSILON * np.asarray(size)).all()


CASES = {
    "3x3": ((9, 8, 16), (3, 3), 16, {"padding": 1}),
    "narrow": ((6, 7, 3), (3, 3), 5, {"padding": 1}),
    "strided": ((9, 9, 8), (3, 3), 16, {"padding": 1, "strides": 2}),
    "rows left over": ((9, 11, 3), (3, 2), 4, {"strides": (3, 2)}),
    "uneven padding": ((6, 5, 2), (3, 3), 3, {"padding": ((0, 3), (2, 1))}),
    "dilated": ((9, 9, 4), (3, 3), 4, {"padding": 2, "dilation": 2}),
    "strided, dilated": ((9, 9, 4), (2, 2), 4, {"strides": 2, "dilation": (2, 3)}),
    "1x1": ((5, 4, 8), (1, 1), 16, {}),
    "1x1 strided": ((5, 4, 8), (1, 1), 16, {"strides": 2}),
    "7x7": ((20, 20, 3), (7, 7), 8, {"padding": 3, "strides": 2}),
    "whole map": ((4, 3, 3), (4, 3), 4, {}),
    "depthwise": ((6, 5, 16), (3, 3), 16, {"padding": 1, "groups": 16}),
    "depthwise doubled": ((5, 5, 4), (3, 3), 8, {"padding": 1, "groups": 4}),
    "grouped": ((6, 6, 16), (3, 3), 32, {"padding": 1, "groups": 2}),
    "many groups": ((4, 4, 72), (3, 3), 36, {"padding": 1, "groups": 36}),
}


def lowered(impl="auto", images=16, dtype="float32"):
    x = jax.ShapeDtypeStruct((images, 32, 32, 16), dtype)
    w = jax.ShapeDtypeStruct((3, 3, 16, 16), dtype)
    conv = functools.partial(convolution, padding=1, impl=impl)
    return jax.jit(conv).lower(x, w).as_text()


@installed
@pytest.mark.parametrize("case", CASES)
def test_values_and_gradients(case):
    check(*CASES[case])


@installed
@settings(max_examples=12, deadline=None, derandomize=True)
@given(
    size=st.tuples(st.integers(1, 12), st.integers(1, 12)),
    kernel=st.tuples(st.integers(1, 5), st.integers(1, 5)),
    strides=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(*[st.tuples(st.integers(0, 3), st.integers(0, 3))] * 2),
    dilation=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    groups=st.sampled_from([1, 1, 2, 3]),
    widths=st.tuples(st.integers(1, 20), st.integers(1, 20)),
)
def test_random_shapes(size, kernel, strides, padding, dilation, groups, widths):
    for axis in (0, 1):
        reach = dilation[axis] * (kernel[axis] - 1) + 1
        assume(size[axis] + sum(padding[axis]) >= reach)
    channels, features = groups * widths[0], groups * widths[1]
    options = {
        "strides": strides,
        "padding": padding,
        "dilation": dilation,
        "groups": groups,
    }
    check((*size, channels), kernel, features, options)


@installed
def test_it_is_what_auto_calls_for_float32():
    assert calls.TARGET in lowered("auto")
    assert calls.TARGET not in lowered("xla")
    assert calls.TARGET not in lowered("lax")
    with jax.enable_x64(True):
        assert calls.TARGET not in lowered(dtype="float64")
    assert calls.TARGET not in lowered(dtype="bfloat16")
    # So little work is done before Python has been asked.
    assert calls.TARGET not in lowered(images=1)


@installed
def test_threads_get_the_same_bits():
    x = np.random.RandomState(0).randn(16, 16, 16, 16).astype(np.float32)
    w = np.random.RandomState(1).randn(3, 3, 16, 16).astype(np.float32)

    def gradients(shift):
        loss = lambda x, w: (convolution(x, w, padding=1) ** 2).sum()  # noqa: E731
        return jax.jit(jax.grad(loss, (0, 1)))(x + shift, w)

    alone = [gradients(shift) for shift in range(4)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(gradients, range(4)))
    for own, other in zip(alone, together, strict=True):
        jax.tree.map(np.testing.assert_array_equal, own, other)


@installed
def test_a_layer_calls_it():
    conv = Conv(8, 3, padding=1)
    x = jnp.ones((64, 20, 20, 32))
    variables = jax.tree.map(jnp.ones_like, conv.init(jax.random.key(0), x))
    y = jax.jit(conv.apply)(variables, x)
    assert calls.TARGET in jax.jit(conv.apply).lower(variables, x).as_text()
    # Ones everywhere: an output counts the inputs under its window.
    assert float(y[0, 4, 4, 0]) == 9 * 32
    assert float(y[0, 0, 0, 0]) == 4 * 32


@installed
def test_a_refusal_is_an_error_of_the_program():
    """No output may pass for a result when the library has not computed it."""
    spec = Spec(
        "forward", (1, 4, 4, 1), (3, 3, 1, 1), (9, 9), (1, 1), (0,) * 4, (1, 1), 1
    )
    run = jax.jit(lambda x, w: calls.call(spec, (1, 9, 9, 1), x, w))
    with pytest.raises(Exception, match="dnnl_convolution_forward"):
        run(jnp.ones((1, 4, 4, 1)), jnp.ones((3, 3, 1, 1))).block_until_ready()


def test_specs_survive_as_text():
    for kind in ROLES:
        spec = Spec(
            kind, (2, 8, 9, 4), (3, 5, 2, 6), (4, 5), (2, 1), (1, 0, 2, 3), (1, 2), 2
        )
        assert Spec.decode(spec.encode()) == spec


@pytest.mark.parametrize("path", ["", "/no/such/libdnnl.so.3", __file__])
def test_without_the_library_xla_computes(monkeypatch, path):
    monkeypatch.setenv(VARIABLE, path)
    library.cache_clear()
    calls.available.cache_clear()
    try:
        assert library() is None
        assert calls.TARGET not in lowered("auto")
    finally:
        monkeypatch.undo()
        library.cache_clear()
        calls.available.cache_clear()
