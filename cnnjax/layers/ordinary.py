"""Ordinary Linen modules in the places of our own layers."""

import dataclasses
import functools
import inspect
from collections.abc import Callable
from typing import Any

import jax
from flax import linen as nn


def accepts(function: Callable, name: str) -> bool:
    """Whether a function takes an argument of that name."""
    parameters = inspect.signature(function).parameters.values()
    return any(p.name == name or p.kind is p.VAR_KEYWORD for p in parameters)


def with_train(module: nn.Module) -> Callable[..., jax.Array]:
    """A layer as our nets call a norm, `layer(x, train=train)`.

    Args:
      module: takes `train`; or, as Flax's own layers do, `use_running_average` or
        `deterministic`, which are its opposite; or nothing of the kind. Of these the
        output is given the type of the input, which Flax's float32 parameters change.
    """
    for name in ("train", "use_running_average", "deterministic"):
        chosen = name != "train" and getattr(module, name, None) is not None
        if accepts(type(module).__call__, name) and not chosen:
            break
    else:
        return lambda x, *, train: module(x).astype(x.dtype)
    if name == "train":
        return module
    return lambda x, *, train: module(x, **{name: not train}).astype(x.dtype)


def as_function(act: Any) -> Callable[[jax.Array], jax.Array]:
    """An activation as our nets call it, `act(x)`.

    Args:
      act: a function; or a Linen module, as a class, a `functools.partial` of one, or
        an instance: then every place of a net has a module, and parameters, of its own.
    """
    build = act.func if isinstance(act, functools.partial) else act
    if isinstance(act, nn.Module) or (
        isinstance(build, type) and issubclass(build, nn.Module)
    ):
        return ActOfModule(act)
    return act


@dataclasses.dataclass(frozen=True)
class ActOfModule:
    """Makes a module wherever it is called, under the name that Linen gives it.

    The output is given the type of the input.
    """

    module: Any

    def __call__(self, x: jax.Array) -> jax.Array:
        is_instance = isinstance(self.module, nn.Module)
        act = self.module.copy() if is_instance else self.module()
        return act(x).astype(x.dtype)
