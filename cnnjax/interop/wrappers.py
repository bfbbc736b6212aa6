"""What others put around a state dict, and before every name in it.

{"epoch": 90, "state_dict": {"module.conv1.weight": ...}, "state_dict_ema": ...}
"""

import collections
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cnnjax.errors import UserError, unknown_name
from cnnjax.interop.files.torch_file import ArrayObject

# Which weights of a training: those of the optimizer, or their running average.
WEIGHTS = ("raw", "ema")
# Where trainers put the state dict, beside the epoch and the like.
WRAPPERS = (
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network"),
    *("weights", "params", "module"),
)
_AVERAGED = re.compile(r"(^|[._])(ema|swa|avg|averag\w*|shadow|polyak)([._]|$)", re.I)
# Between the words of 'modelEMA' and 'emaModel'.
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# Moments of an optimizer may have the names of the net.
_OF_TRAINING = re.compile(r"optimi[sz]er|^optims?(_|$)", re.I)
# Counts that others keep beside the weights: torch's AveragedModel, thop.
COUNTS = ("n_averaged", "total_ops", "total_params")
# Wrappers in wrappers, such as {"model": {"state_dict": ...}}; a pickle may be endless.
DEPTH = 8
# How many names a sentence lists.
MOST_NAMED = 4

Place = tuple[str, ...]


def state_dict_in(
    saved: Any,
    what: str,
    weights: str | None,
    names_of_net: Callable[[Iterable[str]], int],
) -> tuple[dict[str, Any], bool, list[str]]:
    """The state dict within what a trainer saved.

    Args:
      saved: a state dict, or a dictionary with one or more of them in it.
      what: what to call it in sentences.
      weights: an element of `WEIGHTS`, or None for the only ones, or raw ones.
      names_of_net: how many of these names are those of the net.

    Returns:
      name -> tensor; whether the choice of weights was made; what a person may want to
      know about it.

    Raises:
      UserError: none in it, several and no way to choose, or not those asked for.
    """
    if weights is not None and weights not in WEIGHTS:
        raise unknown_name("weights", weights, WEIGHTS, "weights")
    empty = isinstance(saved, Mapping) and not saved
    places = {(): saved} if empty else dict(_state_dicts(saved))
    if not places:
        raise UserError(
            f"{what} holds no state dict (name -> tensor){_why_none(saved)}: save "
            "`model.state_dict()`"
        )
    places = _of_the_net(places, names_of_net)
    averaged = [p for p, d in places.items() if _is_averaged(".".join(p), d)]
    raw = [place for place in places if place not in averaged]
    names = {place: repr(".".join(place)) for place in places}
    if len(raw) == 1 and not averaged:  # it may hold both under their prefixes
        chosen, settled, notes = raw[0], False, []
    else:
        (chosen, notes), settled = choose(raw, averaged, names, what, weights), True
    odd = [str(key) for key, value in places[chosen].items() if not _is_tensor(value)]
    if odd:
        notes = [*notes, f"entries that are no tensors were left out ({listed(odd)})"]
    kept = {key: value for key, value in places[chosen].items() if _is_tensor(value)}
    return kept, settled, notes


def _of_the_net(
    places: dict[Place, Mapping], names_of_net: Callable[[Iterable[str]], int]
) -> dict[Place, Mapping]:
    """Those with at least half as many names of the net as that with the most.

    An average may be without the statistics, which are half of the names. Of another
    net those with the most names are taken, where trainers put them.
    """
    counts = {place: names_of_net(map(str, d)) for place, d in places.items()}
    if not any(counts.values()):
        usual = {p: d for p, d in places.items() if p and p[-1] in WRAPPERS}
        places = usual or places
        counts = {place: len(d) for place, d in places.items()}
    most = max(counts.values())
    return {place: d for place, d in places.items() if 2 * counts[place] >= most}


