"""Reading weight files, without trusting them."""

import os
import pathlib
import pickle
import zipfile
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file

from cnnjax.errors import UserError

TORCH_SUFFIXES = (".pth", ".pt", ".bin", ".tar")


def read_state_dict(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """Name -> array of a `.safetensors` file, or of a `.pth` file through torch.

    torch reads with `weights_only=True`: a file that would run code is refused.

    Raises:
      UserError: no such file, another kind of file, a broken one, or one with more
        than tensors in it; or torch is needed and not installed.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise UserError(f"there is no weight file {path}: check the path")
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    if path.suffix in TORCH_SUFFIXES:
        return _read_torch(path)
    raise UserError(
        f"weight file {path} has the ending {path.suffix!r}: allowed are .safetensors, "
        f"{', '.join(TORCH_SUFFIXES)}"
    )


def _read_safetensors(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"weight file {path} is no whole .safetensors file ({error}): copy or "
            "download it again"
        ) from error


def _read_torch(path: pathlib.Path) -> dict[str, np.ndarray]:
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f"reading {path} needs torch, which is not installed: install the extra "
            "'peers', or convert the file to .safetensors"
        ) from error
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"weight file {path} holds more than tensors, or is broken: only a plain "
            "state dict is read, because anything else could run code"
        ) from error
    except (RuntimeError, EOFError, OSError, zipfile.BadZipFile) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"weight file {path} is no whole torch file ({reason}): copy or download "
            "it again"
        ) from error
    return _arrays(path, saved)


def _arrays(path: pathlib.Path, saved: Any) -> dict[str, np.ndarray]:
    """The tensors of a state dict, which trainers often wrap once more."""
    for key in ("state_dict", "model"):
        if isinstance(saved, dict) and isinstance(saved.get(key), dict):
            saved = saved[key]
    if not isinstance(saved, dict) or not all(
        hasattr(value, "detach") for value in saved.values()
    ):
        raise UserError(
            f"weight file {path} holds no state dict (name -> tensor): save "
            "`model.state_dict()`"
        )
    return {name: _array(value) for name, value in saved.items()}


def _array(tensor: Any) -> np.ndarray:
    tensor = tensor.detach()
    if tensor.is_floating_point() and tensor.element_size() < 4:
        tensor = tensor.float()  # NumPy has no bfloat16
    return tensor.numpy()
