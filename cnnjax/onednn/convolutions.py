"""Convolutions of oneDNN on plain NHWC images and HWIO filters, by memory address.

oneDNN computes fast only with filters in a layout of its own; they are small beside the
images, so each call brings them into that layout, or back.
"""

import ctypes
import dataclasses
import threading

from cnnjax.onednn import library as dnn
from cnnjax.onednn.library import Dims, OneDNN

KINDS = ("forward", "input_gradient", "kernel_gradient")


@dataclasses.dataclass(frozen=True)
class Spec:
    """One convolution, completely: what to compute, shapes and geometry.

    Args:
      kind: one of `KINDS`.
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
        *numbers, (groups,) = [tuple(map(int, part.split(","))) for part in parts]
        return cls(kind, *numbers, groups)


class Convolution:
    """A prepared convolution, for use by one thread."""

    def __init__(self, lib: OneDNN, spec: Spec, num_threads: int):
        self.lib, self.scratch = lib, _scratch()
        self.num_threads = num_threads
        # The library divides the work when a primitive is made.
        lib.set_threads(self.num_threads)
        images = _nhwc(lib, *spec.images)
        outputs = _nhwc(lib, spec.images[0], *spec.out, spec.kernel[3])
        kernel, any_kernel = _kernel_layouts(lib, spec)
        height, width = spec.dilation
        top, bottom, left, right = spec.padding
        geometry = (
            Dims(*spec.strides),
            Dims(height - 1, width - 1),
            Dims(top, left),
            Dims(bottom, right),
        )
        forward = lib.make(
            "dnnl_convolution_forward_primitive_desc_create",
            lib.engine,
            dnn.FORWARD_TRAINING,
            dnn.DIRECT,
            images,
            any_kernel,
            None,
            outputs,
            *geometry,
            None,
        )
        x, y, w = lib.memory(images), lib.memory(outputs), lib.memory(kernel)
        if spec.kind == "forward":
            self.arrays = (x, w, y)
            self._prepare(forward, dnn.QUERY_WEIGHTS, kernel, w)
            self._steps(
                forward, {dnn.SOURCE: x, dnn.WEIGHTS: self.inner, dnn.TARGET: y}
            )
        elif spec.kind == "input_gradient":
            description = lib.make(
                "dnnl_convolution_backward_data_primitive_desc_create",
                lib.engine,
                dnn.DIRECT,
                images,
                any_kernel,
                outputs,
                *geometry,
                forward,
                None,
            )
            self.arrays = (w, y, x)
            self._prepare(description, dnn.QUERY_WEIGHTS, kernel, w)
            self._steps(
                description,
                {
                    dnn.TARGET_GRADIENT: y,
                    dnn.WEIGHTS: self.inner,
                    dnn.SOURCE_GRADIENT: x,
                },
            )
        else:
            description = lib.make(
                "dnnl_convolution_backward_weights_primitive_desc_create",
                lib.engine,
                dnn.DIRECT,
                images,
                any_kernel,
                None,
                outputs,
                *geometry,
                forward,
                None,
            )
            self.arrays = (x, y, w)
            self._prepare(description, dnn.QUERY_WEIGHTS_GRADIENT, kernel, w, back=True)
            self._steps(
                description,
                {
                    dnn.SOURCE: x,
                    dnn.TARGET_GRADIENT: y,
                    dnn.WEIGHTS_GRADIENT: self.inner,
                },
            )

    def _prepare(self, description, query, kernel, outer, back=False):
        """The filters as the library wants them, and the way there or back."""
        lib = self.lib
        wanted = lib.layout_of(description, query)
        self.size = lib.num_bytes(wanted)
        self.inner = lib.memory(wanted)
        layouts, arrays = (kernel, wanted), (outer, self.inner)
        if back:
            layouts, arrays = layouts[::-1], arrays[::-1]
        reorder = lib.make(
            "dnnl_reorder_primitive_desc_create",
            layouts[0],
            lib.engine,
            layouts[1],
            lib.engine,
            None,
        )
        self.back = back
        self.reorder = _call(
            lib, reorder, {dnn.REORDER_FROM: arrays[0], dnn.REORDER_TO: arrays[1]}
        )

    def _steps(self, description, arguments):
        main = _call(self.lib, description, arguments)
        self.calls = (main, self.reorder) if self.back else (self.reorder, main)

    def __call__(self, *addresses: int) -> None:
        """Runs on the arrays at these addresses: two inputs, then the result.

        Raises:
          RuntimeError: the library refuses.
        """
        lib = self.lib
        for memory, address in zip(self.arrays, addresses, strict=True):
            lib.place(memory, address)
        lib.place(self.inner, self.scratch.at_least(self.size))
        lib.set_threads(self.num_threads)
        stream = lib.stream()
        for primitive, arguments in self.calls:
            status = lib.run(primitive, stream, len(arguments), arguments)
            if status:
                raise RuntimeError(f"oneDNN failed with status {status}")


class Scratch:
    """Memory for the filters of the running convolution of one thread."""

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


def _call(lib: OneDNN, description, arguments: dict):
    primitive = lib.make("dnnl_primitive_create", description)
    pairs = [dnn.Argument(role, memory) for role, memory in arguments.items()]
    return primitive, (dnn.Argument * len(pairs))(*pairs)


def _nhwc(lib: OneDNN, n, height, width, channels):
    strides = (height * width * channels, 1, width * channels, channels)
    return lib.layout((n, channels, height, width), strides)


def _kernel_layouts(lib: OneDNN, spec: Spec):
    """Of filters as we have them, and as the library likes them."""
    height, width, inputs, features = spec.kernel
    dims = (features // spec.groups, inputs, height, width)
    strides = (1, features, width * inputs * features, inputs * features)
    if spec.groups > 1:
        dims = (spec.groups, *dims)
        strides = (features // spec.groups, *strides)
    return lib.layout(dims, strides), lib.layout(dims)
