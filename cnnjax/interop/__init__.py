"""Weights of other libraries in our nets, and ours in theirs.

    variables = interop.load("resnet50", "resnet50.safetensors", source="torchvision")
    variables = interop.from_torch("resnet50", state_dict, source="timm")
    state_dict = interop.to_torch("resnet50", variables, source="torchvision")

State dicts are dictionaries of NumPy arrays; torch is needed for its own files alone.
The converted net computes the function of the source's net, or is refused. What was
taken off or left out of a file is logged.
"""

import logging
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax import traverse_util
from flax.core import meta

from cnnjax.interop.convert import state_dict_of
from cnnjax.interop.files.read import checked_path, read_file
from cnnjax.interop.net import converted, net_of
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
    """Variables of a net from a state dict.

    Args:
      name: an entry of `cnnjax.list_models()` or an alias.
      state_dict: name -> array or tensor, as the source's net has them, or what a
        trainer saved with that in it; what stands before every name is taken off.
      source: 'torchvision', 'timm'; 'cifar' for the public CIFAR-10 ports whose
        option-A shortcuts put zero channels in front and behind, 'cifar_append' for
        those with the same names that put them behind, see `interop.cifar`.
      weights: 'raw' or 'ema' where there are both; None takes the raw ones, and says
        so.
      initial_head: leave the last layer of each head, and auxiliary heads of which
        nothing is given, at their initial values, for another task.
      seed: of these initial values.
      input_shape: (height, width, channels) of the images that the net is for; None
        for the listed ones, with the channels of the given stem.
      **overrides: arguments of `cnnjax.create_model`, such as `num_classes`.

    Returns:
      {'params': ..., 'batch_stats': ...} of NumPy arrays, float32 (float64 where the
      source has float64), for `model.apply`.

    Raises:
      UserError: the names or shapes are not those of this net: says which differ; or
        the source's net computes something else with these weights.
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
    """`from_torch` of a file, whatever its name: safetensors, .npz, or through torch.

    Args:
      name: as in `from_torch`.
      path: of the file.
      source: as in `from_torch`.
      **arguments: all others of `from_torch`.

    Raises:
      UserError: the file cannot be read, or is not of this net.
    """
    path = checked_path(path)
    what = f"weight file {path}"
    variables = converted(read_file(path), what, name, source, **arguments)
    prepared = PREPARED.get((variant(name).build, source))
    if prepared:
        _LOG.warning("%s: %s", what, prepared)
    return variables


def to_torch(
    name: str,
    variables: Mapping[str, Any],
    source: str = "torchvision",
    *,
    input_shape: tuple[int, int, int] | None = None,
    **overrides: Any,
) -> dict[str, np.ndarray]:
    """The state dict that `from_torch` would turn into these variables.

    Args:
      name: an entry of `cnnjax.list_models()` or an alias.
      variables: of the net, without a leading seed axis.
      source: as in `from_torch`.
      input_shape: as in `from_torch`; None follows the stem of the variables.
      **overrides: arguments of `cnnjax.create_model`.

    Returns:
      name -> array, for `load_state_dict(strict=True)` once made into tensors; counters
      of batches (`num_batches_tracked`) are 0.

    Raises:
      UserError: the variables are not those of this net, or the source's net computes
        something else with them.
    """
    net = net_of(name, source, overrides, input_shape)
    variables = unstack(meta.unbox(dict(variables)), net.stacks)
    if input_shape is None:
        leaves = traverse_util.flatten_dict(variables).items()
        net = net.following({k: v.shape[2] for k, v in leaves if np.ndim(v) == 4})
    if net.note:
        _LOG.warning("%s", net.note)
    return state_dict_of(net.slots, variables)
