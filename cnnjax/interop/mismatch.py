"""What is wrong with a state dict, in one sentence."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnjax.errors import near_matches
from cnnjax.interop.convert import COUNTER, Slot
from cnnjax.models import VARIANTS

# How many names of a kind the sentence lists.
MOST_NAMED = 4
# What torch's wrappers (parallel, compiled) put before every name.
WRAPPED = r"(?:module\.|_orig_mod\.)*"

Shapes = Mapping[str, tuple[int, ...]]


def without_prefix(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Takes off what torch's wrappers put before every name."""
    prefix = re.match(WRAPPED, next(iter(state_dict), ""))[0]
    if not all(name.startswith(prefix) for name in state_dict):
        return dict(state_dict)
    return {k.removeprefix(prefix): v for k, v in state_dict.items()}


def differences(slots: list[Slot], state_dict: Mapping[str, np.ndarray]) -> list[str]:
    """What is missing, too much, of another shape or type: a clause for each kind."""
    given = _without_counters(state_dict)
    wanted = {slot.name: slot for slot in slots}
    missing = {n: slot.torch_shape for n, slot in wanted.items() if n not in given}
    extra = {n: value.shape for n, value in given.items() if n not in wanted}
    common = [(n, given[n], slot) for n, slot in wanted.items() if n in given]
    wrong = [
        f"{n} is {value.shape}, not {slot.torch_shape}"
        for n, value, slot in common
        if value.shape != slot.torch_shape
    ]
    odd = [f"{n} ({value.dtype})" for n, value, _ in common if not _is_real(value)]
    kinds = (
        (_with_near_ones(missing, extra), "missing"),
        (_with_near_ones(extra, missing), "not of this net"),
        (wrong, "of another shape"),
        (odd, "not floating-point"),
    )
    return [f"{len(names)} {kind}: {_cut(names)}" for names, kind in kinds if names]


def describe_mismatch(
    name: str,
    source: str,
    slots: list[Slot],
    state_dict: Mapping[str, np.ndarray],
    other_sources: Mapping[str, list[Slot]],
) -> str:
    """The differences in one sentence, with a guess at what was meant.

    Args:
      name: of our net.
      source: whose names `slots` have.
      slots: what is wanted.
      state_dict: what was given.
      other_sources: the same net as other sources name it.
    """
    hint = (
        _other_source(other_sources, state_dict)
        or _no_auxiliary_heads(slots, state_dict)
        or _other_head(slots, _without_counters(state_dict))
        or _others_of_that_size(name, _without_counters(state_dict))
        or "num_classes and the other arguments of the net must fit, too"
    )
    clauses = "; ".join(differences(slots, state_dict))
    return (
        f"these weights are not those of {name!r} as {source} names it: {clauses}; "
        f"nothing was loaded ({hint})"
    )


def _without_counters(state_dict: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    return {k: v for k, v in state_dict.items() if not k.endswith(COUNTER)}


def _with_near_ones(names: Shapes, candidates: Shapes) -> list[str]:
    """The names, weights first, those to be shown with the nearest of their shape."""
    ordered = sorted(names, key=lambda n: n.endswith(("running_mean", "running_var")))
    shown = []
    for name in ordered[:MOST_NAMED]:
        alike = [c for c, shape in candidates.items() if shape == names[name]]
        close = near_matches(name, alike)[:1]
        shown.append(f"{name} (is it {close[0]}?)" if close else name)
    return shown + ordered[MOST_NAMED:]


def _cut(names: list[str]) -> str:
    rest = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _is_real(value: np.ndarray) -> bool:
    # bfloat16 is no NumPy type: ml_dtypes gives it the kind V.
    return value.dtype.kind == "f" or value.dtype.name == "bfloat16"


def _other_source(sources: Mapping[str, list[Slot]], state_dict) -> str | None:
    for source, slots in sources.items():
        if not differences(slots, state_dict):
            return f"{source} names it like this: source={source!r}"
    return None


def _no_auxiliary_heads(slots: list[Slot], given: Mapping[str, np.ndarray]):
    """Whether nothing is missing but heads that only training uses."""
    rest = [slot for slot in slots if not slot.path[1].startswith("auxiliary")]
    if len(rest) < len(slots) and not differences(rest, given):
        return "they have no auxiliary heads: auxiliary_heads=False"
    return None


def _other_head(slots: list[Slot], given: Mapping[str, np.ndarray]) -> str | None:
    """Whether nothing differs but the number of classes."""
    if {slot.name for slot in slots} != given.keys():
        return None
    wrong = [s for s in slots if given[s.name].shape != s.torch_shape]
    counts = {given[s.name].shape[:1] for s in wrong}
    if len(counts) != 1 or () in counts or not all("head" in s.path for s in wrong):
        return None
    (count,) = counts.pop()
    return f"their head is for {count} classes: num_classes={count}"


def _others_of_that_size(name: str, given: Mapping[str, np.ndarray]) -> str | None:
    """Entries of the registry with as many parameters as the given weights."""
    total = sum(
        value.size
        for key, value in given.items()
        if not key.endswith(("running_mean", "running_var"))
    )
    others = [n for n, v in VARIANTS.items() if v.num_params == total and n != name]
    if not others:
        return None
    return f"they have as many parameters as {' or '.join(others)}"
