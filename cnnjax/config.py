"""Load, change, compare and write the config of a run; defaults are in `configs/`."""

import ast
import copy
import hashlib
import inspect
import json
import os
import pathlib
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import ml_collections

from cnnjax.definitions import definition, definition_path
from cnnjax.errors import UserError, near_matches, shown

# Keys that change the location of files or the output, never a number in a result.
# The images that are measured are in the fingerprint of the data.
_ELSEWHERE = ("data.data_dir", "data.measured_images", "start.folder")
IRRELEVANT = (*_ELSEWHERE, "log.", "checkpoint.")
# Keys whose value is a path; '' for none.
PATHS = ("data.data_dir", "start.folder")
# Keys of execution change only rounding, so a run may be resumed with other values.
EXECUTION = (
    "model.scan_blocks",
    "model.remat",
    "train.impl",
    "train.microbatches",
    "train.seed_mode",
    "parallel.",
)
_AUGMENTATIONS = (
    *("brightness", "contrast", "cutmix_alpha", "erase", "grey", "hue", "noise"),
    *("pca_colour", "resized_crop", "rotation", "saturation", "scale", "shear"),
    "translation",
)
# Key -> the value in stored configs that were written before the key existed.
BEFORE: dict[str, Any] = {
    **{f"augment.{name}": 0.0 for name in _AUGMENTATIONS},
    "augment.flip_vertical": False,
    "augment.randaugment": 0,
    "augment.randaugment_magnitude": 9,
    "augment.resized_crop_aspect": 4 / 3,
    "data.channels": 0,
    "loss.kind": "cross_entropy",
    "loss.l2": 0.0,
    "geometry.train": "center",
    "geometry.evaluation": "center",
    "geometry.shorter_side": [256, 480],
    "geometry.area": [0.08, 1.0],
    "geometry.aspect": [3 / 4, 4 / 3],
    "geometry.fraction": 0.875,
    "geometry.interpolation": "bilinear",
    "geometry.scales": [256, 384, 512],
    "data.classes": [],
    "start.weights": "",
    "start.folder": "",
    "start.digest": "",
    "start.source": "",
    "start.which": "last",
    "start.seed": -1,
    "start.drawn": [],
    "start.preprocess": "source",
    "start.trains": "all",
    "start.rates": [],
    "start.unfreeze_epochs": 0.0,
    "start.statistics": "trained",
    "start.norm_parameters": True,
    "data.exclude": [],
    "data.label_noise": 0.0,
    "data.measured_images": 0,
    "eval.flip": False,
    "eval.crops": "whole",
    "eval.crop_size": 0,
    "eval.scales": [],
    "eval.members": 1,
    "eval.snapshots": 1,
    "schedule.cycles": 1,
}
# Sections that are younger than the first stored configs.
LATER_SECTIONS = ("geometry", "start")
# Keys whose tuple is empty by default -> type of its elements; of others, text.
OF_EMPTY = {"data.exclude": int, "eval.scales": float}
# Seeds belong to the run, not to the arm: equal arms may be pooled.
SEEDS = ("seeds.",)
# Types of values in words.
KINDS = {int: "integer", float: "number", bool: "boolean", str: "text"}


def recipe_path(name: str, where: str = "--config") -> pathlib.Path:
    """File of a recipe given by name ('resnet_digits') or by path.

    Raises:
      UserError: there is no such file; the message lists near matches.
    """
    return definition_path(name, ("configs",), "config", where)


def load_recipe(name: str, where: str = "--config") -> ml_collections.ConfigDict:
    """The locked config of a recipe, before any override.

    Args:
      name: or path.
      where: the flag or key that sets it, for the message.

    Raises:
      UserError: there is no such recipe, or its file is broken or sets a key that does
        not exist.
    """
    path = recipe_path(name, where)
    return definition(path, "get_config", ml_collections.ConfigDict)


