"""State dicts in files that torch opens."""

import io
from collections.abc import Mapping

import numpy as np

from cnnjax.errors import UserError

# Endings that say that torch itself is to write the file.
TORCH_ENDINGS = (".pth", ".pt", ".bin", ".th")


def torch_file(state_dict: Mapping[str, np.ndarray]) -> bytes:
    """What `torch.save` writes for these arrays: `weights_only=True` reads it.

    Raises:
      UserError: torch is not installed.
    """
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f"files with the endings {', '.join(TORCH_ENDINGS)} are written by torch, "
            "which is not installed: install the extra 'peers', or let the name of "
            "the file end in .safetensors (--out), which torch opens as well"
        ) from error
    tensors = {name: torch.tensor(array) for name, array in state_dict.items()}
    content = io.BytesIO()
    torch.save(tensors, content)
    return content.getvalue()
