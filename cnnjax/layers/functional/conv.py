"""One convolution function, in the form that XLA runs fast.

XLA on CPU brings convolutions into its fast layout only in the entry computation, so
that a gradient inside a scan, map or while loop runs about a hundred times slower; and
some shapes (grouped, depthwise, 1x1, maps smaller than the kernel) have slow gradients
anywhere. And it computes small convolutions at a third of what the machine can. On CPU,
`impl='auto'` therefore calls oneDNN where that is installed, and otherwise writes each
case in operations that are fast wherever they stand: `conv_cpu` holds them,
this file chooses. On other platforms 'auto' is the plain operation, until somebody
measures there.

`impl='lax'` is the plain operation everywhere: the reference for tests.
"""

import math

import jax

from cnnjax.errors import UserError
from cnnjax.layers.functional.conv_cpu import (
    CANONICAL,
    MATRIX_PRODUCT,
    PATCHES_PRODUCT,
    POINTWISE,
    choose_form,
)
from cnnjax.layers.functional.conv_geometry import Geometry
from cnnjax.layers.functional.conv_onednn import BY_ONEDNN, is_usable
from cnnjax.layers.functional.conv_operation import Form, convolve, plain
from cnnjax.layers.functional.implementation import chosen
from cnnjax.layers.functional.varying import equally_varying
from cnnjax.layers.functional.window import Padding, Pair, as_padding, as_pair

# Multiply-adds below which XLA's forms without groups are as fast: a call of oneDNN
# takes Python's lock for some microseconds, for which trainings side by side wait.
SMALLEST_WORK = 5_000_000
SMALL_FORMS = (CANONICAL, POINTWISE, PATCHES_PRODUCT)


def convolution(
    x: jax.Array,
    kernel: jax.Array,
    *,
    strides: int | Pair = 1,
    padding: Padding = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
    impl: str | None = None,
) -> jax.Array:
    """Two-dimensional convolution (cross-correlation, as everywhere in the field).

    Args:
      x: images.
      kernel: filters, of the same dtype.
      strides: step between outputs.
      padding: zeros around the image, one number or ((top, bottom), (left, right)).
      dilation: step between the taps of a filter.
      groups: number of groups; group g of the outputs sees group g of the inputs.
      impl: 'auto', 'xla' (without oneDNN) or 'lax', see the module; None for what
        `implementation` says.

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
    impl = chosen(impl)
    if impl == "lax":
        return plain(geometry, x, kernel)
    x, kernel = equally_varying(x, kernel)
    return convolve(geometry, form_on_cpu(geometry, impl, x, kernel), x, kernel)


def check(
    x_shape,
    kernel_shape,
    geometry: Geometry,
    layer: str = "convolution",
    *,
    exact: bool = False,
) -> None:
    """Raises a `UserError` unless the shapes can be convolved."""
    channels, features, groups = x_shape[-1], kernel_shape[-1], geometry.groups
    if channels % groups or features % groups:
        both = math.gcd(channels, features)
        fits = [n for n in range(1, both + 1) if both % n == 0]
        raise UserError(
            f"{layer}: {channels} input and {features} output channels must both "
            f"divide by {groups} groups: numbers of groups that fit are {fits}; change "
            "the width or the groups (config.model)"
        )
    if kernel_shape[2] * groups != channels:
        raise ValueError(f"{layer}: kernel {kernel_shape} does not fit input {x_shape}")
    geometry.output_size(x_shape, kernel_shape, layer, exact=exact)


def form_on_cpu(geometry: Geometry, impl: str, x: jax.Array, kernel: jax.Array) -> Form:
    """The form that ran fastest on CPU, forward and backward together."""
    form = choose_form(x.shape, kernel.shape, geometry)
    if impl == "xla" or not is_usable(x, kernel):
        return form
    # Maps smaller than the kernel: most of oneDNN's work there is on padding.
    if form is MATRIX_PRODUCT:
        return form
    height, width = geometry.output_size(x.shape, kernel.shape)
    work = x.shape[0] * height * width * kernel.size  # multiply-adds
    is_small = work < SMALLEST_WORK and form in SMALL_FORMS
    return form if is_small else BY_ONEDNN