def flatten(config: Mapping, prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value, in sorted order."""
    flat = {}
    for key in sorted(config):
        value = config[key]
        name = f"{prefix}{key}"
        if isinstance(value, Mapping | ml_collections.ConfigDict):
            flat.update(flatten(value, f"{name}."))
        else:
            flat[name] = list(value) if isinstance(value, tuple) else value
    return flat


def override(config: ml_collections.ConfigDict, changes: Mapping[str, Any]) -> None:
    """Sets dotted keys in place; a section given as a mapping is replaced as a whole.

    Raises:
      UserError: a key does not exist, or a value has the wrong type.
    """
    for key, value in changes.items():
        if key in config and isinstance(value, Mapping | ml_collections.ConfigDict):
            with config.unlocked():
                config[key] = ml_collections.ConfigDict(value)
            continue
        known = flatten(config)
        if key not in known:
            raise unknown_key(key, known)
        value = _like(value, known[key])
        check_kind(config, key, value)
        try:
            config.update_from_flattened_dict({key: value})
        except (TypeError, ValueError) as error:
            raise wrong_type(config, key, value) from error
        check_tuples({key: known[key]}, flatten(config))
    keep_one_budget(config, changes)


def keep_one_budget(config: ml_collections.ConfigDict, given: Iterable[str]) -> None:
    """Lets a budget in steps replace the recipe's in epochs, and vice versa.

    Args:
      config: changed in place.
      given: the dotted keys that the user set.
    """
    for key, other in (("steps", "epochs"), ("epochs", "steps")):
        is_set = f"train.{key}" in given and config.train[key]
        if is_set and f"train.{other}" not in given:
            config.train[other] = type(config.train[other])(0)


def check_kind(config: ml_collections.ConfigDict, key: str, value: Any) -> None:
    """Refuses values that ml_collections accepts: a tuple for None, True for 1.

    Raises:
      UserError: describes the allowed values.
    """
    kind = _type_of(config, key)
    is_list = isinstance(value, list | tuple | set | Mapping)
    fits = kind is bool if isinstance(value, bool) else is_list == (kind is tuple)
    if value is not None and not fits:
        raise wrong_type(config, key, value)


def check_tuples(old: Mapping[str, Any], new: Mapping[str, Any]) -> None:
    """Refuses tuples whose elements have another type than those they replace.

    Args:
      old: from `flatten`, where tuples are lists.
      new: the same keys after changes.

    Raises:
      UserError: names the key and both values.
    """
    for key, elements in old.items():
        empty = OF_EMPTY.get(key, str)
        kind = type(elements[0]) if isinstance(elements, list) and elements else empty
        allowed = (int, float) if kind is float else kind
        if isinstance(elements, list) and not all(
            isinstance(e, allowed) and not isinstance(e, bool) for e in new[key] or ()
        ):
            raise UserError(
                f"config.{key} takes a tuple of {KINDS[kind]}s such as "
                f"{tuple(elements) or (kind(),)}, not {shown(tuple(new[key]))} (its "
                "legal values are in configs/base.py)"
            )


def parse_changes(words: list[str]) -> dict[str, Any]:
    """'train.epochs=4' -> {'train.epochs': 4}; values are Python literals or text.

    Raises:
      UserError: a word has no '='.
    """
    changes = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not equals:
            raise UserError(f"--set={word} has no value: write --set=train.epochs=4")
        try:
            changes[key] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            changes[key] = text
    return changes


def _like(value: Any, old: Any) -> Any:
    return tuple(value) if isinstance(value, list) and isinstance(old, list) else value


def _type_of(config: ml_collections.ConfigDict, key: str) -> type:
    """The type of a dotted key, even if its value is None."""
    *sections, name = key.split(".")
    for section in sections:
        config = config[section]
    return config.get_type(name)


def unknown_key(key: str, known: Iterable[str]) -> UserError:
    """Builds the error for a config key that does not exist."""
    close = near_matches(key, known) or [k for k in known if k.endswith(f".{key}")][:3]
    section = key.split(".")[0]
    inside = [k for k in known if k.startswith(f"{section}.")]
    if close:
        hint = f"did you mean {' or '.join(close)}?"
    elif inside:
        hint = f"section {section} has {', '.join(k.split('.', 1)[1] for k in inside)}"
    else:
        hint = f"sections are {', '.join(sorted({k.split('.')[0] for k in known}))}"
    return UserError(
        f"config has no key {shown(key)}: {hint} (every key is explained in "
        "configs/base.py)"
    )


def wrong_type(config: ml_collections.ConfigDict, key: str, value: Any) -> UserError:
    """Builds the error for a value that a config key does not take."""
    kind, old = _type_of(config, key), flatten(config)[key]
    old = tuple(old) if isinstance(old, list) else old
    name = KINDS.get(kind, kind.__name__)
    article = "an" if name[0] in "aeiou" else "a"
    example = "" if old is None else f" such as {old!r}"
    return UserError(
        f"config.{key} takes {article} {name}{example}, not {shown(value)} (its legal "
        "values are in configs/base.py)"
    )


def deciding_keys(
    config: Mapping, ignore: tuple[str, ...] = IRRELEVANT + EXECUTION + SEEDS
) -> dict[str, Any]:
    """All keys of the config that can change a result beyond rounding.

    Those with the value that runs had before the key existed are left out.
    """
    return {
        k: v
        for k, v in flatten(config).items()
        if not k.startswith(ignore) and (k not in BEFORE or v != BEFORE[k])
    }


def digest(
    config: Mapping, ignore: tuple[str, ...] = IRRELEVANT + EXECUTION + SEEDS
) -> str:
    """Hash of all keys of the config that can change a result beyond rounding."""
    text = json.dumps(deciding_keys(config, ignore), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def differences(
    old: Mapping, new: Mapping, ignore: tuple[str, ...] = IRRELEVANT + EXECUTION
) -> list[str]:
    """'key: old -> new' for every key that differs, except the ignored ones."""
    a, b = BEFORE | flatten(old), BEFORE | flatten(new)
    return [
        f"{key}: {a.get(key, 'absent')!r} -> {b.get(key, 'absent')!r}"
        for key in sorted(a.keys() | b.keys())
        if not key.startswith(ignore) and a.get(key, "absent") != b.get(key, "absent")
    ]


def with_new_keys(stored: dict[str, Any]) -> dict[str, Any]:
    """Adds keys that are newer than a stored config, with the values of that time."""
    for key, value in BEFORE.items():
        section, name = key.split(".")
        if section in LATER_SECTIONS and "model" in stored:
            stored.setdefault(section, {})
        if section in stored:
            stored[section].setdefault(name, copy.copy(value))
    return stored


def to_dict(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """The config as a plain nested dict, as written to `config.json`.

    Its paths are absolute, because it may be read from another folder.
    """
    plain = json.loads(json.dumps(config.to_dict(), sort_keys=True))
    for dotted in PATHS:
        section, key = dotted.split(".")
        path = plain.get(section, {}).get(key)
        if path and isinstance(path, str):  # else what builds the section refuses it
            plain[section][key] = os.path.abspath(os.path.expanduser(path))
    return plain


def from_dict(sections: Mapping[str, Any]) -> ml_collections.ConfigDict:
    """The inverse of `to_dict`; lists become tuples, because modules are hashed."""

    def with_tuples(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: with_tuples(inner) for key, inner in value.items()}
        return tuple(map(with_tuples, value)) if isinstance(value, list) else value

    return ml_collections.ConfigDict(with_tuples(sections))


def splat(section: str, builder: Callable, values: Mapping, **more: Any) -> Any:
    """Calls a builder with every key of a section of the config.

    Args:
      section: its name, for the message.
      builder: function or dataclass whose keyword arguments are the keys.
      values: the section.
      **more: arguments that do not come from the section.

    Returns:
      The value of the builder.

    Raises:
      UserError: the section has a key that the builder does not take, lacks one, or
        has a value that the builder's annotation does not allow.
    """
    known = inspect.signature(builder).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in known.values())
    for key in values:
        if key not in known and not takes_any:
            raise unknown_key(
                f"{section}.{key}", [f"{section}.{name}" for name in known]
            )
        rest = [p for p in known.values() if p.kind is p.VAR_KEYWORD]
        wanted = (known[key] if key in known else rest[0]).annotation
        if not _fits(values[key], wanted):
            raise UserError(
                f"config.{section}.{key} cannot be {shown(values[key])} (its legal "
                "values are in configs/base.py)"
            )
    for name, parameter in known.items():
        missing = parameter.default is parameter.empty and name not in (*values, *more)
        if missing and parameter.kind is not parameter.VAR_KEYWORD:
            raise UserError(
                f"config.{section} lacks the key {name!r}: start the recipe from "
                "configs/base.py, which has every key"
            )
    return builder(**values, **more)


def _fits(value: Any, annotation: Any) -> bool:
    """Whether an annotation allows a value; True for what it does not tell.

    The configs of our own programs fit; those of files may hold anything.
    """
    inner = typing.get_args(annotation)
    kind = typing.get_origin(annotation) or annotation
    if kind in (typing.Union, types.UnionType):
        return any(_fits(value, each) for each in inner)
    if kind in (tuple, list, Sequence) and inner:
        # Ranges are checked by the builders, of single numbers.
        return isinstance(value, list | tuple) and all(
            _fits(each, inner[0]) and each not in (float("inf"), -float("inf"))
            for each in value
        )
    if kind is int:
        is_truth = isinstance(value, bool)
        return isinstance(value, int) and not is_truth and abs(value) < 2**63
    if kind is float:  # amounts may be truth values
        is_number = isinstance(value, int | float) and value == value
        return is_number and not sys.float_info.max < abs(value) < float("inf")
    if kind in (bool, str, types.NoneType):
        return isinstance(value, kind)
    if kind is Callable:
        return callable(value)
    return value is not None or kind in (Any, inspect.Parameter.empty)
