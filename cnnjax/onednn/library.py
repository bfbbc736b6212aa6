"""The oneDNN library, if it is installed, as far as convolutions and pools need it.

The wheel `onednn-cpu-gomp` (extra `onednn`) holds a shared library and no Python code;
it is called through its C interface of version 3, which is stable.

Source: the reference of oneDNN's C API, https://uxlfoundation.github.io/oneDNN.
"""

import ctypes
import functools
import importlib.metadata
import os
import threading
from collections.abc import Iterable
from pathlib import Path

# Path of another libdnnl.so.3; empty for none at all; `FORCE` for the one of the wheel,
# whatever `check` says of it.
VARIABLE, FORCE = "CNNJAX_ONEDNN", "force"
DISTRIBUTION = "onednn-cpu-gomp"

# Of dnnl_types.h.
CPU, FLOAT32, ANY_LAYOUT = 1, 3, 1
FORWARD_TRAINING, DIRECT = 64, 1
SOURCE, TARGET, WEIGHTS = 1, 17, 33
SOURCE_GRADIENT, TARGET_GRADIENT, WEIGHTS_GRADIENT = 129, 145, 161
REORDER_FROM, REORDER_TO, WORKSPACE = 1, 17, 64
QUERY_WEIGHTS, QUERY_WEIGHTS_GRADIENT, QUERY_WORKSPACE = 131, 132, 135

Dims = ctypes.c_int64 * 12


class Argument(ctypes.Structure):
    """An argument of a primitive: its role and its memory."""

    _fields_ = (("role", ctypes.c_int), ("memory", ctypes.c_void_p))


class OneDNN:
    """The loaded library with one engine, and a stream for each thread.

    Every method that makes something returns an opaque pointer, which is never freed.
    """

    def __init__(self, path: str):
        # Threads that spin between two convolutions would take the cores away from
        # the rest of the program. Read when the library is loaded.
        os.environ.setdefault("OMP_WAIT_POLICY", "passive")
        # Short calls keep Python's lock; `run`, which computes, lets go of it.
        self.short, self.long = ctypes.PyDLL(path), ctypes.CDLL(path)
        self.openmp = ctypes.PyDLL("libgomp.so.1")
        self.short.dnnl_memory_desc_get_size.restype = ctypes.c_size_t
        self.short.dnnl_primitive_desc_query_md.restype = ctypes.c_void_p
        self.short.dnnl_memory_set_data_handle.argtypes = [ctypes.c_void_p] * 2
        self.run = self.long.dnnl_primitive_execute
        self.run.argtypes = [
            ctypes.c_void_p,
            ctypes.c_void_p,
            ctypes.c_int,
            ctypes.c_void_p,
        ]
        self.set_threads = self.openmp.omp_set_num_threads
        self.engine = self.make("dnnl_engine_create", CPU, ctypes.c_size_t(0))
        self._streams: dict[int, ctypes.c_void_p] = {}

    def make(self, function: str, *args) -> ctypes.c_void_p:
        """Calls a function that writes a new object to its first argument.

        Raises:
          RuntimeError: it refuses.
        """
        made = ctypes.c_void_p()
        status = getattr(self.short, function)(ctypes.byref(made), *args)
        if status:
            raise RuntimeError(f"{function} failed with status {status}")
        return made

    def stream(self) -> ctypes.c_void_p:
        """The stream of the calling thread, which keeps the order of calls."""
        thread = threading.get_ident()
        if thread not in self._streams:
            self._streams[thread] = self.make("dnnl_stream_create", self.engine, 1)
        return self._streams[thread]

    def run_all(self, calls: Iterable[tuple], num_threads: int) -> None:
        """Runs primitives with their arguments, one after another.

        Raises:
          RuntimeError: the library refuses.
        """
        self.set_threads(num_threads)
        stream = self.stream()
        for primitive, arguments in calls:
            status = self.run(primitive, stream, len(arguments), arguments)
            if status:
                raise RuntimeError(f"oneDNN failed with status {status}")

    def layout(self, dims: tuple, strides: tuple | None = None) -> ctypes.c_void_p:
        """Describes a float32 array; without strides, the library may choose them."""
        head = (len(dims), Dims(*dims), FLOAT32)
        if strides is None:
            tagged = "dnnl_memory_desc_create_with_tag"
            return self.make(tagged, *head, ANY_LAYOUT)
        return self.make("dnnl_memory_desc_create_with_strides", *head, Dims(*strides))

    def layout_of(self, description: ctypes.c_void_p, query: int) -> ctypes.c_void_p:
        """The layout that the library has chosen for one array of a primitive."""
        found = self.short.dnnl_primitive_desc_query_md(description, query, 0)
        return ctypes.c_void_p(found)

    def num_bytes(self, layout: ctypes.c_void_p) -> int:
        return self.short.dnnl_memory_desc_get_size(layout)

    def memory(self, layout: ctypes.c_void_p) -> ctypes.c_void_p:
        """An array that is placed by `place` before each run."""
        return self.make("dnnl_memory_create", layout, self.engine, None)

    def place(self, memory: ctypes.c_void_p, address: int) -> None:
        self.short.dnnl_memory_set_data_handle(memory, address)


@functools.cache
def library() -> OneDNN | None:
    """The library; None where it is not installed, switched off or not loadable."""
    path = library_path()
    if not path:
        return None
    try:
        return OneDNN(path)
    except (OSError, AttributeError, RuntimeError):
        return None


def library_path() -> str:
    """Where the library is; '' where it is not installed, or switched off."""
    chosen = os.environ.get(VARIABLE, FORCE)
    return str(_installed() or "") if chosen == FORCE else chosen


def _installed() -> Path | None:
    try:
        files = importlib.metadata.files(DISTRIBUTION) or ()
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == "libdnnl.so.3":
            return Path(str(file.locate())).resolve()
    return None
