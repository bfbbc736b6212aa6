"""One convolution function, in the form that XLA runs fast.

XLA on CPU brings convolutions into its fast layout only in the entry computation, so
that a gradient inside a scan, map or while loop runs about a hundred times slower; and
some forms (grouped, depthwise, 1x1, maps smaller than the kernel) have slow gradients
anywhere. `impl='auto'` therefore writes each case in operations that are fast wherever
they stand. `impl='lax'` is the plain operation: the reference for tests, and needed
where forward-mode derivatives are wanted, which a custom gradient forbids.

What is chosen here was measured on CPU only.
"""

import dataclasses
import functools

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.errors import UserError, unknown_name
from cnnjax.layers.window import Padding, Pair, as_padding, as_pair, output_size

IMPLS = ("auto", "lax")
# More groups than this give a program too long to compile; see `_form`.
MAX_UNROLLED_GROUPS = 32

_LAYOUT = ("NHWC", "HWIO", "NHWC")


@dataclasses.dataclass(frozen=True)
class Geometry:
    """The static part of a convolution."""

    strides: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair
    groups: int


def convolution(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: int | Pair = 1,
    padding: Padding = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
    impl: str = "auto",
) -> jax.Array:
    """Two-dimensional convolution (cross-correlation, as everywhere in the field).

    Args:
      x: images.
      kernel: filters, of the same dtype.
      strides: step between outputs.
      padding: zeros around the image, one number or ((top, bottom), (left, right)).
      dilation: step between the taps of a filter.
      groups: number of groups; group g of the outputs sees group g of the inputs.
      impl: 'auto' or 'lax' (see the module).

    Returns:
      The map of responses.

    Raises:
      UserError: if channels do not divide by groups, or the output would vanish.

    Shapes:
      x [N, H, W, C], kernel [h, w, C / groups, O] -> [N, H', W', O].
    """
    geometry = Geometry(
        as_pair(strides), as_padding(padding), as_pair(dilation), groups
    )
    check(x.shape, kernel.shape, geometry)
    if impl == "lax":
        return _lax(geometry, x, kernel)
    if impl == "auto":
        return _form(x.shape, kernel.shape, geometry)(geometry, x, kernel)
    raise unknown_name("convolution", impl, IMPLS, "impl")


def check(
    x_shape, kernel_shape, geometry: Geometry, layer: str = "convolution"
) -> None:
    """Raises a `UserError` unless the shapes can be convolved."""
    channels, features, groups = x_shape[-1], kernel_shape[-1], geometry.groups
    if channels % groups or features % groups:
        raise UserError(
            f"{layer}: {channels} input and {features} output channels must both "
            f"divide by {groups} groups: change the width or the groups (config.model)"
        )
    if kernel_shape[2] * groups != channels:
        raise ValueError(f"{layer}: kernel {kernel_shape} does not fit input {x_shape}")
    output_size(
        x_shape[1:3],
        kernel_shape[:2],
        geometry.strides,
        geometry.padding,
        geometry.dilation,
        layer=layer,
    )


def _form(x_shape, kernel_shape, geometry: Geometry):
    """Chooses the form by shapes alone: (geometry, x, kernel) -> output."""
    window = kernel_shape[:2]
    depthwise = geometry.groups == x_shape[-1] > 1
    if depthwise:
        return _shifted_products
    if geometry.groups > MAX_UNROLLED_GROUPS:
        return _lax
    if geometry.groups > 1:
        return _per_group
    if window == (1, 1) and geometry.padding == ((0, 0), (0, 0)):
        return _pointwise
    if x_shape[1] < window[0] and x_shape[2] < window[1]:
        return _matrix
    return _canonical


