"""Find out what an ingredient of a convolutional network does.

import cnnjax

model = cnnjax.create_model("resnet50", norm="group")
cnnjax.list_models("vgg*")
variables = cnnjax.interop.load("resnet50", "resnet50.safetensors")
net = cnnjax.load_run("runs/train/mine", weights="best")
"""

import importlib
from typing import Any

from cnnjax.devices.allocator import keep_memory

# Looked up on first use, so that what reads files alone does not wait for jax.
_PUBLIC = {
    "create_model": "cnnjax.models.registry",
    "list_models": "cnnjax.models.registry",
    "load_run": "cnnjax.run.trained.load",
    "load_export": "cnnjax.run.trained.export",
    "interop": None,
    "views": None,
}
__all__ = sorted(_PUBLIC)

keep_memory()  # works only before JAX starts its threads


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'cnnjax' has no attribute {name!r}")
    module = _PUBLIC[name]
    if module is None:
        return importlib.import_module(f"cnnjax.{name}")
    return getattr(importlib.import_module(module), name)
