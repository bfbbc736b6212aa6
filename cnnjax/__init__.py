"""Find out what an ingredient of a convolutional network does.

import cnnjax

model = cnnjax.create_model("resnet50", norm="group")
digits = cnnjax.load_dataset("digits")
run = cnnjax.train(model="resnet20_cifar", dataset="digits", train={"epochs": 5})
found = cnnjax.ablate("degradation", scale="quick")
variables = cnnjax.interop.load("resnet50", "resnet50.safetensors")
net = cnnjax.load_run("runs/train/mine", weights="best")
"""

import importlib
from typing import TYPE_CHECKING, Any

from cnnjax.devices.allocator import keep_memory

if TYPE_CHECKING:  # for type checkers and editors
    from cnnjax import analysis, interop, views
    from cnnjax.api.ablating import ablate, read_results
    from cnnjax.api.datasets import load_dataset
    from cnnjax.api.recipes import (
        list_ablations,
        list_datasets,
        list_recipes,
        recipe,
    )
    from cnnjax.api.training import train
    from cnnjax.models.registry import create_model, list_models
    from cnnjax.run.trained.export import load_export
    from cnnjax.run.trained.load import load_run

__version__ = "0.1.0"

# Looked up on first use, so that what reads files alone does not wait for jax.
_PUBLIC = {
    "ablate": "cnnjax.api.ablating",
    "analysis": None,
    "create_model": "cnnjax.models.registry",
    "interop": None,
    "list_ablations": "cnnjax.api.recipes",
    "list_datasets": "cnnjax.api.recipes",
    "list_models": "cnnjax.models.registry",
    "list_recipes": "cnnjax.api.recipes",
    "load_dataset": "cnnjax.api.datasets",
    "load_export": "cnnjax.run.trained.export",
    "load_run": "cnnjax.run.trained.load",
    "read_results": "cnnjax.api.ablating",
    "recipe": "cnnjax.api.recipes",
    "train": "cnnjax.api.training",
    "views": None,
}
__all__ = [
    "__version__",
    "ablate",
    "analysis",
    "create_model",
    "interop",
    "list_ablations",
    "list_datasets",
    "list_models",
    "list_recipes",
    "load_dataset",
    "load_export",
    "load_run",
    "read_results",
    "recipe",
    "train",
    "views",
]

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
