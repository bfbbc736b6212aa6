"""Writing state dicts in files of torch."""

import io
from collections.abc import Mapping

import numpy as np

from cnnjax.errors import UserError

# With these endings torch itself writes the file.
TORCH_ENDINGS = (".pth", ".pt", ".bin", ".th")


def torch_file(state_dict: Mapping[str, np.ndarray]) -> bytes:
    """The bytes that `torch.save` writes; `weights_only=True` reads them.

    Raises:
      UserError: torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f"files that end in {', '.join(TORCH_ENDINGS)} are written by torch, which "
            "is not installed: install the extra 'peers', or choose a name that ends "
            "in .safetensors (--out), which torch users can read as well"
        ) from error
    tensors = {name: torch.tensor(array) for name, array in state_dict.items()}
    content = io.BytesIO()
    torch.save(tensors, content)
    return content.getvalue()
