"""The same convolution in several forms, each fast on CPU for some shapes.

`choose_form` picks one by shapes alone.
"""

import dataclasses

import jax.numpy as jnp
from jax import lax

from cnnjax.layers.functional.channels import per_channel
from cnnjax.layers.functional.conv_geometry import Geometry
from cnnjax.layers.functional.conv_operation import LAYOUT, Form, convolve, plain

# One convolution per group beyond this would take too long to compile.
MAX_UNROLLED_GROUPS = 32


def canonical_input_gradient(geometry: Geometry, x_shape, kernel, cotangent):
    """The cotangent, spread by the stride, convolved with the flipped kernel."""
    cotangent = lax.optimization_barrier(cotangent)  # as in the other gradient
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
        dimension_numbers=LAYOUT,
    )


def canonical_kernel_gradient(geometry: Geometry, kernel_shape, x, cotangent):
    """The input, channels as batch, convolved with the cotangent as a large kernel."""
    # Without the barrier XLA fuses the layer before (norm, activation) into the
    # transposes below and computes it again, in a bad order.
    x, cotangent = lax.optimization_barrier((x, cotangent))
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
        dimension_numbers=LAYOUT,
    )
    return gradient.transpose(1, 2, 0, 3)  # [C, h, w, O] -> [h, w, C, O]


CANONICAL = Form(
    "canonical", plain, canonical_input_gradient, canonical_kernel_gradient
)


def _strided_and_dilated(geometry: Geometry) -> bool:
    axes = zip(geometry.strides, geometry.dilation, strict=True)
    return any(stride > 1 and step > 1 for stride, step in axes)


def spread_kernel(geometry: Geometry, x, kernel):
    """A dilated convolution as a larger one, with zeros between the taps.

    XLA for CPU (jax 0.10.2 and 0.12.0) aborts the process on some gradients of
    convolutions that are both strided and dilated, the plain `lax` ones included.
    """
    sizes = [
        step * (taps - 1) + 1
        for taps, step in zip(kernel.shape[:2], geometry.dilation, strict=True)
    ]
    # A scatter, because XLA folds an interior `lax.pad` back into the dilation.
    spread = jnp.zeros((*sizes, *kernel.shape[2:]), kernel.dtype)
    spread = spread.at[:: geometry.dilation[0], :: geometry.dilation[1]].set(kernel)
    return convolve(
        dataclasses.replace(geometry, dilation=(1, 1)), CANONICAL, x, spread
    )


def pointwise(geometry: Geometry, x, kernel):
    """A 1x1 convolution without padding, as one dot over the channels."""
    x = x[:, :: geometry.strides[0], :: geometry.strides[1]]
    return lax.dot_general(x, kernel[0, 0], (((3,), (0,)), ((), ())))


def matrix_product(geometry: Geometry, x, kernel):
    """A convolution as one dense matrix [H W C, H' W' O].

    For a map smaller than the kernel: the matrix is hardly larger than the kernel, and
    has fewer zeros than patches would have padding.
    """
    n, height, width, channels = x.shape
    out, features = geometry.output_size(x.shape, kernel.shape), kernel.shape[3]
    rows = _taps(height, out[0], kernel.shape[0], geometry, 0)
    columns = _taps(width, out[1], kernel.shape[1], geometry, 1)
    zero = jnp.zeros((channels, features), kernel.dtype)

    def seen_from(row, column):  # [C, H' W' O]
        blocks = [
            zero if i is None or j is None else kernel[i, j]
            for i in row
            for j in column
        ]
        return jnp.concatenate(blocks, axis=1)

    matrix = jnp.concatenate([seen_from(row, col) for row in rows for col in columns])
    flat = x.reshape(n, height * width * channels)
    return (flat @ matrix).reshape(n, *out, features)


