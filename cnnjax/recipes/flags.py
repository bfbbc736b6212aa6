"""Flags that choose what is trained: a recipe, or a net and a data set."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags
from ml_collections import ConfigDict, config_flags

from cnnjax.config import (
    flatten,
    keep_one_budget,
    load_recipe,
    recipe_path,
    unknown_key,
)
from cnnjax.errors import UserError
from cnnjax.screen import say

# The flags below belong to the programs that define them, not to this module.
flags.disclaim_key_flags()

MISSING = (
    "--config is missing: give a recipe of configs/, or a path; or --model and "
    "--dataset for any net on any data set"
)


# The words after `resolve_recipe`, where ml_collections looks for --config.KEY.
_words: list[str] = []


class Given(NamedTuple):
    """What the flags ask for.

    Attributes:
      config: with all changes.
      name: of the recipe, for folders and titles.
    """

    config: ConfigDict
    name: str


def define_recipe_flags() -> None:
    """Defines --config, --model, --dataset and --data_dir."""
    config_flags.DEFINE_config_file(
        "config",
        None,
        "Recipe: a name from configs/ or a path; followed by --config.KEY=VALUE.",
        sys_argv=_words,
    )
    flags.DEFINE_string(
        "model", "", "In place of --config: a net of ./launch.sh models, and"
    )
    flags.DEFINE_string(
        "dataset", "", "a data set, such as cifar10, tfds:NAME or a folder of images."
    )
    flags.DEFINE_string(
        "data_dir",
        "",
        "Folder of prepared data sets; short for --config.data.data_dir.",
    )


def given_recipe() -> Given:
    """What the flags of `define_recipe_flags` ask for; says what a generic recipe has.

    Raises:
      UserError: neither a recipe nor a net was given.
    """
    flag: Any = flags.FLAGS["config"]
    values = flags.FLAGS.flag_values_dict()
    config: Any = flag.value
    if config is None:
        raise UserError(MISSING)
    keep_one_budget(config, config_flags.get_override_values(flag))
    if values["data_dir"]:
        config.data.data_dir = values["data_dir"]
    if not values["model"]:
        return Given(config, Path(flag.config_filename).stem)
    # Imported late: it imports jax.
    from cnnjax.recipes.generic import chosen_lines, recipe_name

    model, dataset = values["model"], values["dataset"]
    for line in chosen_lines(config, model, dataset):
        say(line)
    return Given(config, recipe_name(model, dataset))


def resolve_recipe(
    argv: list[str],
) -> tuple[list[str], ConfigDict | None, list[str]]:
    """Replaces a recipe by the path of its file; checks the keys after it.

    `--train.epochs=3` is short for `--config.train.epochs=3`.

    Returns:
      The new words, the config of the recipe if there is one, and the keys that are
      set to None, which ml_collections would not accept.
    """
    takes_any = "dataset" in flags.FLAGS and "config" in flags.FLAGS
    chosen = _chosen(argv) if takes_any else {}
    words, recipe = iter(argv), None
    resolved: list[str] = []
    nones: list[str] = []
    if chosen:
        recipe, flag = _generic(chosen)
        resolved, words = [next(words), flag], words
    for word in words:
        if word == "--config":
            word = f"--config={next(words, '')}"
        name, _, value = word.partition("=")
        if name == "--config" and chosen:
            raise UserError(
                f"{word} is a recipe, and --model and --dataset take the generic one: "
                "give one of the two (a recipe's net is section config.model)"
            )
        if name == "--config" and recipe is not None:
            raise UserError(f"{word} is the second --config: give one recipe")
        if name == "--config":
            path = recipe_path(value)
            recipe, word = load_recipe(str(path)), f"--config={path}"
        elif recipe is not None and _is_key(name, recipe):
            name, word = f"--config.{name[2:]}", f"--config.{word[2:]}"
        if name.startswith("--config.") and "config" in flags.FLAGS:
            if recipe is None:
                raise UserError(f"{word} has no recipe to change: give --config first")
            # ml_collections handles indices such as widths[0].
            key, known = name.removeprefix("--config.").split("[")[0], flatten(recipe)
            if key not in known:
                raise unknown_key(key, known)
            if value == "None":
                nones.append(key)
                continue
        resolved.append(word)
    _words[:] = resolved
    return resolved, recipe, nones


def _is_key(name: str, recipe: ConfigDict) -> bool:
    """Whether a word is a key of the recipe, and no flag."""
    is_short = name.startswith("--") and "." in name and name[2:] not in flags.FLAGS
    return is_short and name[2:].split(".")[0] in recipe


def _chosen(argv: list[str]) -> dict[str, str]:
    """The values of --model and --dataset; empty where neither is given.

    Raises:
      UserError: only one of them is.
    """
    chosen = dict(_values(argv, ("model", "dataset")))
    if len(chosen) == 1:
        given, value = next(iter(chosen.items()))
        other = {"model": "dataset", "dataset": "model"}[given]
        example = {"model": "resnet20_cifar", "dataset": "digits"}[other]
        raise UserError(
            f"--{given}={value} needs --{other} too, such as --{other}={example} (or "
            "give a recipe by --config)"
        )
    return chosen


def _values(argv: list[str], names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    for place, word in enumerate(argv):
        name, equals, value = word.partition("=")
        if name.startswith("-") and name.lstrip("-") in names:
            after = argv[place + 1] if place + 1 < len(argv) else ""
            yield name.lstrip("-"), value if equals else after


def _generic(chosen: dict[str, str]) -> tuple[ConfigDict, str]:
    """The generic recipe, and the flag that gives it to ml_collections."""
    # Imported late: it imports jax.
    from cnnjax.recipes.generic import choice_of, generic_path, generic_recipe

    return (
        generic_recipe(**chosen),
        f"--config={generic_path()}:{choice_of(**chosen)}",
    )
