"""Gradients of oneDNN's poolings on plain NHWC images, by memory address."""

import ctypes
import dataclasses
from typing import Any

from cnnjax.onednn import library as dnn
from cnnjax.onednn.convolutions import Scratch, nhwc, primitive_call
from cnnjax.onednn.library import Dims, OneDNN

# Kind -> the library's algorithm. Arguments are the images and the cotangent of the
# pooled map for the maximum, whose places must be found again; else the cotangent.
ALGORITHMS = {"max_gradient": 0x1FF, "average_gradient": 0x2FF}


@dataclasses.dataclass(frozen=True)
class PoolingSpec:
    """The gradient of one pooling, completely.

    Args:
      kind: a key of `ALGORITHMS`; padding never is the maximum, and counts as zeros in
        the average.
      images: N, H, W, C.
      out: H', W'.
      window: height and width.
      strides: steps between windows.
      padding: top, bottom, left, right.
    """

    kind: str
    images: tuple[int, ...]
    out: tuple[int, ...]
    window: tuple[int, ...]
    strides: tuple[int, ...]
    padding: tuple[int, ...]

    def encode(self) -> str:
        """A text that `decode` understands; compiled programs carry it."""
        kind, *numbers = dataclasses.astuple(self)
        return " ".join([kind, *(",".join(map(str, part)) for part in numbers)])

    @classmethod
    def decode(cls, text: str) -> "PoolingSpec":
        kind, *parts = text.split()
        return cls(kind, *(tuple(map(int, part.split(","))) for part in parts))


class Pooling:
    """A prepared gradient, for use by one thread."""

    def __init__(self, lib: OneDNN, spec: PoolingSpec, num_threads: int):
        self.lib, self.num_threads = lib, num_threads
        self.scratches: list[Scratch] = []
        # The library divides the work when a primitive is made.
        lib.set_threads(num_threads)
        images = nhwc(lib, spec.images)
        maps = nhwc(lib, (spec.images[0], *spec.out, spec.images[3]))
        forward, backward = _describe(lib, spec, images, maps)
        of_x, of_y = lib.memory(images), lib.memory(maps)
        roles = {dnn.TARGET_GRADIENT: of_y, dnn.SOURCE_GRADIENT: of_x}
        self.arrays, self.calls = [of_y, of_x], []
        if spec.kind == "max_gradient":
            x, roles[dnn.WORKSPACE] = lib.memory(images), self._workspace(forward)
            self.arrays.insert(0, x)
            found = {dnn.SOURCE: x, dnn.TARGET: self._inner(maps)}
            found[dnn.WORKSPACE] = roles[dnn.WORKSPACE]
            self.calls.append(primitive_call(lib, forward, found))
        self.calls.append(primitive_call(lib, backward, roles))

    def _workspace(self, forward) -> ctypes.c_void_p:
        """Where the maxima lie."""
        return self._inner(self.lib.layout_of(forward, dnn.QUERY_WORKSPACE))

    def _inner(self, layout) -> ctypes.c_void_p:
        """An array of our own, which lives as long as this object."""
        memory, scratch = self.lib.memory(layout), Scratch()
        self.lib.place(memory, scratch.at_least(self.lib.num_bytes(layout)))
        self.scratches.append(scratch)
        return memory

    def __call__(self, *addresses: int) -> None:
        """Runs on the arrays at these addresses, the result last.

        Raises:
          RuntimeError: the library refuses.
        """
        for memory, address in zip(self.arrays, addresses, strict=True):
            self.lib.place(memory, address)
        self.lib.run_all(self.calls, self.num_threads)


def _describe(lib: OneDNN, spec: PoolingSpec, images, maps) -> tuple[Any, Any]:
    algorithm = ALGORITHMS[spec.kind]
    top, bottom, left, right = spec.padding
    geometry = (
        Dims(*spec.strides),
        Dims(*spec.window),
        Dims(0, 0),  # no dilation
        Dims(top, left),
        Dims(bottom, right),
    )
    forward = lib.make(
        "dnnl_pooling_forward_primitive_desc_create",
        *(lib.engine, dnn.FORWARD_TRAINING, algorithm, images, maps, *geometry, None),
    )
    backward = lib.make(
        "dnnl_pooling_backward_primitive_desc_create",
        *(lib.engine, algorithm, images, maps, *geometry, forward, None),
    )
    return forward, backward