def _lax(geometry: Geometry, x, kernel):
    return lax.conv_general_dilated(
        x,
        kernel,
        geometry.strides,
        geometry.padding,
        rhs_dilation=geometry.dilation,
        dimension_numbers=_LAYOUT,
        feature_group_count=geometry.groups,
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _canonical(geometry: Geometry, x, kernel):
    """Plain convolution whose gradients are convolutions in the same fast layout."""
    return _lax(geometry, x, kernel)


def _canonical_forward(geometry, x, kernel):
    return _lax(geometry, x, kernel), (x, kernel)


def _canonical_backward(geometry, residuals, cotangent):
    x, kernel = residuals
    # Without the barrier XLA fuses the layer before (norm, activation) into the
    # transposes below and computes it again, in a bad order.
    x, cotangent = lax.optimization_barrier((x, cotangent))
    return (
        _input_gradient(geometry, x.shape, kernel, cotangent),
        _kernel_gradient(geometry, kernel.shape, x, cotangent),
    )


_canonical.defvjp(_canonical_forward, _canonical_backward)


def _input_gradient(geometry: Geometry, x_shape, kernel, cotangent):
    """The cotangent, spread by the stride, convolved with the flipped kernel."""
    padding = []
    for axis in (0, 1):
        reach = geometry.dilation[axis] * (kernel.shape[axis] - 1)
        low = reach - geometry.padding[axis][0]
        spread = geometry.strides[axis] * (cotangent.shape[1 + axis] - 1) + 1
        # Chosen so that the output has exactly the input's size; rows of the input
        # that no window reaches (size not divisible by the stride) get zeros.
        padding.append((low, x_shape[1 + axis] + reach - spread - low))
    return lax.conv_general_dilated(
        cotangent,
        jnp.flip(kernel, (0, 1)).swapaxes(2, 3),
        (1, 1),
        padding,
        lhs_dilation=geometry.strides,
        rhs_dilation=geometry.dilation,
        dimension_numbers=_LAYOUT,
    )


def _kernel_gradient(geometry: Geometry, kernel_shape, x, cotangent):
    """The input, channels as batch, convolved with the cotangent as a large kernel."""
    padding = []
    for axis in (0, 1):
        low = geometry.padding[axis][0]
        spread = geometry.strides[axis] * (cotangent.shape[1 + axis] - 1) + 1
        reach = geometry.dilation[axis] * (kernel_shape[axis] - 1)
        # Negative where the last rows of the input lie under no window.
        padding.append((low, spread + reach - x.shape[1 + axis] - low))
    gradient = lax.conv_general_dilated(
        x.transpose(3, 1, 2, 0),  # [C, H, W, N]
        cotangent.transpose(1, 2, 0, 3),  # [H', W', N, O]
        geometry.dilation,
        padding,
        rhs_dilation=geometry.strides,
        dimension_numbers=_LAYOUT,
    )
    return gradient.transpose(1, 2, 0, 3)  # [C, h, w, O] -> [h, w, C, O]


def _pointwise(geometry: Geometry, x, kernel):
    """A 1x1 convolution without padding, as one dot over the channels."""
    x = x[:, :: geometry.strides[0], :: geometry.strides[1]]
    return lax.dot_general(x, kernel[0, 0], (((3,), (0,)), ((), ())))


def _matrix(geometry: Geometry, x, kernel):
    """A convolution of a map smaller than the kernel, as one dense matrix.

    Every output sees nearly every input, so the matrix of the linear map, [H W C,
    H' W' O], has few zeros; it is cheaper than patches, most of which are padding.
    """
    n, height, width, channels = x.shape
    window, features = kernel.shape[:2], kernel.shape[3]
    out = output_size(
        (height, width), window, geometry.strides, geometry.padding, geometry.dilation
    )
    rows, columns = (
        _taps(size, out[axis], window[axis], geometry, axis)
        for axis, size in enumerate((height, width))
    )
    zero = jnp.zeros((channels, features), kernel.dtype)
    blocks = [
        [
            kernel[i, j] if i is not None and j is not None else zero
            for i in rows[y]
            for j in columns[x_]
        ]
        for y in range(height)
        for x_ in range(width)
    ]
    matrix = jnp.concatenate([jnp.concatenate(row, axis=1) for row in blocks], axis=0)
    flat = x.reshape(n, height * width * channels)
    return (flat @ matrix).reshape(n, *out, features)


def _taps(size, out, window, geometry: Geometry, axis):
    """For each input position, the kernel index by which each output sees it."""
    low = geometry.padding[axis][0]
    taps = []
    for position in range(size):
        offsets = [position + low - geometry.strides[axis] * o for o in range(out)]
        step = geometry.dilation[axis]
        taps.append(
            [
                offset // step
                if offset % step == 0 and 0 <= offset // step < window
                else None
                for offset in offsets
            ]
        )
    return taps


def _shifted_products(geometry: Geometry, x, kernel):
    """A depthwise convolution as a sum of shifted images times one tap each."""
    window, (sy, sx) = kernel.shape[:2], geometry.strides
    out = output_size(
        x.shape[1:3], window, geometry.strides, geometry.padding, geometry.dilation
    )
    multiplier = kernel.shape[3] // x.shape[3]
    x = lax.pad(x, jnp.zeros((), x.dtype), _pads(geometry.padding))
    x = jnp.repeat(x, multiplier, axis=3) if multiplier > 1 else x
    total = None
    for i in range(window[0]):
        for j in range(window[1]):
            y0, x0 = i * geometry.dilation[0], j * geometry.dilation[1]
            y1, x1 = y0 + sy * (out[0] - 1) + 1, x0 + sx * (out[1] - 1) + 1
            term = x[:, y0:y1:sy, x0:x1:sx] * kernel[i, j, 0]
            total = term if total is None else total + term
    return total


def _pads(padding):
    return ((0, 0, 0), (*padding[0], 0), (*padding[1], 0), (0, 0, 0))


def _per_group(geometry: Geometry, x, kernel):
    """A grouped convolution as one convolution per group."""
    one = dataclasses.replace(geometry, groups=1)
    images = jnp.split(x, geometry.groups, axis=3)
    kernels = jnp.split(kernel, geometry.groups, axis=3)
    form = _form(images[0].shape, kernels[0].shape, one)
    outputs = [form(one, i, k) for i, k in zip(images, kernels, strict=True)]
    return jnp.concatenate(outputs, axis=3)
