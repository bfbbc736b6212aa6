"""A convolution and its two gradients as operations (see `operation`).

Each of the three is linear in both of its arguments, and the derivatives of each are
the other two, so that any number of derivatives in either mode can be taken.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from cnnjax.layers.functional.conv_geometry import Geometry
from cnnjax.layers.functional.operation import apply, is_unknown

LAYOUT = ("NHWC", "HWIO", "NHWC")


def plain(geometry: Geometry, x, kernel):
    """The operation as XLA has it."""
    return lax.conv_general_dilated(
        x,
        kernel,
        geometry.strides,
        geometry.padding,
        rhs_dilation=geometry.dilation,
        dimension_numbers=LAYOUT,
        feature_group_count=geometry.groups,
    )


def plain_input_gradient(geometry: Geometry, x_shape, kernel, cotangent, output=plain):
    """The gradient of the images, as derived from the output."""
    x = _of_shape(x_shape, cotangent)
    return jax.vjp(lambda x: output(geometry, x, kernel), x)[1](cotangent)[0]


def plain_kernel_gradient(geometry: Geometry, kernel_shape, x, cotangent, output=plain):
    """The gradient of the filters, as derived from the output."""
    kernel = _of_shape(kernel_shape, cotangent)
    return jax.vjp(lambda kernel: output(geometry, x, kernel), kernel)[1](cotangent)[0]


def _of_shape(shape, like):
    """An array of some shape; within `shard_map` it varies as the other one."""
    return jnp.full(shape, like[(0,) * like.ndim])


@dataclasses.dataclass(frozen=True)
class Form:
    """One way to compute a convolution on CPU.

    All give the same values and the same gradients up to rounding.

    Attributes:
      name: what tables call it.
      output: (geometry, x, kernel) -> output.
      of_input: (geometry, shape of x, kernel, cotangent) -> its gradient; None for what
        follows from the output.
      of_kernel: (geometry, shape of the kernel, x, cotangent) -> its gradient; or None.
    """

    name: str
    output: Callable[..., jax.Array]
    of_input: Callable[..., jax.Array] | None = None
    of_kernel: Callable[..., jax.Array] | None = None


def convolve(geometry: Geometry, form: Form, x, kernel) -> jax.Array:
    """The convolution; on CPU in a form."""
    return apply(_Output(geometry, form), x, kernel)[0]


@dataclasses.dataclass(frozen=True)
class _Output:
    """(x, kernel) -> output."""

    geometry: Geometry
    form: Form

    def plain(self, x, kernel):
        return (plain(self.geometry, x, kernel),)

    def on_cpu(self, x, kernel):
        return (self.form.output(self.geometry, x, kernel),)

    def tangents(self, args, results, tangents):
        return _product_rule(self, args, tangents)

    def transposed(self, args, cotangents):
        x, kernel = args
        of_input = _InputGradient(self.geometry, self.form, x.aval.shape)
        of_kernel = _KernelGradient(self.geometry, self.form, kernel.aval.shape)
        (cotangent,) = cotangents
        if is_unknown(x):
            return [*apply(of_input, kernel, cotangent), None]
        return [None, *apply(of_kernel, x, cotangent)]


@dataclasses.dataclass(frozen=True)
class _InputGradient:
    """(kernel, cotangent of the output) -> cotangent of x."""

    geometry: Geometry
    form: Form
    x_shape: tuple[int, ...]

    def plain(self, kernel, y):
        return (plain_input_gradient(self.geometry, self.x_shape, kernel, y),)

    def on_cpu(self, kernel, y):
        if self.form.of_input:
            return (self.form.of_input(self.geometry, self.x_shape, kernel, y),)
        output = self.form.output
        return (plain_input_gradient(self.geometry, self.x_shape, kernel, y, output),)

    def tangents(self, args, results, tangents):
        return _product_rule(self, args, tangents)

    def transposed(self, args, cotangents):
        kernel, y = args
        (x,) = cotangents
        if is_unknown(kernel):
            shape = kernel.aval.shape
            of_kernel = _KernelGradient(self.geometry, self.form, shape)
            return [*apply(of_kernel, x, y), None]
        return [None, convolve(self.geometry, self.form, x, kernel)]


@dataclasses.dataclass(frozen=True)
class _KernelGradient:
    """(x, cotangent of the output) -> cotangent of the kernel."""

    geometry: Geometry
    form: Form
    kernel_shape: tuple[int, ...]

    def plain(self, x, y):
        return (plain_kernel_gradient(self.geometry, self.kernel_shape, x, y),)

    def on_cpu(self, x, y):
        if self.form.of_kernel:
            return (self.form.of_kernel(self.geometry, self.kernel_shape, x, y),)
        output = self.form.output
        return (plain_kernel_gradient(self.geometry, self.kernel_shape, x, y, output),)

    def tangents(self, args, results, tangents):
        return _product_rule(self, args, tangents)

    def transposed(self, args, cotangents):
        x, y = args
        (kernel,) = cotangents
        if is_unknown(x):
            of_input = _InputGradient(self.geometry, self.form, x.aval.shape)
            return [*apply(of_input, kernel, y), None]
        return [None, convolve(self.geometry, self.form, x, kernel)]


def _product_rule(operation: Any, args, tangents):
    """The tangent of an operation that is linear in both arguments."""
    (a, b), (da, db) = args, tangents
    terms = [apply(operation, da, b)[0]] if da is not None else []
    terms += [apply(operation, a, db)[0]] if db is not None else []
    return [sum(terms[1:], terms[0])]