def _taps(size, out, window, geometry: Geometry, axis) -> list[list[int | None]]:
    """For each input position, the tap through which each output sees it, if any."""
    low, stride, step = (
        geometry.padding[axis][0],
        geometry.strides[axis],
        geometry.dilation[axis],
    )

    def tap(position, output):
        index, rest = divmod(position + low - stride * output, step)
        return index if rest == 0 and 0 <= index < window else None

    return [[tap(position, o) for o in range(out)] for position in range(size)]


def patches_product(geometry: Geometry, x, kernel):
    """A convolution with fewer outputs than taps, as one dot over gathered patches."""
    out = geometry.output_size(x.shape, kernel.shape)
    patches = jnp.concatenate(list(_shifts(geometry, x, kernel.shape, out)), axis=3)
    flat = kernel.reshape(-1, kernel.shape[3])
    return lax.dot_general(patches, flat, (((3,), (0,)), ((), ())))


def _shifts(geometry: Geometry, x, kernel_shape, out):
    """What each tap sees, in the order of the kernel: one [N, H', W', C] per tap."""
    (rows, columns), (sy, sx) = geometry.padding, geometry.strides
    x = lax.pad(
        x, jnp.zeros((), x.dtype), ((0, 0, 0), (*rows, 0), (*columns, 0), (0, 0, 0))
    )
    for i in range(kernel_shape[0]):
        for j in range(kernel_shape[1]):
            y0, x0 = i * geometry.dilation[0], j * geometry.dilation[1]
            y1, x1 = y0 + sy * (out[0] - 1) + 1, x0 + sx * (out[1] - 1) + 1
            yield x[:, y0:y1:sy, x0:x1:sx]


def shifted_products(geometry: Geometry, x, kernel):
    """A depthwise convolution as a sum of shifted images times one tap each."""
    multiplier = kernel.shape[3] // x.shape[3]
    x = jnp.repeat(x, multiplier, axis=3) if multiplier > 1 else x
    out = geometry.output_size(x.shape, kernel.shape)
    weights = kernel.reshape(-1, kernel.shape[3])
    shifts = _shifts(geometry, x, kernel.shape, out)
    return sum(
        seen * per_channel(weight, seen)
        for seen, weight in zip(shifts, weights, strict=True)
    )


def per_group(geometry: Geometry, x, kernel):
    """A grouped convolution as one convolution per group."""
    one = dataclasses.replace(geometry, groups=1)
    images = jnp.split(x, geometry.groups, axis=3)
    kernels = jnp.split(kernel, geometry.groups, axis=3)
    form = choose_form(images[0].shape, kernels[0].shape, one)
    outputs = [convolve(one, form, i, k) for i, k in zip(images, kernels, strict=True)]
    return jnp.concatenate(outputs, axis=3)


PLAIN = Form("plain", plain)
POINTWISE = Form("pointwise", pointwise)
MATRIX_PRODUCT = Form("matrix_product", matrix_product)
PATCHES_PRODUCT = Form("patches_product", patches_product)
SPREAD_KERNEL = Form("spread_kernel", spread_kernel)
SHIFTED_PRODUCTS = Form("shifted_products", shifted_products)
PER_GROUP = Form("per_group", per_group)


def choose_form(x_shape, kernel_shape, geometry: Geometry) -> Form:
    """The form of this file that ran fastest on CPU, forward and backward together."""
    taps = kernel_shape[0] * kernel_shape[1]
    if geometry.groups == x_shape[-1] > 1:
        return SHIFTED_PRODUCTS
    if geometry.groups > MAX_UNROLLED_GROUPS:
        return PLAIN
    if geometry.groups > 1:
        return PER_GROUP
    if taps == 1 and geometry.padding == ((0, 0), (0, 0)):
        return POINTWISE
    out = geometry.output_size(x_shape, kernel_shape)
    num_inputs, num_outputs = x_shape[1] * x_shape[2], out[0] * out[1]
    if num_inputs < taps and num_inputs * num_outputs <= 2 * taps:
        return MATRIX_PRODUCT
    if num_outputs < taps:
        return PATCHES_PRODUCT
    if _strided_and_dilated(geometry):
        return SPREAD_KERNEL
    return CANONICAL
