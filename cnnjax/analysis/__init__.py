"""What a network costs and sees, read off its traced program."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for type checkers and editors
    from cnnjax.analysis.complexity import model_multiply_adds, multiply_adds
    from cnnjax.analysis.folding import fold_batch_norm
    from cnnjax.analysis.profile import profile_model
    from cnnjax.analysis.profile_table import render_profile

# Looked up on first use: the help of programs does not wait for jax.
_PUBLIC = {
    "fold_batch_norm": "folding",
    "model_multiply_adds": "complexity",
    "multiply_adds": "complexity",
    "profile_model": "profile",
    "render_profile": "profile_table",
}
__all__ = [
    "fold_batch_norm",
    "model_multiply_adds",
    "multiply_adds",
    "profile_model",
    "render_profile",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'cnnjax.analysis' has no attribute {name!r}")
    module = importlib.import_module(f"cnnjax.analysis.{_PUBLIC[name]}")
    return getattr(module, name)
