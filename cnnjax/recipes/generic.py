"""The generic recipe: any net of the registry on any data set that is known."""

import os
from pathlib import Path

from ml_collections import ConfigDict

from cnnjax.config import differences, to_dict
from cnnjax.data.dataset import SOURCES
from cnnjax.data.sources.tfds import PREFIX
from cnnjax.definitions import definition, our_folder
from cnnjax.errors import UserError, printable, shown, unknown_name
from cnnjax.models.registry import variant

FOLDER = "folder"  # the source that reads a folder of images
# Keys whose values are said: those that the recipe decides.
_SAID = (
    *("data.image_size", "data.num_validation", "norm.kind", "train.batch_size"),
    *("train.epochs", "schedule.kind", "schedule.learning_rate"),
    *("optimizer.weight_decay", "augment.translation", "augment.flip"),
    *("augment.standardize", "geometry.train"),
)


def generic_recipe(model: str, dataset: str) -> ConfigDict:
    """The config of the generic recipe for a net and a data set, locked.

    Args:
      model: an entry of the registry, or an alias.
      dataset: a name of `SOURCES`, 'tfds:<name>', or the path of a folder of images
        (with a slash in it, or a folder that is there).

    Raises:
      UserError: there is no such net or set; the message has near matches.
    """
    choice = choice_of(model, dataset)
    return definition(generic_path(), "get_config", ConfigDict, choice)


def choice_of(model: str, dataset: str) -> str:
    """The argument of the file of the generic recipe; arguments as there.

    Raises:
      UserError: as `generic_recipe`.
    """
    variant(model)  # refuses a name before the file is run
    return "|".join((model, *dataset_of(dataset)))


def generic_path() -> Path:
    """The file of the generic recipe.

    Raises:
      UserError: the package is installed without its recipes.
    """
    root = our_folder()
    if root is None:
        raise UserError(
            "the recipes are not there (no cnnjax/_configs, no configs/ beside "
            "cnnjax/): install the wheel of cnnjax, or clone its repository"
        )
    return root / "generic.py"


def dataset_of(given: str) -> tuple[str, str]:
    """(config.data.name, config.data.data_dir) of what the user calls a data set.

    Raises:
      UserError: no such name, and no such folder.
    """
    if given in SOURCES or given.startswith(PREFIX):
        return given, ""
    folder = os.path.expanduser(given)
    if os.path.isdir(folder):
        return FOLDER, folder
    if "/" in given:
        raise UserError(
            f"there is no folder {shown(given)} seen from {printable(os.getcwd())}: "
            "give a folder with a folder of images for each class, or the name of a "
            "data set (--dataset)"
        )
    allowed = [*SOURCES, f"{PREFIX}<name>"]
    where = "--dataset; a folder of images is given by its path"
    raise unknown_name("data set", given, allowed, where)


def recipe_name(model: str, dataset: str) -> str:
    """Of the generic recipe for these, as a name of a folder."""
    name, folder = dataset_of(dataset)
    last = os.path.basename(os.path.abspath(folder)) if folder else name
    return f"{model}-{last.replace(':', '-')}"


def chosen_lines(config: ConfigDict, model: str, dataset: str) -> list[str]:
    """What a config has of the generic recipe, and what was changed of it.

    Args:
      config: the recipe with the changes of the user.
      model: as given.
      dataset: as given.
    """
    flat = {
        f"{section}.{key}": value
        for section, values in to_dict(config).items()
        for key, value in values.items()
    }
    said = ", ".join(f"{key}={_word(flat[key])}" for key in _SAID)
    recipe = generic_recipe(model, dataset)
    ignored = ("data.data_dir", "seeds.", "parallel.")
    changed = differences(to_dict(recipe), to_dict(config), ignore=ignored)
    lines = [
        f"generic recipe for {model} on {dataset}, norm and size of images from the "
        f"registry, nothing tuned: {said}",
        "any of them is changed by --config.KEY=VALUE, and find_lr with the same flags "
        "finds a rate",
    ]
    return lines + ([f"changed: {'; '.join(changed)}"] if changed else [])


def _word(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
