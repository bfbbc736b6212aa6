"""One of our nets with the names of a source, and the conversion of its weights."""

import contextlib
import dataclasses
import logging
import re
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from flax import linen as nn
from flax import traverse_util

from cnnjax.errors import UserError, unknown_name
from cnnjax.interop import heads
from cnnjax.interop.convert import Slot, fill, other_channels, slots_of
from cnnjax.interop.files.unread import Unread, unread_of
from cnnjax.interop.mismatch import describe_mismatch, differences
from cnnjax.interop.same_function import (
    check_groups,
    check_norm_kind,
    check_same_function,
)
from cnnjax.interop.sources import NAMES, RENAMED, SOURCES, sources_of
from cnnjax.interop.wrappers import (
    listed,
    prefix_of,
    prefixes,
    renamed,
    state_dict_in,
    without_counts,
)
from cnnjax.models.cifar_resnet import CifarResNet
from cnnjax.models.registry import create_model, variant
from cnnjax.net.stacked import Stacks, stack, stacks_of_net

# Convolutions of a block in each of the three stages of a CIFAR net of one class.
CIFAR_DEPTH = {"basic": 6, "bottleneck": 9}
_LOG = logging.getLogger("cnnjax.interop")


@dataclasses.dataclass(frozen=True)
class Net:
    """A net with the place of each of its leaves in the state dict of a source.

    Args:
      name: an entry of the registry.
      source: an element of `SOURCES`.
      overrides: arguments of `create_model`.
      model: the net with these arguments.
      input_shape: (height, width, channels) of its images.
      slots: of every leaf, stored separately per block.
      note: what the user has to know about the source's net, or an empty text.
    """

    name: str
    source: str
    overrides: Mapping[str, Any]
    model: nn.Module
    input_shape: tuple[int, ...]
    slots: list[Slot]
    note: str

    @property
    def stacks(self) -> Stacks:
        """The leaves that our net stacks over blocks; no other library does."""
        return stacks_of_net(self.model, self.input_shape)

    def following(self, channels: Mapping[tuple[str, ...], int]) -> "Net":
        """The net with a stem for as many channels as the given weights have.

        Args:
          channels: path of a kernel -> its input channels in the given weights.
        """
        *size, listed_channels = self.input_shape
        found = other_channels(self.slots, listed_channels, channels)
        if found is None:
            return self
        return net_of(self.name, self.source, self.overrides, (*size, found))


def net_of(
    name: str,
    source: str,
    overrides: Mapping[str, Any],
    input_shape: tuple[int, ...] | None,
) -> Net:
    """The net with the names of a source.

    Args:
      name: an entry of the registry.
      source: an element of `SOURCES`.
      overrides: arguments of `create_model`.
      input_shape: of the images; None for that of the registry.

    Raises:
      UserError: an unknown name; or the source has no such net, or one that computes
        another function with the same weights.
    """
    if source not in SOURCES:
        raise unknown_name("source of weights", source, SOURCES, "source")
    entry = variant(name)
    namer = NAMES.get((entry.build, source))
    if namer is None:
        known = sources_of(name)
        raise UserError(
            f"{source!r} has no weights for {name!r}: "
            + (f"allowed sources are {', '.join(known)}" if known else "no source has")
        )
    model = create_model(name, **overrides)
    check_norm_kind(name, entry, model.norm, source)
    shape = entry.input_shape if input_shape is None else _checked(input_shape)
    slots = slots_of(model, shape, namer)
    check_same_function(name, model, source, namer, slots, shape)
    widths = [slot.shape[0] for slot in slots if slot.path[-1] == "scale"]
    note = check_groups(name, model.norm, source, widths)
    return Net(name, source, overrides, model, shape, slots, note)


