"""Random changes of random configs, as users make them, and their outcomes."""

import dataclasses
import math
import random
import sys
from collections.abc import Sequence

from absl import flags
from ml_collections import config_flags

from cnnjax import cli
from cnnjax.config import flatten, load_recipe, override, parse_changes, splat
from cnnjax.data.dataset import load_dataset
from cnnjax.data.request import Request
from cnnjax.errors import UserError
from cnnjax.models.blocks.checks import MOST_LAYERS
from cnnjax.models.registry import VARIANTS
from cnnjax.run.setup import Run, set_up
from configs import base

RECIPES = (
    "convnet_digits",
    "densenet_cifar10",
    "googlenet_few_digits",
    "lenet_mnist",
    "mlp_mnist",
    "preact_resnet_cifar10",
    "resnet_digits",
    "resnet_few_digits",
    "wide_resnet_cifar10",
)
# Recipes, which can be given in more ways, alternate with nets of the registry.
STARTS = (*RECIPES * 20, *VARIANTS)
# Their nets are small.
QUICK = ("convnet_digits", "lenet_mnist", "mlp_mnist", "resnet_digits")
# Images without files, in place of those of a recipe that needs files.
SYNTHETIC = {
    "data.name": "synthetic",
    "data.num_train": 24,
    "data.num_validation": 4,
    "data.num_test": 6,
    "train.batch_size": 8,
}
# Numbers of layers or images above which a valid case takes too long.
MANY = 200
MOST_PIXELS = 2**24
LONGEST = 500  # characters of a sentence

INTEGERS = (0, 1, 2, 3, 5, 7, 8, 13, 24, 64, 100, -1, -7, 10**6)
HUGE = (2**31 - 1, 2**31, 2**32, 10**12, 2**63, 2**64, -(2**63), 10**30)
NUMBERS = (0.0, 1.0, 0.5, 0.1, 0.999, 1e-3, 2.5, -0.0, -0.5, 1e-300, 1e300, 1e-12, 1e9)
NO_NUMBERS = (math.nan, math.inf, -math.inf)
TEXTS = ("", " ", "none", "auto", "A", "grün", "a\nb", "*", "[", "x" * 1000, "\0", "/")
OTHERS = (None, True, False, (), (1,), (0.5, 1.5), ("a",), "3", "(2", [2], 1.5, 4, {})


@dataclasses.dataclass(frozen=True)
class Case:
    """Changes and their outcome.

    Attributes:
      number: of the case.
      start: name of a recipe or a net.
      changes: key -> value.
      way: 'typed', 'set' or 'flags': through which door the changes came.
      outcome: a `Run`, a `UserError`, None where nothing was tried, or what must not
        be.
    """

    number: int
    start: str
    changes: dict
    way: str
    outcome: object

    def trouble(self) -> str:
        """Why the outcome is a failure; '' if it is not."""
        if self.outcome is None or isinstance(self.outcome, Run):
            return ""
        sentence = str(self.outcome)
        what = f"{type(self.outcome).__name__}: {sentence}"
        if not isinstance(self.outcome, UserError):
            return what
        if len(sentence) > LONGEST or "\n" in sentence or not sentence.strip():
            return f"not one sentence: {what}"
        return ""

    def __str__(self) -> str:
        return f"case {self.number}: {self.start} by {self.way}, {self.changes}"


def run_case(seed: int, number: int, starts: Sequence[str] = STARTS) -> Case:
    """Draws a config and changes of it, and builds the run."""
    rng = random.Random(f"{seed} {number}")
    start = rng.choice(starts)
    config, recipe = _config(start)
    changes = _changes(rng, flatten(config))
    way = rng.choice(["typed", "set", "flags"])
    try:
        if way == "flags" and recipe:
            config = _by_flags(start, changes)
            if flatten(load_recipe(start))["data.name"] != "digits":
                override(config, SYNTHETIC)
        else:
            given = changes if way == "typed" else parse_changes(_words(changes))
            override(config, given)
        if _takes_long(flatten(config)):
            return Case(number, start, changes, way, None)
        outcome = set_up(config, _dataset(config))
    except Exception as error:
        outcome = error
    return Case(number, start, changes, way, outcome)


