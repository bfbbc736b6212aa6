"""How the blocks of a net are executed, which is no part of what it computes."""

from typing import Any

from flax import linen as nn

# Fields that say how the blocks of a net are executed, not what they compute: those of
# `config.EXECUTION` in section `model`; and their values for the plainest execution.
EXECUTION: dict[str, Any] = {"scan_blocks": False, "remat": "none"}


def unscanned(model: nn.Module) -> nn.Module:
    """The same net with its blocks run one by one and stored separately per block."""
    return model.clone(**{f: v for f, v in EXECUTION.items() if hasattr(model, f)})