def _checked(input_shape: Any) -> tuple[int, ...]:
    shape = tuple(input_shape) if isinstance(input_shape, tuple | list) else ()
    if len(shape) != 3 or not all(isinstance(n, int) and n > 0 for n in shape):
        raise UserError(
            f"input_shape is {input_shape!r}: give (height, width, channels) of the "
            "images, such as (32, 32, 1)"
        )
    return shape


def converted(
    saved: Any,
    what: str,
    name: str,
    source: str,
    *,
    weights: str | None = None,
    initial_head: bool = False,
    seed: int = 0,
    input_shape: tuple[int, int, int] | None = None,
    **overrides: Any,
) -> dict[str, Any]:
    """Converts a checkpoint to the variables of a net; logs what was ignored in it.

    Args:
      saved: a state dict, or a checkpoint that contains one.
      what: its name in messages.
      name: this and all others as in `interop.from_torch`.

    Returns:
      As `interop.from_torch`.

    Raises:
      UserError: as `interop.from_torch`.
    """
    net = net_of(name, source, overrides, input_shape)
    read = _read(net, saved, what, weights, initial_head, follow=input_shape is None)
    net, notes = read.net, read.notes
    values = {}
    if read.initial:
        values = heads.initial_values(net.model, net.input_shape, read.initial, seed)
        notes.append(heads.described(read.initial, seed))
    if notes:
        _LOG.warning("%s: %s", what, "; ".join(notes))
    return stack(fill(net.slots, read.values, values), net.stacks)


def taken_from(
    saved: Any,
    what: str,
    name: str,
    source: str,
    input_shape: tuple[int, int, int],
    **overrides: Any,
) -> tuple[dict[str, np.ndarray], list[str]]:
    """What a checkpoint has of a net: all but heads of another number of classes.

    Args:
      saved: as of `converted`, with all others.

    Returns:
      Path such as 'params/stem_conv/kernel' -> array, blocks stored separately; and
      notes for the user.

    Raises:
      UserError: as `interop.from_torch`.
    """
    net = net_of(name, source, overrides, input_shape)
    read = _read(net, saved, what, None, None, follow=False)
    slots = [slot for slot in net.slots if slot not in read.initial]
    flat = traverse_util.flatten_dict(fill(slots, read.values), sep="/")
    return flat, read.notes


@dataclasses.dataclass(frozen=True)
class _Contents:
    """What was read for a net: name -> array, and the slots that stay initial."""

    net: Net
    values: dict[str, np.ndarray]
    initial: list[Slot]
    notes: list[str]


def _read(
    net: Net,
    saved: Any,
    what: str,
    weights: str | None,
    initial_head: bool | None,
    *,
    follow: bool,
) -> _Contents:
    """Compares names and shapes, then reads.

    Args:
      initial_head: None for heads of another number of classes.
      follow: whether the stem may be for other channels than the net's.
    """
    given = _given_for(net, saved, what, weights)
    notes = given.notes + [net.note] * bool(net.note)
    if follow:
        listed_channels = net.input_shape[-1]
        net = net.following(_channels(net, given.state_dict))
        if net.input_shape[-1] != listed_channels:
            notes.append(f"its stem is for {net.input_shape[-1]} channels")
    initial = heads.head_slots(net.slots, given.state_dict)
    if initial_head is None:
        initial_head = heads.of_other_classes(initial, given.state_dict)
    initial = initial if initial_head else []
    kept = heads.without(given.state_dict, initial)
    from_file = [slot for slot in net.slots if slot not in initial]
    if differences(from_file, kept):
        raise UserError(
            describe_mismatch(
                net.name,
                net.source,
                from_file,
                kept,
                given.prefix,
                given.beside,
                {**_other_sources(net), **_other_forms(net, kept)},
                net.input_shape,
            )
        )
    if given.beside:
        notes.append(
            f"ignored entries without {given.prefix!r}: {listed(given.beside)}"
        )
    read = {slot.name: kept[slot.name].read() for slot in from_file}
    notes += _out_of_range(from_file, read)
    return _Contents(net, read, initial, notes)


