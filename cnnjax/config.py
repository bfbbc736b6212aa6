"""Load, change, compare and write the config of a run. Defaults live in `configs/`."""

import ast
import hashlib
import importlib.util
import inspect
import json
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import ml_collections

from cnnjax.errors import UserError, near_matches, unknown_name

# Keys that change where files lie or what is shown, never a number in a result.
IRRELEVANT = ("data.data_dir", "log.", "checkpoint.")
# The seed axis is a property of the run, not of the arm: equal arms may be pooled.
SEEDS = ("seeds.",)


def recipe_path(name: str) -> pathlib.Path:
    """File of a recipe given by name ('resnet_digits') or by path.

    Raises:
      UserError: no such file; near matches are named.
    """
    if name.endswith(".py"):
        path = pathlib.Path(name)
        if path.is_file():
            return path
    spec = importlib.util.find_spec("configs")
    folder = pathlib.Path(next(iter(spec.submodule_search_locations))) if spec else None
    stem = pathlib.Path(name).stem
    if folder and not name.endswith(".py") and (folder / f"{stem}.py").is_file():
        return folder / f"{stem}.py"
    names = [p.stem for p in folder.glob("*.py")] if folder else []
    recipes = [n for n in names if n not in ("__init__", "base")]
    raise unknown_name("config", name, recipes, "--config=configs/NAME.py")


def load_module(path: pathlib.Path) -> Any:
    """Runs a Python file of definitions and returns its module."""
    spec = importlib.util.spec_from_file_location(f"cnnjax_file_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def load_recipe(name: str) -> ml_collections.ConfigDict:
    """The config of a recipe, locked, before any override.

    Raises:
      UserError: no such recipe, or its file sets a key that does not exist.
    """
    path = recipe_path(name)
    try:
        return load_module(path).get_config()
    except (AttributeError, KeyError, TypeError) as error:
        raise UserError(f"config file {path} cannot be used: {error}") from error


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
    """Sets dotted keys in place.

    Raises:
      UserError: a key that does not exist, or a value of the wrong type.
    """
    known = flatten(config)
    for key, value in changes.items():
        if key not in known:
            raise unknown_key(key, known)
        try:
            config.update_from_flattened_dict({key: _like(value, known[key])})
        except (TypeError, ValueError) as error:
            raise wrong_type(key, value, known[key]) from error


def parse_changes(words: list[str]) -> dict[str, Any]:
    """'train.epochs=4' -> {'train.epochs': 4}; values are Python literals or text.

    Raises:
      UserError: a word without '='.
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


def unknown_key(key: str, known: Iterable[str]) -> UserError:
    """The sentence for a config key that does not exist."""
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
        f"config has no key {key!r}: {hint} (every key is explained in configs/base.py)"
    )


def wrong_type(key: str, value: Any, old: Any) -> UserError:
    """The sentence for a config value of the wrong type."""
    kind = "tuple" if isinstance(old, list) else type(old).__name__
    return UserError(
        f"config.{key} takes a {kind} such as {old!r}, not {value!r} "
        "(its legal values are in configs/base.py)"
    )


def explain_flag_error(text: str, config_name: str | None) -> str:
    """Turns what absl or ml_collections say of a bad --config flag into a sentence."""
    match = re.search(r"config\.([\w.]+)", text)
    if match and config_name:
        known = flatten(load_recipe(config_name))
        key = match.group(1).rstrip(".")
        if key not in known:
            return str(unknown_key(key, known))
    return " ".join(text.split())


def digest(config: Mapping, ignore: tuple[str, ...] = IRRELEVANT + SEEDS) -> str:
    """Hash of everything in the config that can change a number."""
    flat = {k: v for k, v in flatten(config).items() if not k.startswith(ignore)}
    text = json.dumps(flat, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def differences(
    old: Mapping, new: Mapping, ignore: tuple[str, ...] = IRRELEVANT
) -> list[str]:
    """'key: old -> new' for every key that differs, except the ignored ones."""
    a, b = flatten(old), flatten(new)
    return [
        f"{key}: {a.get(key, 'absent')!r} -> {b.get(key, 'absent')!r}"
        for key in sorted(a.keys() | b.keys())
        if not key.startswith(ignore) and a.get(key, "absent") != b.get(key, "absent")
    ]


def to_dict(config: ml_collections.ConfigDict) -> dict[str, Any]:
    """Plain nested dict, as written to `config.json`."""
    return json.loads(json.dumps(config.to_dict(), sort_keys=True))


def splat(section: str, builder: Callable, values: Mapping, **more: Any) -> Any:
    """Calls a builder with every key of a section of the config.

    Args:
      section: its name, for the message.
      builder: function or dataclass whose keyword arguments are the keys.
      values: the section.
      **more: arguments that do not come from the section.

    Raises:
      UserError: the section has a key that the builder does not take, or lacks one.
    """
    known = inspect.signature(builder).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in known.values())
    for key in values:
        if key not in known and not takes_any:
            raise unknown_key(
                f"{section}.{key}", [f"{section}.{name}" for name in known]
            )
    for name, parameter in known.items():
        missing = parameter.default is parameter.empty and name not in (*values, *more)
        if missing and parameter.kind is parameter.KEYWORD_ONLY:
            raise UserError(
                f"config.{section} lacks the key {name!r}: start the recipe from "
                "configs/base.py, which has every key"
            )
    return builder(**values, **more)


def in_range(key: str, value: float, low: float, high: float, unit: str = "") -> None:
    """Refuses a number outside [low, high].

    Raises:
      UserError: names the key, the value and the range.
    """
    if not low <= value <= high:
        unit = f" {unit}" if unit else ""
        bounds = f"at least {low}" if high == float("inf") else f"from {low} to {high}"
        raise UserError(f"config.{key} is {value}{unit} but must be {bounds}{unit}")
