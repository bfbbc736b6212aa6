"""Configs by name, and changes of them as Python writes them."""

from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from cnnjax.ablation.plan import ablation_names
from cnnjax.config import (
    flatten,
    from_dict,
    load_recipe,
    override,
    with_new_keys,
)
from cnnjax.data.dataset import SOURCES
from cnnjax.definitions import named_definitions
from cnnjax.errors import UserError
from cnnjax.recipes.generic import generic_recipe

WHERE = "the first argument; cnnjax.list_recipes() has ours"


def list_recipes() -> list[str]:
    """Names of the recipes that come with cnnjax.

    >>> import cnnjax
    >>> "resnet_digits" in cnnjax.list_recipes()
    True
    """
    return list(named_definitions(("configs",)))


def list_ablations() -> list[str]:
    """Names of the ablations that come with cnnjax.

    >>> import cnnjax
    >>> "degradation" in cnnjax.list_ablations()
    True
    """
    return ablation_names()


def list_datasets() -> list[str]:
    """Names of the data sets; besides, 'tfds:<name>' and the path of a folder.

    >>> import cnnjax
    >>> "digits" in cnnjax.list_datasets()
    True
    """
    return list(SOURCES)


def recipe(
    name: str | Mapping[str, Any] | ConfigDict | None = None, **changes: Any
) -> ConfigDict:
    """The config of a training: a recipe with changes.

    >>> import cnnjax
    >>> config = cnnjax.recipe("resnet_digits", model={"depth": 20}, seeds=3)
    >>> config.model.depth, config.seeds.count
    (20, 3)
    >>> config = cnnjax.recipe(model="vgg16", dataset="cifar10", train={"epochs": 5})
    >>> config.data.image_size, config.norm.kind
    (224, 'none')

    Args:
      name: of a recipe, the path of a file, or a config; None for the generic recipe,
        with `model` and `dataset` as names.
      **changes: sections with the keys that change, `train={"epochs": 5}`, or dotted
        keys, `**{"train.epochs": 5}`; `configs/base.py` explains each. `seeds=3` is
        short for `seeds={"count": 3}`, `data_dir=...` for `data={"data_dir": ...}`.

    Returns:
      A new config; every section can be read and set, new keys are refused.

    Raises:
      UserError: an unknown name or key, or a value of a wrong type; one sentence.
    """
    if name is None:
        model, dataset = changes.pop("model", None), changes.pop("dataset", None)
        if not isinstance(model, str) or not isinstance(dataset, str):
            raise UserError(
                "give the name of a recipe, or model and dataset, such as "
                'model="vgg16", dataset="cifar10" (cnnjax.list_recipes(), '
                "cnnjax.list_models() and cnnjax.list_datasets() have the names)"
            )
        config = generic_recipe(model, dataset)
    elif isinstance(name, str):
        config = load_recipe(name, WHERE)
    elif isinstance(name, ConfigDict):
        config = name.copy_and_resolve_references()
    else:
        config = from_dict(with_new_keys(dict(name)))
    override(config, changed_keys(changes))
    return config.lock()


def changed_keys(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Sections and dotted keys -> dotted keys.

    Raises:
      UserError: a section is given as something else than its keys.
    """
    found: dict[str, Any] = {}
    for key, value in changes.items():
        if key == "data_dir":
            found["data.data_dir"] = str(value)
        elif key == "seeds" and isinstance(value, int):
            found["seeds.count"] = value
        elif isinstance(value, Mapping):
            found |= flatten(value, f"{key}.")
        elif key in ("model", "dataset"):
            raise UserError(
                f"{key}={value!r} goes without a recipe: leave the recipe out, or "
                'change its net by model={"depth": 20} and its data by data={...}'
            )
        else:
            found[key] = value
    return found
