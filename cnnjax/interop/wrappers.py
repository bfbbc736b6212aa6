"""What others put around a state dict, and before every name in it.

{"epoch": 90, "state_dict": {"module.conv1.weight": ...}, "state_dict_ema": ...}
"""

import collections
import re
from collections.abc import Iterable, Mapping
from typing import Any

from cnnjax.errors import UserError, unknown_name

# Which weights of a training: those of the optimizer, or their running average.
WEIGHTS = ("raw", "ema")
# Where trainers put the state dict, beside the epoch and the like.
WRAPPERS = (
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network"),
    *("weights", "params", "module"),
)
_AVERAGED = re.compile(r"(^|[._])(ema|swa|avg|averag\w*|shadow|polyak)([._]|$)", re.I)
_OF_TRAINING = re.compile(
    r"optimi[sz]er|^optims?(_|$)|sched|scaler|callback|hyper|loops$|criterion", re.I
)
# Counts that others keep beside the weights: torch's AveragedModel, thop.
COUNTS = ("n_averaged", "total_ops", "total_params")
# Wrappers in wrappers, such as {"model": {"state_dict": ...}}.
DEPTH = 3
# How many names a sentence lists.
MOST_NAMED = 4

Place = tuple[str, ...]


def state_dict_in(
    saved: Any, what: str, weights: str | None
) -> tuple[dict[str, Any], bool, list[str]]:
    """The state dict within what a trainer saved.

    Args:
      saved: a state dict, or a dictionary with one or more of them in it.
      what: what to call it in sentences.
      weights: an element of `WEIGHTS`, or None for the only ones, or raw ones.

    Returns:
      name -> tensor; whether the choice of weights was made; what a person may want to
      know about it.

    Raises:
      UserError: none in it, several and no way to choose, or not those asked for.
    """
    if weights is not None and weights not in WEIGHTS:
        raise unknown_name("weights", weights, WEIGHTS, "weights")
    places = {(): saved} if _is_state_dict(saved) else dict(_state_dicts(saved))
    if not places:
        raise UserError(
            f"{what} holds no state dict (name -> tensor){_odd_entries(saved)}: save "
            "`model.state_dict()`"
        )
    averaged = [p for p, d in places.items() if _is_averaged(".".join(p), d)]
    raw = [place for place in places if place not in averaged]
    raw = [place for place in raw if place and place[-1] in WRAPPERS] or raw
    names = {place: repr(".".join(place)) for place in places}
    if len(raw) == 1 and not averaged:  # it may hold both under their prefixes
        return dict(places[raw[0]]), False, []
    chosen, notes = choose(raw, averaged, names, what, weights)
    return dict(places[chosen]), True, notes


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
    found = collections.Counter(
        name[:start]
        for name in given
        for start in (0, *(dot.end() for dot in re.finditer(r"\.", name)))
        if name[start:] in wanted
    )
    most = max(found.values(), default=0)
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


def _is_state_dict(saved: Any) -> bool:
    return isinstance(saved, Mapping) and all(
        isinstance(name, str) and hasattr(value, "dtype")
        for name, value in saved.items()
    )


def _state_dicts(saved: Any, place: Place = ()) -> Iterable[tuple[Place, Mapping]]:
    if not isinstance(saved, Mapping) or len(place) == DEPTH:
        return
    for key, value in saved.items():
        if not isinstance(key, str) or _OF_TRAINING.search(key):
            continue
        if isinstance(value, Mapping) and value and _is_state_dict(value):
            yield (*place, key), value
        else:
            yield from _state_dicts(value, (*place, key))


def _is_averaged(place: str, state_dict: Mapping[str, Any]) -> bool:
    return bool(_AVERAGED.search(place)) or "n_averaged" in state_dict


def _odd_entries(saved: Any) -> str:
    """What in a flat dictionary with tensors is no tensor."""
    if not isinstance(saved, Mapping):
        return ""
    odd = [name for name, value in saved.items() if not hasattr(value, "dtype")]
    few = 0 < len(odd) < len(saved)
    return f": {listed(map(str, odd))} are no tensors" if few else ""
