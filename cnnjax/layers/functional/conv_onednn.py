"""The convolution by oneDNN, where it is installed: a form for float32 on CPU."""

import jax
import jax.numpy as jnp

from cnnjax.layers.functional.conv_geometry import Geometry
from cnnjax.layers.functional.conv_operation import Form
from cnnjax.onednn import calls
from cnnjax.onednn.convolutions import Spec


def is_installed() -> bool:
    """Whether oneDNN is there and can be called from compiled programs on CPU."""
    return calls.available()


def is_usable(x: jax.Array, kernel: jax.Array) -> bool:
    """Whether oneDNN is there and computes in the type of these arrays."""
    return x.dtype == kernel.dtype == jnp.float32 and is_installed()


def output(geometry: Geometry, x, kernel):
    """The convolution."""
    spec = _spec("forward", geometry, x.shape, kernel.shape)
    shape = (x.shape[0], *spec.out, kernel.shape[3])
    return calls.call(spec, shape, x, kernel)


def input_gradient(geometry: Geometry, x_shape, kernel, cotangent):
    """The gradient of the images."""
    spec = _spec("input_gradient", geometry, x_shape, kernel.shape)
    return calls.call(spec, x_shape, kernel, cotangent)


def kernel_gradient(geometry: Geometry, kernel_shape, x, cotangent):
    """The gradient of the filters."""
    spec = _spec("kernel_gradient", geometry, x.shape, kernel_shape)
    return calls.call(spec, kernel_shape, x, cotangent)


BY_ONEDNN = Form("oneDNN", output, input_gradient, kernel_gradient)


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
