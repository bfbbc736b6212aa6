"""The list of architectures, and how to build one by name.

Adding a family is one file with a `VARIANTS` table and one line in `FAMILIES`.
"""

import fnmatch
import importlib
import math
import sys
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from flax import linen as nn

from cnnjax.errors import UserError, shown, unknown_name
from cnnjax.layers.act import make_act
from cnnjax.layers.norm import Norm
from cnnjax.layers.ordinary import accepts, as_function
from cnnjax.models.blocks.checks import check_counts
from cnnjax.models.variant import Variant

# A family is a file of this folder.
FAMILIES = (
    "mlp",
    "lenet",
    "convnet",
    "alexnet",
    "zfnet",
    "nin",
    "vgg",
    "googlenet",
    "bn_inception",
    "inception_v2",
    "inception_v3",
    "inception_v4",
    "inception_resnet",
    "cifar_resnet",
    "resnet",
    "preact_resnet",
    "resnext",
    "wide_resnet",
    "senet",
    "densenet",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3",
)

VARIANTS: dict[str, Variant] = {
    name: variant
    for family in FAMILIES
    for name, variant in importlib.import_module(
        f"cnnjax.models.{family}"
    ).VARIANTS.items()
}
ALIASES: dict[str, str] = {
    alias: name for name, variant in VARIANTS.items() for alias in variant.aliases
}

DTYPES = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float64": jnp.float64}


def list_models(pattern: str = "*") -> list[str]:
    """Names of all entries that match a shell pattern, in the order of the list.

    >>> import cnnjax
    >>> cnnjax.list_models("resnet50")
    ['resnet50']

    An entry also matches by one of its aliases, but is listed under its own name.
    """
    return [
        name
        for name, entry in VARIANTS.items()
        if any(fnmatch.fnmatch(n, pattern) for n in (name, *entry.aliases))
    ]


def variant(name: str) -> Variant:
    """Looks an entry up, by its name or an alias.

    Raises:
      UserError: there is no such entry.
    """
    name = ALIASES.get(name, name)
    if name not in VARIANTS:
        where = "config.model.name or --model; ./launch.sh models lists them"
        raise unknown_name("model", name, [*VARIANTS, *ALIASES], where)
    return VARIANTS[name]


def create_model(
    name: str,
    *,
    num_classes: int | None = None,
    norm: Norm | str | None = None,
    act: str | Callable | None = None,
    dtype: str = "float32",
    **arguments: Any,
) -> nn.Module:
    """Builds a net by name.

    >>> import cnnjax, jax, jax.numpy as jnp
    >>> model = cnnjax.create_model("convnet_digits", norm="group", num_classes=5)
    >>> images = jnp.zeros((2, 8, 8, 1))
    >>> variables = model.init(jax.random.key(0), images, train=False)
    >>> model.apply(variables, images, train=False).shape
    (2, 5)

    Args:
      name: an entry of `list_models()`, or one of its aliases.
      num_classes: width of the last layer; None is that of the entry.
      norm: a `Norm`, or the name of a kind, with the entry's other
        settings (such as epsilon) and, for 'group', in each layer the largest divisor
        of its channels up to 32; None is the entry's own.
      act: name of an activation, a function, or a Linen module (class or instance)
        that every place makes anew; None is the entry's own.
      dtype: compute type, 'float32', 'bfloat16' or 'float64'; parameters and
        statistics stay float32 (float64 only under x64).
      **arguments: the net's own arguments, in place of the entry's.

    Returns:
      A Linen module, called as `module(images, train=...)`.

    Raises:
      UserError: an unknown name or argument, or a value out of range.
    """
    entry = variant(name)
    defaults = entry.defaults()
    for given, value in arguments.items():
        if given not in defaults:
            raise unknown_name(
                f"argument of model {name!r}", given, defaults, f"config.model.{given}"
            )
        if value is None and defaults[given] is not None:
            raise UserError(
                f"config.model.{given} cannot be None: give a value such as "
                f"{defaults[given]!r}"
            )
        arguments[given] = _like(given, value, defaults[given])
    check_counts(arguments)
    if dtype not in DTYPES:
        raise unknown_name("compute type", dtype, DTYPES, "config.train.dtype")
    if dtype == "float64" and jnp.result_type(float) != jnp.float64:
        raise UserError(
            "compute type 'float64' needs JAX's x64 mode: set the environment variable "
            "JAX_ENABLE_X64=1, or choose another config.train.dtype"
        )
    if num_classes is not None and num_classes < 2:
        raise UserError(
            f"a classifier needs at least 2 classes, not {num_classes} (set by "
            "config.data.num_classes or by the data)"
        )
    act = entry.act if act is None else act
    shared: dict[str, Any] = {
        "num_classes": entry.num_classes if num_classes is None else num_classes,
        "norm": norm if isinstance(norm, Norm) else _norm_of(entry, norm),
        "act": make_act(act) if isinstance(act, str) else as_function(act),
        "dtype": DTYPES[dtype],
    }
    _check_call(name, entry, shared)
    taken = {key: value for key, value in shared.items() if entry.takes(key)}
    return entry.build(**taken, **(defaults | arguments))


def _check_call(name: str, entry: Variant, shared: dict[str, Any]) -> None:
    """Refuses what a net of the user's own would not notice.

    Raises:
      UserError: the net takes no `train`, or not what was chosen.
    """
    if not accepts(entry.build.__call__, "train"):
        raise UserError(
            f"net {name!r} cannot be trained: its call must be "
            f"__call__(self, images, *, train) ({entry.build.__name__})"
        )
    fixed = {
        "num_classes": (entry.num_classes, "the data set, config.data.num_classes"),
        "norm": (_norm_of(entry, None), "section config.norm"),
        "act": (make_act(entry.act), "config.model.act"),
        "dtype": (DTYPES["float32"], "config.train.dtype"),
    }
    for argument, (own, where) in fixed.items():
        if not entry.takes(argument) and shared[argument] != own:
            raise UserError(
                f"net {name!r} has no field {argument!r}, and {where} asks for another "
                f"than that of its entry, {_shown(own)}: leave it as it is, or give "
                f"{entry.build.__name__} that field"
            )


def _shown(own: Any) -> str:
    if isinstance(own, Norm):
        return f"kind {own.kind!r}"
    return str(getattr(own, "__name__", own))


def _like(given: str, value: Any, default: Any) -> Any:
    """The value in the type of the default; lists become tuples.

    Raises:
      UserError: a value of another type, such as text for a truth value.
    """
    if isinstance(default, tuple) and isinstance(value, tuple | list):
        # An empty default says nothing of its elements.
        kinds = default[:1] * len(value) if default else value
        return tuple(_like(given, v, d) for v, d in zip(value, kinds, strict=True))
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    is_number = is_number and abs(value) <= sys.float_info.max
    fits = {
        bool: isinstance(value, bool),
        int: is_number and float(value).is_integer(),
        float: is_number and math.isfinite(value),
        type(None): value is None or isinstance(value, bool),  # left to the net
    }.get(type(default), type(value) is type(default))
    if not fits:
        like = "True, False or None" if default is None else f"a value like {default!r}"
        raise UserError(f"config.model.{given} takes {like}, not {shown(value)}")
    return type(default)(value) if is_number and default is not None else value


def _norm_of(entry: Variant, kind: str | None) -> Norm:
    return Norm(**(entry.norm if kind is None else entry.norm | {"kind": kind}))
