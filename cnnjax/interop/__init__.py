"""Weights of other libraries in our nets, and ours in theirs.

    variables = interop.load("resnet50", "resnet50.safetensors", source="torchvision")
    variables = interop.from_torch("resnet50", state_dict, source="timm")
    state_dict = interop.to_torch("resnet50", variables, source="torchvision")

State dicts are dictionaries of NumPy arrays; torch is needed to write its own files,
not to read them. The converted net computes the same function as the source's net, or
is refused. Names and shapes are compared before values are read. Entries of a file that
were left out are logged.
"""

import logging
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from flax import traverse_util
from flax.core import meta

from cnnjax.errors import UserError, printable
from cnnjax.interop.convert import state_dict_of
from cnnjax.interop.files.read import checked_path, opened
from cnnjax.interop.net import converted, net_of, taken_from
from cnnjax.interop.sources import NAMES, PREPARED, SOURCES, sources_of
from cnnjax.models.registry import variant
from cnnjax.net.stacked import unstack

_LOG = logging.getLogger(__name__)

__all__ = ["NAMES", "SOURCES", "from_torch", "load", "sources_of", "to_torch"]


def from_torch(
    name: str,
    state_dict: Mapping[str, Any],
    source: str = "torchvision",
    *,
    weights: str | None = None,
    initial_head: bool = False,
    seed: int = 0,
    input_shape: tuple[int, int, int] | None = None,
    **overrides: Any,
) -> dict[str, Any]:
    """Converts a state dict to the variables of a net.

    Args:
      name: an entry of `cnnjax.list_models()` or an alias.
      state_dict: name -> array or tensor with the names of the source's net, or a
        checkpoint that holds one; a common prefix of all names is removed.
      source: 'torchvision', 'timm'; 'cifar' for the public CIFAR-10 ports whose
        option-A shortcuts pad zero channels on both sides, 'cifar_append' for those
        with the same names that append all of them, see `interop.names.cifar`.
      weights: 'raw' or 'ema' where there are both; None takes the raw ones and logs
        it.
      initial_head: keep the initial values of the last layer of each head, and of
        auxiliary heads that are wholly absent, to train on another task.
      seed: of these initial values.
      input_shape: (height, width, channels) of the images; None for those of the
        registry, with as many channels as the given stem has.
      **overrides: arguments of `cnnjax.create_model`, such as `num_classes`.

    Returns:
      {'params': ..., 'batch_stats': ...} of NumPy arrays, float32 (float64 where the
      source has float64), for `model.apply`.

    Raises:
      UserError: names or shapes differ from those of this net (the message says
        which), or the source's net computes another function with these weights.
    """
    return converted(
        state_dict,
        "what was given",
        name,
        source,
        weights=weights,
        initial_head=initial_head,
        seed=seed,
        input_shape=input_shape,
        **overrides,
    )


def load(
    name: str, path: str | os.PathLike, source: str = "torchvision", **arguments: Any
) -> dict[str, Any]:
    """Reads a weight file and converts it as `from_torch` does.

    Args:
      name: as in `from_torch`.
      path: a safetensors, .npz or torch file, recognised by its content.
      source: as in `from_torch`.
      **arguments: all others of `from_torch`.

    Raises:
      UserError: the file cannot be read, or belongs to another net.
    """
    what = f"weight file {printable(checked_path(path))}"
    with opened(path) as saved:
        variables = converted(saved, what, name, source, **arguments)
    prepared = PREPARED.get((variant(name).build, source))
    if prepared:
        _LOG.warning("%s: %s", what, prepared)
    return variables


def load_taken(
    name: str,
    path: str | os.PathLike,
    sources: Sequence[str],
    input_shape: tuple[int, int, int],
    **overrides: Any,
) -> tuple[dict[str, np.ndarray], str, list[str]]:
    """What a weight file has of a net that is to be trained further.

    Heads of another number of classes are left out.

    Args:
      name: as in `from_torch`.
      path: as in `load`.
      sources: those that may be meant; the names in the file tell which.
      input_shape: of the images.
      **overrides: arguments of `cnnjax.create_model`.

    Returns:
      Path such as 'params/stem_conv/kernel' -> array, blocks stored separately; the
      source; notes for the user.

    Raises:
      UserError: the file fits none of the sources, or several, whose nets compute
        different functions.
    """
    what = f"weight file {printable(checked_path(path))}"
    found: dict[str, tuple[dict[str, np.ndarray], list[str]]] = {}
    errors = []
    for source in sources:
        with opened(path) as saved:
            try:
                found[source] = taken_from(
                    saved, what, name, source, input_shape, **overrides
                )
            except UserError as error:
                errors.append(error)
    if not found:
        raise errors[0]
    values, *others = (values for values, _ in found.values())
    if any(_differ(values, other) for other in others):
        raise UserError(
            f"{what} has names of {' and of '.join(found)}, whose nets compute "
            "different functions with these weights: say whose they are by "
            "config.start.source"
        )
    source, (values, notes) = next(iter(found.items()))
    prepared = PREPARED.get((variant(name).build, source))
    return values, source, [*notes, *([prepared] if prepared else [])]


def _differ(a: Mapping[str, np.ndarray], b: Mapping[str, np.ndarray]) -> bool:
    """Whether two conversions of a file are different functions of our net."""
    return a.keys() != b.keys() or any(not np.array_equal(a[k], b[k]) for k in a)


def to_torch(
    name: str,
    variables: Mapping[str, Any],
    source: str = "torchvision",
    *,
    input_shape: tuple[int, int, int] | None = None,
    **overrides: Any,
) -> dict[str, np.ndarray]:
    """The state dict that `from_torch` would convert to these variables.

    Args:
      name: an entry of `cnnjax.list_models()` or an alias.
      variables: of the net, without a leading seed axis.
      source: as in `from_torch`.
      input_shape: as in `from_torch`; None follows the stem of the variables.
      **overrides: arguments of `cnnjax.create_model`.

    Returns:
      name -> array, for `load_state_dict(strict=True)` after conversion to tensors;
      `num_batches_tracked` is 0.

    Raises:
      UserError: the variables belong to another net, or the source's net computes
        another function with them.
    """
    net = net_of(name, source, overrides, input_shape)
    variables = unstack(meta.unbox(dict(variables)), net.stacks)
    if input_shape is None:
        leaves = traverse_util.flatten_dict(variables).items()
        net = net.following({k: v.shape[2] for k, v in leaves if np.ndim(v) == 4})
    if net.note:
        _LOG.warning("%s", net.note)
    return state_dict_of(net.slots, variables)
