"""What is wrong with a state dict, in one sentence."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from cnnjax.errors import near_matches
from cnnjax.interop.convert import COUNTER, Slot
from cnnjax.interop.wrappers import MOST_NAMED, listed
from cnnjax.models.registry import VARIANTS

Shapes = Mapping[str, tuple[int, ...]]


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
    return [f"{len(names)} {kind}: {listed(names)}" for names, kind in kinds if names]


def describe_mismatch(
    name: str,
    source: str,
    slots: list[Slot],
    state_dict: Mapping[str, np.ndarray],
    prefix: str,
    beside: Mapping[str, Any],
    others: Mapping[str, list[Slot]],
    input_shape: tuple[int, ...],
) -> str:
    """The differences in one sentence, with a guess at what was meant.

    What lies beside the net can be a part of it that was renamed, or of something else:
    it is named, and does not keep the rest from being understood.

    Args:
      name: of our net.
      source: whose names `slots` have.
      slots: what is wanted.
      state_dict: what was given.
      prefix: what stood before its names.
      beside: name -> tensor, what was there without that prefix.
      others: what to say -> the slots with which these weights might fit.
      input_shape: for which the net was built.
    """
    given = _without_counters(state_dict)
    hint = (
        _other_net(others, state_dict)
        or _other_arguments(slots, given, input_shape)
        or _numbered(given)
        or _others_of_that_size(name, given)
    )
    clauses = differences(slots, state_dict)
    if beside := _without_counters(beside):
        clauses.append(f"{len(beside)} beside {prefix!r}: {listed(beside)}")
    clauses = "; ".join(clauses)
    return (
        f"these weights are not those of {name!r} as {source} names it: {clauses}; "
        f"nothing was loaded{f' ({hint})' if hint else ''}"
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


def _is_real(value: np.ndarray) -> bool:
    # bfloat16 is no NumPy type: ml_dtypes gives it the kind V.
    return value.dtype.kind == "f" or value.dtype.name == "bfloat16"


def _other_net(others: Mapping[str, list[Slot]], state_dict) -> str | None:
    for words, slots in others.items():
        if not differences(slots, state_dict):
            return words
    return None


def _numbered(given: Mapping[str, np.ndarray]) -> str | None:
    if not given or not all(name.partition(".")[0].isdigit() for name in given):
        return None
    return (
        "they are numbered, as by nn.Sequential(*net.children()): save the "
        "state_dict() of the net itself"
    )


def _other_arguments(
    slots: list[Slot], given: Mapping[str, np.ndarray], input_shape: tuple[int, ...]
) -> str | None:
    """Arguments with which these weights would fit, if that is all that differs."""
    wrong = {
        slot.name: slot
        for slot in slots
        if slot.name not in given or given[slot.name].shape != slot.torch_shape
    }
    wrong |= {name: None for name in given if name not in {s.name for s in slots}}
    hints = [
        _no_statistics(slots, given, wrong),
        _no_auxiliary_heads(slots, given, wrong),
        _no_head(slots, given, wrong),
        _other_classes(given, wrong),
        _other_channels(given, wrong, input_shape),
    ]
    hints = [hint for hint in hints if hint]
    return "; ".join(hints) if hints and not wrong else None


# Each takes what it explains out of `wrong`: name -> slot, None where it has none.


def _no_statistics(slots: list[Slot], given, wrong: dict[str, Any]) -> str | None:
    names = [slot.name for slot in slots if slot.path[0] == "batch_stats"]
    if not names or not all(n in wrong and n not in given for n in names):
        return None
    for name in names:
        del wrong[name]
    return (
        "they have no statistics of batch norm, as an average of parameters alone, or "
        "a net with group norm: take the raw weights or those statistics with them, or "
        "norm='group'"
    )


def _no_auxiliary_heads(slots: list[Slot], given, wrong: dict[str, Any]) -> str | None:
    heads = [s.name for s in slots if s.path[1].startswith("auxiliary")]
    if not heads or not all(n in wrong and n not in given for n in heads):
        return None
    for name in heads:
        del wrong[name]
    return "they have no auxiliary heads: auxiliary_heads=False, or initial_head=True"


def _no_head(slots: list[Slot], given, wrong: dict[str, Any]) -> str | None:
    names = [slot.name for slot in slots if slot.path[1] == "head"]
    if not names or not all(n in wrong and n not in given for n in names):
        return None
    for name in names:
        del wrong[name]
    return "they have no head: initial_head=True leaves it at its initial values"


def _other_classes(given, wrong: dict[str, Any]) -> str | None:
    heads = [n for n, s in wrong.items() if n in given and s and "head" in s.path]
    counts = {given[name].shape[:1] for name in heads}
    if len(counts) != 1 or () in counts:
        return None
    for name in heads:
        # Features of another number are no matter of classes.
        if given[name].shape[1:] == wrong[name].torch_shape[1:]:
            del wrong[name]
    (count,) = counts.pop()
    return (
        f"their head is for {count} classes: num_classes={count}, or initial_head=True "
        "for a head at its initial values"
    )


def _other_channels(given, wrong: dict[str, Any], input_shape) -> str | None:
    for name, slot in list(wrong.items()):
        if slot is None or name not in given or len(slot.torch_shape) != 4:
            continue
        (features, channels, *window), shape = slot.torch_shape, given[name].shape
        like = (shape[:1], shape[2:]) == ((features,), tuple(window))
        if channels == input_shape[-1] and like:
            del wrong[name]
            size = ", ".join(map(str, input_shape[:2]))
            return (
                f"they are for images of {shape[1]} channels: "
                f"input_shape=({size}, {shape[1]})"
            )
    return None


def _others_of_that_size(name: str, given: Mapping[str, np.ndarray]) -> str | None:
    """Entries of the registry with as many parameters as the given weights."""
    total = sum(
        value.size
        for key, value in given.items()
        if not key.endswith(("running_mean", "running_var"))
    )
    others = [n for n, v in VARIANTS.items() if v.num_params == total]
    # Published weights of plain twins there are none.
    others = [n for n in others if VARIANTS[n].arguments.get("residual", True)]
    if not others or name in others:
        return None
    return f"they have as many parameters as {' or '.join(others)}"
