"""oneDNN's primitives as operations of a compiled JAX program on CPU.

XLA calls one function of ours, through its stable foreign function interface (version
0 of xla/ffi/api/c_api.h, which jaxlib carries), with the addresses of the arrays and
the text of a specification.
"""

import ctypes
import functools
import os
import sys
import threading

import jax

from cnnjax.onednn.check import refusal
from cnnjax.onednn.convolutions import Convolution, Spec
from cnnjax.onednn.library import FORCE, VARIABLE, library, library_path
from cnnjax.onednn.pooling import ALGORITHMS, Pooling, PoolingSpec
from cnnjax.screen import say

TARGET = "cnnjax_onednn_convolution"

# Places within structures, in words of eight bytes.
_EXTENSION, _API, _STAGE = 1, 2, 4
_NUM_ARGS, _ARGS, _RESULTS, _ATTRIBUTES = 7, 9, 14, 20
_FRAME_WORDS = 21
_BUFFER_DATA = 3
_ERROR_CREATE = 6
_METADATA = 1
_EXECUTE = 3
_INTERNAL = 13

_Frame = ctypes.c_uint64 * _FRAME_WORDS
_Two = ctypes.c_uint64 * 2
_Four = ctypes.c_uint64 * 4
_Handler = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)


class _Version(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("major", ctypes.c_int),
        ("minor", ctypes.c_int),
    )


class _Metadata(ctypes.Structure):
    _fields_ = (("size", ctypes.c_size_t), ("version", _Version))


class _Extension(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("kind", ctypes.c_int),
        ("next", ctypes.c_void_p),
        ("metadata", ctypes.POINTER(_Metadata)),
    )


class _ErrorArguments(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_size_t),
        ("extension", ctypes.c_void_p),
        ("message", ctypes.c_char_p),
        ("code", ctypes.c_int),
    )


Primitive = Convolution | Pooling

_prepared: dict[tuple[int, bytes], Primitive] = {}


def _execute(frame: ctypes.Array) -> None:
    args = (ctypes.c_uint64 * frame[_NUM_ARGS]).from_address(frame[_ARGS])
    (result,) = (ctypes.c_uint64 * 1).from_address(frame[_RESULTS])
    (attribute,) = (ctypes.c_uint64 * 1).from_address(frame[_ATTRIBUTES])
    start, length = _Two.from_address(attribute)
    text = ctypes.string_at(start, length)
    key = (threading.get_ident(), text)
    primitive = _prepared.get(key)
    if primitive is None:
        primitive = _prepared[key] = _prepare(text.decode())
    buffers = (*args, result)
    primitive(*(_Four.from_address(buffer)[_BUFFER_DATA] for buffer in buffers))


def _prepare(text: str) -> Primitive:
    cores = len(os.sched_getaffinity(0))
    lib = library()
    assert lib is not None  # or the target would not be registered
    if text.partition(" ")[0] in ALGORITHMS:
        return Pooling(lib, PoolingSpec.decode(text), cores)
    return Convolution(lib, Spec.decode(text), cores)


def _handle(address: int) -> int | None:
    frame = _Frame.from_address(address)
    try:
        if frame[_EXTENSION]:
            extension = _Extension.from_address(frame[_EXTENSION])
            if extension.kind == _METADATA:
                version = extension.metadata.contents.version
                version.major, version.minor = 0, 1
                return None
        if frame[_STAGE] & 0xFFFFFFFF == _EXECUTE:
            _execute(frame)
    # Nothing above this function would understand an exception.
    except BaseException as error:
        return _error(frame, f"{type(error).__name__}: {error}")
    return None


def _error(frame: ctypes.Array, message: str) -> int:
    create = (ctypes.c_uint64 * (_ERROR_CREATE + 1)).from_address(frame[_API])
    arguments = _ErrorArguments(
        ctypes.sizeof(_ErrorArguments), None, message.encode(), _INTERNAL
    )
    return _Handler(create[_ERROR_CREATE])(ctypes.addressof(arguments))


_handler = _Handler(_handle)


@functools.cache
def available() -> bool:
    """Whether compiled programs on CPU can call oneDNN here.

    Where it is there and must not be used, a sentence says why.
    """
    path = library_path()
    if path and (why := refusal(path)):
        say(
            f"oneDNN is not used ({why}), so convolutions are XLA's and slower; "
            f"{VARIABLE}={FORCE} uses it all the same.",
            sys.stderr,
        )
        return False
    if library() is None:
        return False
    register()
    return True


def register() -> None:
    """Lets compiled programs on CPU call `library()`, which must be there."""
    address = ctypes.cast(_handler, ctypes.c_void_p).value
    jax.ffi.register_ffi_target(TARGET, jax.ffi.pycapsule(address), platform="cpu")


def call(
    spec: Spec | PoolingSpec, shape: tuple[int, ...], *arrays: jax.Array
) -> jax.Array:
    """Puts a primitive into the program that is being traced.

    Args:
      spec: what to compute.
      shape: of the result.
      *arrays: its inputs of rank 4, float32: images, filters or cotangents in the order
        of `convolutions.ROLES` and `pooling.ALGORITHMS`.
    """
    # Of the type of an input: inside `shard_map` that says over which axes it varies.
    result = jax.eval_shape(lambda a: jax.numpy.full(shape, a[0, 0, 0, 0]), arrays[0])
    return jax.ffi.ffi_call(TARGET, result, vmap_method="sequential")(
        *arrays, spec=spec.encode()
    )
