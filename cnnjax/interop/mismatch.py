"""What is wrong with a state dict, in one sentence."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnjax.errors import near_matches
from cnnjax.interop.convert import COUNTER, Slot
from cnnjax.models import VARIANTS

# How many names of a kind the sentence lists.
MOST_NAMED = 4


def without_prefix(state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Takes off `module.`, which torch's parallel wrappers put before every name."""
    if state_dict and all(name.startswith("module.") for name in state_dict):
        return {k.removeprefix("module."): v for k, v in state_dict.items()}
    return dict(state_dict)


def describe_mismatch(
    name: str, source: str, slots: list[Slot], state_dict: Mapping[str, Any]
) -> str | None:
    """The sentence, or None if all names, shapes and types fit."""
    given = {k: v for k, v in state_dict.items() if not k.endswith(COUNTER)}
    wanted = {slot.name: slot for slot in slots}
    missing = [n for n in wanted if n not in given]
    extra = [n for n in given if n not in wanted]
    parts = []
    if missing:
        parts.append(f"{_count(missing, 'missing')} {_list(missing, extra)}")
    if extra:
        parts.append(f"{_count(extra, 'not of this net')} {_list(extra, missing)}")
    wrong = [
        f"{n} is {np.shape(given[n])}, not {slot.torch_shape}"
        for n, slot in wanted.items()
        if n in given and np.shape(given[n]) != slot.torch_shape
    ]
    if wrong:
        parts.append(f"{_count(wrong, 'of another shape')} {_list(wrong)}")
    odd = [n for n in wanted if n in given and not _is_number(given[n])]
    if odd:
        parts.append(f"{_count(odd, 'not floating-point')} {_list(odd)}")
    if not parts:
        return None
    return (
        f"these weights are not those of {name!r} as {source} names it: "
        + "; ".join(parts)
        + f"; nothing was loaded{_others_of_that_size(name, given)}"
    )


def _count(names: list[str], what: str) -> str:
    return f"{len(names)} {what}:"


def _list(names: list[str], candidates: list[str] = ()) -> str:
    shown = []
    for name in names[:MOST_NAMED]:
        close = near_matches(name, candidates)[:1] if len(candidates) < 2000 else []
        shown.append(f"{name} (is it {close[0]}?)" if close else name)
    rest = len(names) - MOST_NAMED
    return ", ".join(shown) + (f" and {rest} more" if rest > 0 else "")


def _is_number(value: Any) -> bool:
    dtype = np.asarray(value).dtype
    # bfloat16 is no NumPy type: ml_dtypes gives it the kind V.
    return dtype.kind == "f" or dtype.name == "bfloat16"


def _others_of_that_size(name: str, given: Mapping[str, Any]) -> str:
    """Entries of the registry with as many parameters as the given weights."""
    total = sum(
        int(np.size(value))
        for key, value in given.items()
        if not key.endswith(("running_mean", "running_var"))
    )
    others = [n for n, v in VARIANTS.items() if v.num_params == total and n != name]
    if not others:
        return " (num_classes and the other arguments of the net must fit, too)"
    return f" (they have as many parameters as {' or '.join(others)})"
