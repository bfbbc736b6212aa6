"""Finds the state dict within a checkpoint, and the common prefix of its names.

{"epoch": 90, "state_dict": {"module.conv1.weight": ...}, "state_dict_ema": ...}
"""

import collections
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from cnnjax.errors import UserError, printable, shown, unknown_name
from cnnjax.interop.files.inert_pickle import ArrayObject

# The weights that the optimizer updates, or their running average.
WEIGHTS = ("raw", "ema")
# Keys under which trainers store the state dict.
WRAPPERS = (
    *("state_dict", "model_state_dict", "model_state", "model", "net", "network"),
    *("weights", "params", "module"),
)
_AVERAGED = re.compile(r"(^|[._])(ema|swa|avg|averag\w*|shadow|polyak)([._]|$)", re.I)
# Between the words of 'modelEMA' and 'emaModel'.
_WORDS = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
# The moments of an optimizer may carry the names of the net.
_OF_TRAINING = re.compile(r"optimi[sz]er|^optims?(_|$)", re.I)
# Counters beside the weights, of torch's AveragedModel and of thop.
COUNTS = ("n_averaged", "total_ops", "total_params")
# Nesting, as in {"model": {"state_dict": ...}}; a pickle may contain itself.
DEPTH = 8
# How often one object is entered: ten lists that contain each other ten times have more
# places than can be searched.
TIMES = 4
# Longer names are those of no net; looking for prefixes in them could take for ever.
MOST_CHARACTERS = 200
# How many names a message lists.
MOST_NAMED = 4

Place = tuple[str, ...]


def state_dict_in(
    saved: Any,
    what: str,
    weights: str | None,
    names_of_net: Callable[[Iterable[str]], int],
) -> tuple[dict[str, Any], bool, list[str]]:
    """Finds the state dict in a checkpoint.

    Args:
      saved: a state dict, or a dictionary that contains one or more of them.
      what: its name in messages.
      weights: an element of `WEIGHTS`; None for the only ones, or the raw ones.
      names_of_net: counts the names that belong to the net.

    Returns:
      name -> tensor; whether the choice of weights was made; notes for the log.

    Raises:
      UserError: there is none, several and no way to choose, or not those asked for.
    """
    if weights is not None and weights not in WEIGHTS:
        raise unknown_name("weights", weights, WEIGHTS, "weights")
    places = dict(_state_dicts(saved, collections.Counter()))
    if isinstance(saved, Mapping) and not saved:
        places = {(): saved}
    if not places:
        raise UserError(
            f"{what} contains no state dict (name -> tensor){_why_none(saved)}: save "
            "`model.state_dict()`"
        )
    places = _of_the_net(places, names_of_net)
    averaged = [p for p, d in places.items() if _is_averaged(".".join(p), d)]
    raw = [place for place in places if place not in averaged]
    names = {place: repr(".".join(place)) for place in places}
    notes: list[str] = []
    settled = len(raw) != 1 or bool(averaged)
    if settled:
        chosen, notes = choose(raw, averaged, names, what, weights)
    else:  # it may still contain both, under two prefixes
        chosen = raw[0]
    entries = places[chosen].items()
    odd = [k for k, value in entries if not (_is_name(k) and _is_tensor(value))]
    if odd:
        names_of_odd = [k if isinstance(k, str) else shown(k) for k in odd]
        notes = [
            *notes,
            f"entries that are not tensors were ignored ({listed(names_of_odd)})",
        ]
    kept = {k: value for k, value in entries if _is_name(k) and _is_tensor(value)}
    return renamed(kept, printable, what), settled, notes


def renamed(
    state_dict: Mapping[str, Any], rename: Callable[[str], str], what: str
) -> dict[str, Any]:
    """The state dict with other names.

    Raises:
      UserError: two names become one.
    """
    old: dict[str, str] = {}
    for name in state_dict:
        new = rename(name)
        if new in old:
            raise UserError(
                f"{what} contains {printable(old[new])} and {printable(name)}, which "
                "are two names of one tensor: remove one of them"
            )
        old[new] = name
    return {new: state_dict[name] for new, name in old.items()}


def _of_the_net(
    places: dict[Place, Mapping], names_of_net: Callable[[Iterable[str]], int]
) -> dict[Place, Mapping]:
    """Keeps the state dicts with at least half as many names of the net as the best.

    An average may lack the running statistics, which are half of the names. If no name
    matches, the largest state dicts under the usual keys are kept.
    """
    counts = {p: names_of_net(filter(_is_name, d)) for p, d in places.items()}
    if not any(counts.values()):
        usual = {p: d for p, d in places.items() if p and p[-1] in WRAPPERS}
        places = usual or places
        counts = {place: len(d) for place, d in places.items()}
    most = max(counts.values())
    return {place: d for place, d in places.items() if 2 * counts[place] >= most}


