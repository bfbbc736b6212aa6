"""Sizes of sliding windows, against torch and by hand."""

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from cnnjax.errors import UserError
from cnnjax.layers.conv import Conv
from cnnjax.layers.functional.window import as_padding, as_pair, output_size


def size(length, window, stride, padding=0, **arguments):
    pads = as_padding(padding)
    pairs = map(as_pair, (length, window, stride))
    return output_size(*pairs, pads, **arguments)[0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((227, 11, 4), 55),  # AlexNet, as published
        ((224, 11, 4, 2), 55),  # AlexNet, in torchvision
        ((224, 7, 2, 3), 112),  # GoogLeNet, ResNet
        ((32, 5, 1), 28),  # LeNet-5
        ((32, 5, 1, 2), 32),
        ((7, 3, 3), 2),
    ],
)
def test_sizes_of_known_layers(arguments, expected):
    assert size(*arguments) == expected


@settings(deadline=None, max_examples=200)
@given(
    length=st.integers(1, 40),
    window=st.integers(1, 7),
    stride=st.integers(1, 4),
    padding=st.integers(0, 3),
    ceil_mode=st.booleans(),
)
def test_windows_are_counted(length, window, stride, padding, ceil_mode):
    """The size is the number of places where a window starts."""
    assume(2 * padding <= window)  # as torch demands of pools
    padded = length + 2 * padding
    starts = [s for s in range(0, padded, stride) if s + window <= padded]
    if ceil_mode and padded >= window and starts[-1] + window < padded:
        # One more reaches over the end, unless it starts within the last padding.
        starts += [starts[-1] + stride] * (starts[-1] + stride < length + padding)
    if starts:
        assert size(length, window, stride, padding, ceil_mode=ceil_mode) == len(starts)


def test_exact_windows_name_the_sizes_that_fit():
    with pytest.raises(UserError) as caught:
        size(224, 11, 4, exact=True, layer="conv1")
    assert str(caught.value) == (
        "conv1: (224 - 11 + 0) / 4 + 1 is not a whole number of windows: the nearest "
        "input sizes that fit are 223 and 227 (config.data.image_size, --input_size)"
    )
    for fits in (223, 227):
        assert size(fits, 11, 4, exact=True) == size(fits, 11, 4)


@settings(deadline=None, max_examples=100)
@given(
    length=st.integers(8, 60),
    window=st.integers(1, 7),
    stride=st.integers(2, 4),
    padding=st.integers(0, 3),
)
def test_the_sizes_that_are_named_are_the_nearest(length, window, stride, padding):
    def fits(length):
        return (length + 2 * padding - window) % stride == 0

    if fits(length):
        size(length, window, stride, padding, exact=True)
        return
    below = max(n for n in range(length) if fits(n))
    above = min(n for n in range(length, length + stride + 1) if fits(n))
    with pytest.raises(UserError, match=f"are {below} and {above} "):
        size(length, window, stride, padding, exact=True)


def test_an_exact_convolution():
    conv = Conv(2, 3, 2, exact=True)
    params = {"kernel": jnp.ones((3, 3, 1, 2))}
    y = conv.apply({"params": params}, jnp.ones((1, 7, 9, 1)))
    np.testing.assert_array_equal(y, np.full((1, 3, 4, 2), 9.0))
    with pytest.raises(
        UserError, match=r"^convolution: \(8 - 3 \+ 0\) / 2 \+ 1 is not"
    ):
        conv.apply({"params": params}, jnp.ones((1, 7, 8, 1)))
    rest = Conv(2, 3, 2).apply({"params": params}, jnp.ones((1, 7, 8, 1)))
    assert rest.shape == (1, 3, 3, 2)


def test_padding_by_name_is_refused():
    with pytest.raises(UserError, match="padding 'SAME' is not explicit"):
        as_padding("SAME")


@pytest.mark.parametrize(
    ("length", "padding", "dilation"),
    [(8, 255, 1), (1000, 2001, 1), (32, 3 * 400, 400)],
)
def test_the_widest_padding(length, padding, dilation):
    """255, what a map twice as large takes, and what a dilated window reaches."""
    arguments = {"dilation": (dilation, dilation)}
    expected = length + 2 * padding - 3 * dilation
    assert size(length, 4, 1, padding, **arguments) == expected
    with pytest.raises(UserError, match="almost nothing but padding"):
        size(length, 4, 1, padding + 1, **arguments)
