"""Reading weight files without trusting them."""

import os
import pathlib
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from cnnjax.errors import UserError
from cnnjax.interop.files.formats import AGAIN, ARRAYS, SAFETENSORS, kind_of
from cnnjax.interop.files.torch_file import first_sentence, read_torch


def read_file(path: str | os.PathLike) -> Any:
    """Reads a weight file: name -> array, or what `torch.save` wrote.

    The content decides on the format, not the name: safetensors, `numpy.savez`, or
    torch with `weights_only=True`, which refuses a file that would run code.

    Raises:
      UserError: no such file, another kind of file, a damaged one, or one with more
        than tensors; or torch is needed and not installed.
    """
    path = checked_path(path)
    kind = kind_of(path)
    if kind == SAFETENSORS:
        return _read_safetensors(path)
    if kind == ARRAYS:
        return _read_arrays(path)
    return read_torch(path)


def checked_path(path: Any) -> pathlib.Path:
    """A path given as text, bytes or path.

    Raises:
      UserError: it is none of these.
    """
    if not isinstance(path, str | bytes | os.PathLike):
        raise UserError(
            f"the path of the weights is {path!r}: give the path of a file, such as "
            "'net.safetensors'"
        )
    return pathlib.Path(os.fsdecode(path)).expanduser()


def arrays_of(state_dict: Mapping[str, Any], what: str) -> dict[str, np.ndarray]:
    """Converts tensors of torch to arrays; keeps arrays.

    Args:
      state_dict: name -> tensor or array.
      what: its name in the error.

    Raises:
      UserError: a tensor that has no counterpart in NumPy.
    """
    return {name: _array(value, name, what) for name, value in state_dict.items()}


def _array(value: Any, name: str, what: str) -> np.ndarray:
    if not hasattr(value, "detach"):  # not a tensor of torch
        return np.asarray(value)
    try:
        value = value.detach().cpu()
        if value.is_floating_point() and value.element_size() < 4:
            value = value.float()  # NumPy has no bfloat16
        return value.numpy()
    except (TypeError, RuntimeError, NotImplementedError) as error:
        raise UserError(
            f"{what} contains {name}, which NumPy cannot represent "
            f"({first_sentence(error)}): save plain dense tensors"
        ) from error


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        return load_file(path)
    except AttributeError as error:  # safetensors looks 8-bit types up in NumPy
        raise UserError(
            f"weight file {path} contains tensors of a type that NumPy lacks: save "
            "float32, float16 or bfloat16"
        ) from error
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"weight file {path} is not a complete .safetensors file "
            f"({first_sentence(error)}): {AGAIN}"
        ) from error


def _read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(
            f"weight file {path} is not an .npz file of plain arrays "
            f"({first_sentence(error)}): {AGAIN}"
        ) from error