def choose(
    raw: list, averaged: list, names: Mapping, what: str, weights: str | None
) -> tuple[Any, list[str]]:
    """Chooses one of several sets of weights; returns it with notes for the log.

    Raises:
      UserError: the choice is ambiguous, or those asked for are missing.
    """
    if len(raw) > 1 or len(averaged) > 1:
        several = ", ".join(
            names[place] for place in (raw if len(raw) > 1 else averaged)
        )
        raise UserError(
            f"{what} contains several sets of weights ({several}): pass one of them to "
            "`interop.from_torch`"
        )
    wanted = averaged if weights == "ema" or not raw else raw
    if not wanted or (weights == "raw" and not raw):
        has = "raw" if weights == "ema" else "averaged"
        raise UserError(
            f"{what} contains only {has} weights, not those of weights={weights!r}: "
            "leave that argument out"
        )
    if raw and averaged and weights is None:
        return wanted[0], [
            f"there are raw weights ({names[raw[0]]}) and averaged ones "
            f"({names[averaged[0]]}): the raw ones were loaded, weights='ema' loads "
            "the others"
        ]
    if weights is None and not raw:
        return wanted[0], ["it contains only averaged weights, which were loaded"]
    return wanted[0], []


def without_counts(state_dict: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Removes counters, with a note for the log."""
    kept, left = {}, set()
    for name, value in state_dict.items():
        last = name.rpartition(".")[2]
        if last in COUNTS:
            left.add(last)
        else:
            kept[name] = value
    return kept, [f"counters were ignored ({', '.join(sorted(left))})"] if left else []


def prefixes(given: Iterable[str], wanted: Iterable[str]) -> collections.Counter:
    """Prefix of names of the net -> how many names have it."""
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
    """The common prefix of the names of a net, such as 'module.' or 'model.backbone.'.

    Args:
      given: names in the state dict.
      wanted: names of the net.
      what: name of the state dict in messages.
      weights: as in `state_dict_in`, if the choice is still open.

    Returns:
      The prefix; the prefixes of further copies of the net; notes for the log.

    Raises:
      UserError: as in `choose`.
    """
    wanted = set(wanted)
    found = prefixes(given, wanted)
    most = max(found.values(), default=0)
    if list(found.values()).count(most) > 1 and 4 * most < len(wanted):
        return "", (), []  # blocks of the net rather than several nets
    # An average may lack the running statistics, which are half of the names.
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
    return ", ".join(map(printable, names[:MOST_NAMED])) + (
        f" and {rest} more" if rest > 0 else ""
    )


def _is_tensor(value: Any) -> bool:
    return hasattr(value, "dtype")


def _is_name(key: Any) -> bool:
    return isinstance(key, str) and len(key) <= MOST_CHARACTERS


def _state_dicts(
    saved: Any, met: collections.Counter[int], place: Place = ()
) -> Iterable[tuple[Place, Mapping]]:
    """Every mapping of names to tensors, even among other entries."""
    met[id(saved)] += 1
    if len(place) > DEPTH or met[id(saved)] > TIMES:
        return
    if isinstance(saved, list | tuple):
        named = {str(number): value for number, value in enumerate(saved)}
    elif isinstance(saved, Mapping):
        named = {key: value for key, value in saved.items() if _is_name(key)}
        if any(map(_is_tensor, named.values())):
            yield place, saved
    else:
        return
    for key, value in named.items():
        if not _is_tensor(value) and not _OF_TRAINING.search(key):
            yield from _state_dicts(value, met, (*place, printable(key)))


def _is_averaged(place: str, state_dict: Mapping[str, Any]) -> bool:
    return bool(_AVERAGED.search(_WORDS.sub("_", place))) or "n_averaged" in state_dict


def _why_none(saved: Any) -> str:
    if _holds_arrays(saved, collections.Counter()):
        return (
            ", but arrays of NumPy, which torch stores as objects; save those by "
            "`numpy.savez(path, **arrays)`"
        )
    return ""


def _holds_arrays(saved: Any, met: collections.Counter[int], depth: int = 0) -> bool:
    met[id(saved)] += 1
    if depth > DEPTH or met[id(saved)] > TIMES:
        return False
    if isinstance(saved, Mapping):
        saved = list(saved.values())
    if isinstance(saved, list | tuple):
        return any(_holds_arrays(value, met, depth + 1) for value in saved)
    return isinstance(saved, ArrayObject)