def choose(
    raw: list, averaged: list, names: Mapping, what: str, weights: str | None
) -> tuple[Any, list[str]]:
    """One of several sets of weights, and what to say about the choice.

    Raises:
      UserError: there are several that nothing tells apart, or not those asked for.
    """
    if len(raw) > 1 or len(averaged) > 1:
        several = ", ".join(
            names[place] for place in (raw if len(raw) > 1 else averaged)
        )
        raise UserError(
            f"{what} holds several sets of weights ({several}): hand one of them to "
            "`interop.from_torch`"
        )
    wanted = averaged if weights == "ema" or not raw else raw
    if not wanted or (weights == "raw" and not raw):
        has = "raw" if weights == "ema" else "averaged"
        raise UserError(
            f"{what} holds {has} weights alone: weights={weights!r} cannot be had from "
            "it, leave the argument out"
        )
    if raw and averaged and weights is None:
        return wanted[0], [
            f"there are raw weights ({names[raw[0]]}) and averaged ones "
            f"({names[averaged[0]]}): the raw ones were taken, weights='ema' takes the "
            "others"
        ]
    if weights is None and not raw:
        return wanted[0], ["its weights are averaged ones, there are no others"]
    return wanted[0], []


def without_counts(state_dict: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Leaves out what is no weight, and says so."""
    kept, left = {}, set()
    for name, value in state_dict.items():
        last = name.rpartition(".")[2]
        if last in COUNTS:
            left.add(last)
        else:
            kept[name] = value
    return kept, [f"counters were left out ({', '.join(sorted(left))})"] if left else []


def prefixes(given: Iterable[str], wanted: Iterable[str]) -> collections.Counter:
    """What stands before names of the net -> how many of them."""
    wanted = set(wanted)
    return collections.Counter(
        name[:start]
        for name in given
        for start in (0, *(dot.end() for dot in re.finditer(r"\.", name)))
        if name[start:] in wanted
    )


def prefix_of(
    given: Iterable[str],
    wanted: Iterable[str],
    what: str,
    weights: str | None,
) -> tuple[str, tuple[str, ...], list[str]]:
    """What stands before the names of a net, such as 'module.' or 'model.backbone.'.

    Args:
      given: names in the state dict.
      wanted: names of the net.
      what: what to call the state dict in sentences.
      weights: as in `state_dict_in`, if the choice is still open.

    Returns:
      The prefix; prefixes under which the net is there once more; what a person may
      want to know.

    Raises:
      UserError: as in `choose`.
    """
    wanted = set(wanted)
    found = prefixes(given, wanted)
    most = max(found.values(), default=0)
    if list(found.values()).count(most) > 1 and 4 * most < len(wanted):
        return "", (), []  # its blocks rather than several nets
    # An average may be without the statistics, which are half of the names.
    nets = [prefix for prefix, count in found.items() if 2 * count >= most] or [""]
    averaged = [prefix for prefix in nets if _is_averaged(prefix, {})]
    raw = [prefix for prefix in nets if prefix not in averaged]
    names = {prefix: repr(prefix) for prefix in nets}
    chosen, notes = choose(raw, averaged, names, what, weights)
    return chosen, tuple(prefix for prefix in nets if prefix != chosen), notes


def listed(names: Iterable[str]) -> str:
    """The first few names, and how many more there are."""
    names = list(names)
    rest = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "dtype")


def _state_dicts(saved: Any, place: Place = ()) -> Iterable[tuple[Place, Mapping]]:
    """Every mapping of names to tensors, perhaps with other entries among them."""
    if len(place) > DEPTH:
        return
    if isinstance(saved, list | tuple):
        saved, keys = dict(enumerate(saved)), int
    elif isinstance(saved, Mapping):
        keys = str
    else:
        return
    named = {key: value for key, value in saved.items() if isinstance(key, keys)}
    if keys is str and any(map(_is_tensor, named.values())):
        yield place, saved
    for key, value in named.items():
        if not _is_tensor(value) and not _OF_TRAINING.search(str(key)):
            yield from _state_dicts(value, (*place, str(key)))


def _is_averaged(place: str, state_dict: Mapping[str, Any]) -> bool:
    return bool(_AVERAGED.search(_WORDS.sub("_", place))) or "n_averaged" in state_dict


def _why_none(saved: Any) -> str:
    if _any(saved, lambda value: isinstance(value, ArrayObject)):
        return (
            ", but arrays of NumPy, which torch stores as objects and which are saved "
            "by `numpy.savez(path, **arrays)`"
        )
    return ""


def _any(saved: Any, holds: Callable[[Any], bool], depth: int = 0) -> bool:
    if isinstance(saved, Mapping):
        saved = list(saved.values())
    if isinstance(saved, list | tuple) and depth <= DEPTH:
        return any(_any(value, holds, depth + 1) for value in saved)
    return holds(saved)
