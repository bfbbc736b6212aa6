"""Reading weight files, without trusting them."""

import os
import pathlib
import pickle
import re
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from cnnjax.errors import UserError

TORCH_SUFFIXES = (".pth", ".pt", ".bin", ".tar")
# Where trainers put the state dict, beside the epoch and the like.
WRAPPERS = ("state_dict", "model", "model_state_dict", "net")


def read_state_dict(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Name -> array of a `.safetensors` file, or of a `.pth` file through torch.

    torch reads with `weights_only=True`: a file that would run code is refused.

    Raises:
      UserError: no such file, another kind of file, a broken one, or one with more
        than tensors in it; or torch is needed and not installed.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        reason = "a folder, not a weight file" if path.is_dir() else "no file"
        raise UserError(f"{path} is {reason}: check the path of the weights")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in TORCH_SUFFIXES:
        return arrays_of(_read_torch(path), f"weight file {path}")
    raise UserError(
        f"weight file {path} has the ending {path.suffix!r}: allowed are .safetensors, "
        f"{', '.join(TORCH_SUFFIXES)}"
    )


def arrays_of(saved: Any, what: str) -> dict[str, np.ndarray]:
    """The arrays of a state dict, which trainers often wrap once more.

    Args:
      saved: name -> array or torch tensor, or that under one of `WRAPPERS`.
      what: what to call it in the error.

    Raises:
      UserError: something else, or a tensor of which NumPy has no counterpart.
    """
    for key in WRAPPERS:
        if isinstance(saved, Mapping) and isinstance(saved.get(key), Mapping):
            saved = saved[key]
    if not isinstance(saved, Mapping) or not all(
        isinstance(name, str) and hasattr(value, "dtype")
        for name, value in saved.items()
    ):
        raise UserError(
            f"{what} holds no state dict (name -> tensor): save `model.state_dict()`"
        )
    return {name: _array(value, name, what) for name, value in saved.items()}


def _array(value: Any, name: str, what: str) -> np.ndarray:
    if not hasattr(value, "detach"):  # no tensor of torch
        return np.asarray(value)
    try:
        value = value.detach().cpu()
        if value.is_floating_point() and value.element_size() < 4:
            value = value.float()  # NumPy has no bfloat16
        return value.numpy()
    except (TypeError, RuntimeError, NotImplementedError) as error:
        raise UserError(
            f"{what} holds {name}, which NumPy cannot represent "
            f"({_first_sentence(error)}): save plain dense tensors"
        ) from error


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        return load_file(path)
    except AttributeError as error:  # safetensors looks 8-bit types up in NumPy
        raise UserError(
            f"weight file {path} holds tensors of a type that NumPy has not: save "
            "float32, float16 or bfloat16"
        ) from error
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"weight file {path} is no whole .safetensors file "
            f"({_first_sentence(error)}): copy or download it again"
        ) from error


def _read_torch(path: pathlib.Path) -> Any:
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f"reading {path} needs torch, which is not installed: install the extra "
            "'peers', or convert the file to .safetensors"
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    # Damaged bytes can make the unpickler fail in any way.
    except Exception as error:
        code = re.search(r"GLOBAL ([\w.]+)", str(error))
        if isinstance(error, pickle.UnpicklingError) and code:
            raise UserError(
                f"weight file {path} holds more than tensors ({code[1]}), which could "
                "run code: save `model.state_dict()` alone"
            ) from error
        reason = type(error).__name__
        if isinstance(error, RuntimeError | EOFError | OSError):
            reason = _first_sentence(error)
        raise UserError(
            f"weight file {path} is no whole torch file ({reason}): copy or download "
            "it again"
        ) from error


def _first_sentence(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return re.split(r"\.\s|\n", text)[0].rstrip(".")
