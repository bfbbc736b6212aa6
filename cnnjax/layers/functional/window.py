"""Sliding windows: what sizes, strides and padding mean for convolution and pooling."""

from collections.abc import Iterator

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.errors import UserError

# Windows and paddings beyond this are a slip, unless images are as large.
MOST_TAPS = 255

Pair = tuple[int, int]
Padding = int | tuple[Pair, Pair]


def as_pair(value: int | Pair) -> Pair:
    """A size given as one number or as (height, width), as a pair."""
    return (value, value) if isinstance(value, int) else (int(value[0]), int(value[1]))


def as_padding(padding: Padding) -> tuple[Pair, Pair]:
    """Explicit padding, one number or ((top, bottom), (left, right)), as pairs.

    Raises:
      UserError: for 'SAME' and other names, whose meaning depends on the image size.
    """
    if isinstance(padding, int):
        return ((padding, padding), (padding, padding))
    if isinstance(padding, str):
        raise UserError(
            f"padding {padding!r} is not explicit: give one number or "
            "((top, bottom), (left, right)) in the model's code"
        )
    (top, bottom), (left, right) = padding
    return ((int(top), int(bottom)), (int(left), int(right)))


def output_size(
    size: Pair,
    window: Pair,
    strides: Pair,
    padding: tuple[Pair, Pair],
    dilation: Pair = (1, 1),
    *,
    ceil_mode: bool = False,
    exact: bool = False,
    layer: str = "window",
) -> Pair:
    """Height and width of the map that a sliding window gives.

    Args:
      size: height and width of the input.
      window: height and width of the kernel, before dilation.
      strides: step between neighbouring windows.
      padding: rows (top, bottom) and columns (left, right) added to the input.
      dilation: step between neighbouring taps of one window.
      ceil_mode: keep a last window that reaches over the end, if it starts within the
        input or its top or left padding.
      exact: refuse an input of which the last window would leave a rest.
      layer: what to call the layer in the error.

    Raises:
      UserError: if nothing would be left, an exact window leaves a rest, or a number
        is too small to mean anything.
    """
    if min(*window, *strides, *dilation) < 1 or min(*padding[0], *padding[1]) < 0:
        raise UserError(
            f"{layer}: the window {window[0]}x{window[1]}, stride "
            f"{strides[0]}x{strides[1]} and dilation {dilation[0]}x{dilation[1]} must "
            f"be at least 1, and the padding {padding} at least 0 (config.model)"
        )
    if max(window) > max(MOST_TAPS, 2 * max(size) + 1):
        raise UserError(
            f"{layer}: a window of {window[0]}x{window[1]} on a map of "
            f"{size[0]}x{size[1]} sees almost nothing but padding: take a smaller one "
            "(config.model)"
        )
    reach = max(step * (taps - 1) for step, taps in zip(dilation, window, strict=True))
    if max(*padding[0], *padding[1]) > max(MOST_TAPS, 2 * max(size) + 1, reach):
        raise UserError(
            f"{layer}: a padding of {padding} around a map of {size[0]}x{size[1]} "
            "leaves almost nothing but padding: take a smaller one (config.model)"
        )
    sizes = []
    for length, taps, stride, (low, high), step in zip(
        size, window, strides, padding, dilation, strict=True
    ):
        room = low + length + high - (step * (taps - 1) + 1)
        if exact and room > 0 and room % stride:
            low_size = length - room % stride
            raise UserError(
                f"{layer}: ({length} - {step * (taps - 1) + 1} + {low + high}) / "
                f"{stride} + 1 is not a whole number of windows: the nearest input "
                f"sizes that fit are {low_size} and {low_size + stride} "
                "(config.data.image_size, --input_size)"
            )
        count = (-(-room // stride) if ceil_mode else room // stride) + 1
        if ceil_mode and (count - 1) * stride >= low + length:
            count -= 1
        sizes.append(count if room >= 0 or ceil_mode else 0)
    if min(sizes) < 1:
        raise UserError(
            f"{layer}: nothing is left of a {size[0]}x{size[1]} map under a "
            f"{window[0]}x{window[1]} window with stride {strides[0]}x{strides[1]}, "
            f"dilation {dilation[0]}x{dilation[1]} and padding {padding}: "
            "use larger images or a model with less downsampling "
            "(config.data, config.model)"
        )
    return sizes[0], sizes[1]


def pad_map(x: jax.Array, pads: tuple[Pair, Pair], value: float) -> jax.Array:
    """The map with rows and columns of a value around it.

    Shapes: [N, H, W, C] -> [N, top + H + bottom, left + W + right, C].
    """
    config = ((0, 0, 0), (*pads[0], 0), (*pads[1], 0), (0, 0, 0))
    return lax.pad(x, jnp.asarray(value, x.dtype), config)


def slices(
    padded: jax.Array, window: Pair, strides: Pair, out: Pair
) -> Iterator[jax.Array]:
    """One strided slice [N, H', W', C] per tap of the window, in reading order."""
    for i in range(window[0]):
        for j in range(window[1]):
            rows = slice(i, i + strides[0] * (out[0] - 1) + 1, strides[0])
            columns = slice(j, j + strides[1] * (out[1] - 1) + 1, strides[1])
            yield padded[:, rows, columns]
