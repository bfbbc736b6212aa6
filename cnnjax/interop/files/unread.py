"""Tensors whose names, shapes and types are known before their values are read."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import ml_dtypes
import numpy as np

from cnnjax.errors import UserError

# Of an array of NumPy.
MOST_AXES = 64


@dataclasses.dataclass(frozen=True)
class Unread:
    """A tensor in a file or in a state dict.

    Args:
      shape: of the array that `read` gives.
      dtype: the same.
      read: gives the values.

    Raises:
      ValueError: no array can have this shape or type.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    read: Callable[[], np.ndarray]

    def __post_init__(self):
        lengths = all(type(n) is int and 0 <= n < 2**63 for n in self.shape)
        if not lengths or len(self.shape) > MOST_AXES:
            raise ValueError("a tensor with a negative or odd shape")
        if self.dtype.hasobject:
            raise ValueError("a tensor of Python objects")

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclasses.dataclass(frozen=True)
class Foreign:
    """A tensor that has no counterpart in NumPy, such as a sparse one."""

    dtype: str


def unread_of(state_dict: Mapping[str, Any], what: str) -> dict[str, Unread]:
    """Names, shapes and types of the tensors of a state dict; copies no values.

    Args:
      state_dict: name -> tensor of torch, array or `Unread`.
      what: its name in the error.

    Raises:
      UserError: a tensor that has no counterpart in NumPy.
    """
    return {name: _unread(value, name, what) for name, value in state_dict.items()}


def type_named(name: str) -> np.dtype:
    """The type of NumPy or ml_dtypes of this name.

    Raises:
      TypeError: neither has it.
    """
    return np.dtype(getattr(ml_dtypes, name, name))


def _unread(value: Any, name: str, what: str) -> Unread:
    if isinstance(value, Unread):
        return value
    if isinstance(value, Foreign):
        raise _no_counterpart(name, what, value.dtype)
    if hasattr(value, "detach"):
        return _of_torch(value, name, what)
    array = value if hasattr(value, "shape") else np.asarray(value)
    dtype = array.dtype if isinstance(array.dtype, np.dtype) else np.dtype(array.dtype)
    return Unread(tuple(array.shape), dtype, functools.partial(np.asarray, array))


def _of_torch(value: Any, name: str, what: str) -> Unread:
    kind = str(value.dtype).removeprefix("torch.")
    half = value.is_floating_point() and value.element_size() < 4
    layout = str(value.layout).removeprefix("torch.")
    if layout != "strided" or value.is_quantized:
        raise _no_counterpart(name, what, kind if value.is_quantized else layout)

    def read() -> np.ndarray:
        try:
            tensor = value.detach().cpu()
            return (tensor.float() if half else tensor).numpy()
        except (TypeError, RuntimeError, NotImplementedError) as error:
            raise _no_counterpart(name, what, first_sentence(error)) from error

    try:  # NumPy has no bfloat16
        return Unread(tuple(value.shape), type_named("float32" if half else kind), read)
    except TypeError as error:
        raise _no_counterpart(name, what, kind) from error


def _no_counterpart(name: str, what: str, reason: str) -> UserError:
    return UserError(
        f"{what} contains {name}, which NumPy cannot represent ({reason}): save plain "
        "dense tensors"
    )


def first_sentence(error: Exception) -> str:
    """The first sentence of another library's error message, shortened, on one line."""
    text = str(error).strip() or type(error).__name__
    for end in ("\n", ". ", ".\t"):
        text = text.split(end)[0]
    return text[:200].rstrip(".")
