"""The convolution by oneDNN, where it is installed: a form for float32 on CPU.

Each of the three operations (output, gradient of the images, gradient of the filters)
is linear in both of its arguments, and their derivatives are the other two: that is why
any number of derivatives in reverse mode can be taken.
"""

import functools

import jax
import jax.numpy as jnp

from cnnjax.layers.functional.conv_geometry import Geometry
from cnnjax.onednn import calls
from cnnjax.onednn.convolutions import Spec


def is_installed() -> bool:
    """Whether oneDNN is there and can be called from compiled programs on CPU."""
    return calls.available()


def is_usable(x: jax.Array, kernel: jax.Array) -> bool:
    """Whether oneDNN is there and computes in the type of these arrays."""
    return x.dtype == kernel.dtype == jnp.float32 and is_installed()


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def by_onednn(geometry: Geometry, x, kernel):
    """The convolution; a `Form` of `conv_cpu`."""
    spec = _spec("forward", geometry, x.shape, kernel.shape)
    shape = (x.shape[0], *spec.out, kernel.shape[3])
    return calls.call(spec, shape, x, kernel)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _of_input(geometry, x_shape, kernel, y):
    spec = _spec("input_gradient", geometry, x_shape, kernel.shape)
    return calls.call(spec, x_shape, kernel, y)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _of_kernel(geometry, kernel_shape, x, y):
    spec = _spec("kernel_gradient", geometry, x.shape, kernel_shape)
    return calls.call(spec, kernel_shape, x, y)


def _forward(geometry, x, kernel):
    return by_onednn(geometry, x, kernel), (x, kernel)


def _backward(geometry, residuals, y):
    x, kernel = residuals
    return (
        _of_input(geometry, x.shape, kernel, y),
        _of_kernel(geometry, kernel.shape, x, y),
    )


def _of_input_forward(geometry, x_shape, kernel, y):
    return _of_input(geometry, x_shape, kernel, y), (kernel, y)


def _of_input_backward(geometry, x_shape, residuals, x):
    kernel, y = residuals
    return _of_kernel(geometry, kernel.shape, x, y), by_onednn(geometry, x, kernel)


def _of_kernel_forward(geometry, kernel_shape, x, y):
    return _of_kernel(geometry, kernel_shape, x, y), (x, y)


def _of_kernel_backward(geometry, kernel_shape, residuals, kernel):
    x, y = residuals
    return _of_input(geometry, x.shape, kernel, y), by_onednn(geometry, x, kernel)


by_onednn.defvjp(_forward, _backward)
_of_input.defvjp(_of_input_forward, _of_input_backward)
_of_kernel.defvjp(_of_kernel_forward, _of_kernel_backward)


def _spec(kind, geometry: Geometry, x_shape, kernel_shape) -> Spec:
    (top, bottom), (left, right) = geometry.padding
    return Spec(
        kind,
        tuple(x_shape),
        tuple(kernel_shape),
        geometry.output_size(x_shape, kernel_shape),
        geometry.strides,
        (top, bottom, left, right),
        geometry.dilation,
        geometry.groups,
    )