@dataclasses.dataclass(frozen=True)
class _Given:
    """The part of a checkpoint that belongs to a net.

    Args:
      state_dict: with the names of the net.
      prefix: which these names had in the checkpoint.
      beside: entries without that prefix, which do not belong to the net.
      notes: for the log.
    """

    state_dict: dict[str, Unread]
    prefix: str
    beside: dict[str, Any]
    notes: list[str]


def _given_for(net: Net, saved: Any, what: str, weights: str | None) -> _Given:
    names = [slot.name for slot in net.slots]
    rename = RENAMED.get((type(net.model), net.source), lambda name: name)

    def names_of_net(given: Iterable[str]) -> int:
        return max(prefixes(map(rename, given), names).values(), default=0)

    found, settled, notes = state_dict_in(saved, what, weights, names_of_net)
    found, counts = without_counts(found)
    found = renamed(found, rename, what)
    open_choice = None if settled else weights
    prefix, others, chosen = prefix_of(found, names, what, open_choice)
    # Without a prefix everything belongs to the net, except further copies of it.
    beside = {
        key: value
        for key, value in found.items()
        if not key.startswith(prefix) or (not prefix and key.startswith(others))
    }
    inside = {k.removeprefix(prefix): v for k, v in found.items() if k not in beside}
    return _Given(unread_of(inside, what), prefix, beside, notes + counts + chosen)


def _out_of_range(slots: list[Slot], state_dict: Mapping[str, np.ndarray]) -> list[str]:
    """Values that only a damaged file or a diverged run has."""
    values = [(slot, state_dict[slot.name]) for slot in slots]
    infinite = [s.name for s, v in values if not np.isfinite(v).all()]
    below = [s.name for s, v in values if s.path[-1] == "var" and (v < 0).any()]
    said = {"weights that are not finite": infinite, "negative variances": below}
    return [f"it has {what} ({listed(names)})" for what, names in said.items() if names]


def _channels(net: Net, state_dict: Mapping[str, Unread]) -> dict[tuple[str, ...], int]:
    """Path of each kernel -> its input channels in a state dict."""
    return {
        slot.path: state_dict[slot.name].shape[1]
        for slot in net.slots
        if slot.name in state_dict and state_dict[slot.name].ndim == 4
    }


def _other_sources(net: Net) -> dict[str, list[Slot]]:
    """Hint -> the slots of the same net with the names of another source."""
    slots = {}
    for other in sources_of(net.name):
        with contextlib.suppress(UserError):  # it may not have this variant of the net
            if other != net.source:
                words = f"these are the names of {other}: source={other!r}"
                slots[words] = net_of(
                    net.name, other, net.overrides, net.input_shape
                ).slots
    return slots


def _other_forms(net: Net, given: Mapping[str, Any]) -> dict[str, list[Slot]]:
    """Hint -> the slots of the CIFAR net whose depth and shortcuts were given.

    The ports have one class for all of them, and no name says which net it is.
    """
    blocks = [re.match(r"layer1\.(\d+)\.", name) for name in given]
    count = max((int(block[1]) + 1 for block in blocks if block), default=0)
    if not count or not isinstance(net.model, CifarResNet):
        return {}
    shortcut = "B" if any(".shortcut." in name for name in given) else "A"
    depth = CIFAR_DEPTH[net.model.block] * count + 2
    usual = {"depth": net.model.depth, "shortcut": net.model.shortcut}
    if usual["shortcut"] == "C" and shortcut == "B":
        shortcut = "C"
    found = {"depth": depth, "shortcut": shortcut}
    changed = {key: value for key, value in found.items() if value != usual[key]}
    words = ", ".join(f"{key}={value!r}" for key, value in changed.items())
    with contextlib.suppress(UserError):
        overrides = {**net.overrides, **changed}
        other = net_of(net.name, net.source, overrides, net.input_shape)
        return {f"they fit this net with {words}": other.slots}
    return {}