def _config(start: str):
    """A config of a recipe or a net, and whether it is a recipe."""
    if start in RECIPES:
        config = load_recipe(start)
        if config.data.name != "digits":
            size = 28 if "mnist" in start else 32
            override(config, SYNTHETIC | {"data.image_size": size})
        return config, True
    config = base.get_config()
    with config.unlocked():
        config.model = base.model_section(start)
        config.norm = base.norm_section(start)
    size = VARIANTS[start].input_shape[0]
    override(config, SYNTHETIC | {"data.image_size": size})
    return config, False


def _changes(rng: random.Random, flat: dict) -> dict:
    keys = [key for key in flat if key != "data.data_dir"]
    ours = [key for key in keys if key.startswith(("model.", "norm."))]
    chosen = [rng.choice(rng.choice([keys, ours])) for _ in range(rng.randint(1, 4))]
    return {key: _value(rng, flat[key]) for key in chosen}


def _value(rng: random.Random, old):
    """A value, mostly of the type of the old one."""
    if rng.random() < 0.15:
        return rng.choice(OTHERS)
    if isinstance(old, bool):
        return not old
    if isinstance(old, int) or old is None:
        near = (old or 1) + rng.choice([-1, 1])
        return rng.choice([rng.choice(INTEGERS), rng.choice(HUGE), near, near])
    if isinstance(old, float):
        return rng.choice([rng.choice(NUMBERS), rng.choice(NO_NUMBERS), old * 3])
    if isinstance(old, str):
        return rng.choice([rng.choice(TEXTS), rng.choice(_legal_texts())])
    if not old:
        return rng.choice([(), (1,), ("a",), ("layer_responses",), (0,), ("(",)])
    elements = list(old)
    for _ in range(rng.randint(0, 2)):
        i = rng.randrange(len(elements))
        elements[i] = _value(rng, elements[i])
    if rng.random() < 0.3:
        elements = elements[: rng.randint(0, len(elements))] + elements[:1]
    return tuple(elements)


def _legal_texts() -> list[str]:
    """Values that are valid for some key, usually another one."""
    names = ("batch", "group", "layer", "instance", "none", "local_response", "pre")
    kinds = ("relu", "swish", "B", "C", "cosine", "adamw", "bfloat16", "streaming")
    return [*names, *kinds, "orthogonal", "precise", "ema", "pmap", "seed=2", "data=1"]


def _words(changes: dict) -> list[str]:
    return [f"{key}={value}" for key, value in changes.items()]


def _by_flags(recipe: str, changes: dict):
    """The config of `train --config=RECIPE --config.KEY=VALUE`."""
    words = ["train", f"--config={recipe}"]
    words += [f"--config.{word}" for word in _words(changes)]
    old, old_argv = flags.FLAGS, sys.argv
    flags.FLAGS, sys.argv = flags.FlagValues(), words
    try:
        config_flags.DEFINE_config_file("config", flag_values=flags.FLAGS)
        cli.parse(words)
        return flags.FLAGS["config"].value
    finally:
        flags.FLAGS, sys.argv = old, old_argv


def _takes_long(flat: dict) -> bool:
    """Whether a case has so many images, layers or seeds that it takes minutes."""
    images = [
        flat[f"data.num_{split}"] or 0 for split in ("train", "validation", "test")
    ]
    side = flat["data.image_size"] or 32
    if flat["data.name"] == "synthetic" and (
        max(images) * side * side > MOST_PIXELS
        or (flat["data.num_classes"] or 0) > MANY
    ):
        return True
    for key, value in flat.items():
        many = [value] if isinstance(value, int) else value
        is_layers = any(
            word in key for word in ("depth", "blocks", "layers", "num_convs")
        )
        if is_layers and isinstance(many, list):
            numbers = [n for n in many if isinstance(n, int | float)]
            # More than MOST_LAYERS are refused before anything is built.
            if any(MANY < n <= MOST_LAYERS for n in numbers):
                return True
    return False


_known: dict[str, object] = {}


def _dataset(config):
    """The images, which are read once for each section `data`."""
    key = config.data.to_json()
    if key not in _known:
        _known.clear()
        _known[key] = load_dataset(splat("data", Request, config.data))
    return _known[key]
