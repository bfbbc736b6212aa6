"""Convolutions of oneDNN on plain NHWC images and HWIO filters, by memory address.

oneDNN computes fast only with filters in a layout of its own; they are small beside the
images, so each call brings them into that layout, or back.
"""

import ctypes
import dataclasses
import threading
from typing import Any

from cnnjax.onednn import library as dnn
from cnnjax.onednn.library import Dims, OneDNN

# Kind -> order of the arrays (images x, outputs y, filters w; the result last), what
# each of them is to the library, and how to ask for its layout of the filters.
ROLES = {
    "forward": ("xwy", dnn.SOURCE, dnn.TARGET, dnn.WEIGHTS, dnn.QUERY_WEIGHTS),
    "input_gradient": (
        "wyx",
        dnn.SOURCE_GRADIENT,
        dnn.TARGET_GRADIENT,
        dnn.WEIGHTS,
        dnn.QUERY_WEIGHTS,
    ),
    "kernel_gradient": (
        "xyw",
        dnn.SOURCE,
        dnn.TARGET_GRADIENT,
        dnn.WEIGHTS_GRADIENT,
        dnn.QUERY_WEIGHTS_GRADIENT,
    ),
}


@dataclasses.dataclass(frozen=True)
class Spec:
    """One convolution, completely: what to compute, shapes and geometry.

    Args:
      kind: a key of `ROLES`.
      images: N, H, W, C.
      kernel: h, w, C / groups, O.
      out: H', W'.
      strides: step between outputs.
      padding: top, bottom, left, right.
      dilation: step between the taps of a filter.
      groups: number of groups.
    """

    kind: str
    images: tuple[int, ...]
    kernel: tuple[int, ...]
    out: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    groups: int

    def encode(self) -> str:
        """A text that `decode` understands; compiled programs carry it."""
        numbers = (
            self.images,
            self.kernel,
            self.out,
            self.strides,
            self.padding,
            self.dilation,
            (self.groups,),
        )
        return " ".join([self.kind, *(",".join(map(str, part)) for part in numbers)])

    @classmethod
    def decode(cls, text: str) -> "Spec":
        kind, *parts = text.split()
        fields: list[Any] = [tuple(map(int, part.split(","))) for part in parts]
        fields[-1] = fields[-1][0]  # the number of groups
        return cls(kind, *fields)


class Convolution:
    """A prepared convolution, for use by one thread."""

    def __init__(self, lib: OneDNN, spec: Spec, num_threads: int):
        self.lib, self.scratch, self.num_threads = lib, _scratch(), num_threads
        # The library divides the work when a primitive is made.
        lib.set_threads(num_threads)
        images = nhwc(lib, spec.images)
        outputs = nhwc(lib, (spec.images[0], *spec.out, spec.kernel[3]))
        kernel, any_kernel = _kernel_layouts(lib, spec)
        description = _describe(lib, spec, images, any_kernel, outputs)
        order, of_images, of_outputs, of_kernel, query = ROLES[spec.kind]
        wanted = lib.layout_of(description, query)
        self.size = lib.num_bytes(wanted)
        self.inner = lib.memory(wanted)
        x, y, w = lib.memory(images), lib.memory(outputs), lib.memory(kernel)
        self.arrays = tuple({"x": x, "y": y, "w": w}[name] for name in order)
        compute = primitive_call(
            lib, description, {of_images: x, of_outputs: y, of_kernel: self.inner}
        )
        if spec.kind == "kernel_gradient":
            self.calls = (compute, _reorder(lib, wanted, self.inner, kernel, w))
        else:
            self.calls = (_reorder(lib, kernel, w, wanted, self.inner), compute)

    def __call__(self, *addresses: int) -> None:
        """Runs on the arrays at these addresses: two inputs, then the result.

        Raises:
          RuntimeError: the library refuses.
        """
        lib = self.lib
        for memory, address in zip(self.arrays, addresses, strict=True):
            lib.place(memory, address)
        lib.place(self.inner, self.scratch.at_least(self.size))
        lib.run_all(self.calls, self.num_threads)


class Scratch:
    """Memory for what is only needed while a primitive runs, in one thread."""

    def __init__(self):
        self.size, self.address, self.buffer = 0, 0, None

    def at_least(self, size: int) -> int:
        """Address of so many bytes, on a cache line."""
        if size > self.size:
            self.buffer = ctypes.create_string_buffer(size + 64)
            self.address = -(-ctypes.addressof(self.buffer) // 64) * 64
            self.size = size
        return self.address


_scratches: dict[int, Scratch] = {}


def _scratch() -> Scratch:
    return _scratches.setdefault(threading.get_ident(), Scratch())


def _describe(lib: OneDNN, spec: Spec, images, kernel, outputs):
    """What to compute, with the layout of the filters left to the library."""
    top, bottom, left, right = spec.padding
    geometry = (
        Dims(*spec.strides),
        Dims(*(step - 1 for step in spec.dilation)),
        Dims(top, left),
        Dims(bottom, right),
    )
    arrays = (images, kernel, outputs)
    with_bias = (images, kernel, None, outputs)  # there is none
    forward = lib.make(
        "dnnl_convolution_forward_primitive_desc_create",
        lib.engine,
        dnn.FORWARD_TRAINING,
        dnn.DIRECT,
        *with_bias,
        *geometry,
        None,
    )
    if spec.kind == "forward":
        return forward
    function, arguments = {
        "input_gradient": ("backward_data", arrays),
        "kernel_gradient": ("backward_weights", with_bias),
    }[spec.kind]
    return lib.make(
        f"dnnl_convolution_{function}_primitive_desc_create",
        lib.engine,
        dnn.DIRECT,
        *arguments,
        *geometry,
        forward,
        None,
    )


def _reorder(lib: OneDNN, from_layout, source, to_layout, target):
    """Copies filters from one layout to another."""
    description = lib.make(
        "dnnl_reorder_primitive_desc_create",
        from_layout,
        lib.engine,
        to_layout,
        lib.engine,
        None,
    )
    return primitive_call(
        lib, description, {dnn.REORDER_FROM: source, dnn.REORDER_TO: target}
    )


def primitive_call(lib: OneDNN, description, arguments: dict):
    """A primitive and its arguments (role -> memory), for `OneDNN.run_all`."""
    primitive = lib.make("dnnl_primitive_create", description)
    pairs = [dnn.Argument(role, memory) for role, memory in arguments.items()]
    return primitive, (dnn.Argument * len(pairs))(*pairs)


def nhwc(lib: OneDNN, shape: tuple[int, ...]):
    """The layout of images, channels last."""
    n, height, width, channels = shape
    strides = (height * width * channels, 1, width * channels, channels)
    return lib.layout((n, channels, height, width), strides)


def _kernel_layouts(lib: OneDNN, spec: Spec):
    """Of filters as we have them, and as the library likes them."""
    height, width, inputs, features = spec.kernel
    dims: tuple[int, ...] = (features // spec.groups, inputs, height, width)
    row = width * inputs * features
    strides: tuple[int, ...] = (1, features, row, inputs * features)
    if spec.groups > 1:
        dims = (spec.groups, *dims)
        strides = (features // spec.groups, *strides)
    return lib.layout(dims, strides), lib.layout(dims)
