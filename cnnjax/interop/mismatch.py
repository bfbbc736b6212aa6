"""Describes in one sentence how a state dict differs from the net."""

from collections.abc import Mapping
from typing import Any

from cnnjax.errors import near_matches
from cnnjax.interop.convert import COUNTER, Slot
from cnnjax.interop.files.unread import Unread
from cnnjax.interop.wrappers import MOST_NAMED, listed
from cnnjax.models.registry import VARIANTS

# Among how many names the most similar one is looked for: it takes some time for each.
MOST_COMPARED = 500

Shapes = Mapping[str, tuple[int, ...]]


def differences(slots: list[Slot], state_dict: Mapping[str, Unread]) -> list[str]:
    """Missing and unexpected names, other shapes and types: a clause for each kind."""
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
        (_with_near_ones(extra, missing), "unexpected"),
        (wrong, "with another shape"),
        (odd, "not floating-point"),
    )
    return [f"{len(names)} {kind}: {listed(names)}" for names, kind in kinds if names]


def describe_mismatch(
    name: str,
    source: str,
    slots: list[Slot],
    state_dict: Mapping[str, Unread],
    prefix: str,
    beside: Mapping[str, Any],
    others: Mapping[str, list[Slot]],
    input_shape: tuple[int, ...],
) -> str:
    """The differences in one sentence, with a hint at what was meant.

    Entries without the common prefix may be a renamed part of the net or belong to
    something else: they are named, and do not affect the hint about the others.

    Args:
      name: of our net.
      source: whose names `slots` have.
      slots: of the net.
      state_dict: the given weights.
      prefix: which their names had in the checkpoint.
      beside: name -> tensor, the entries without that prefix.
      others: hint -> the slots of another net that these weights may fit.
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
        clauses.append(f"{len(beside)} without {prefix!r}: {listed(beside)}")
    return (
        f"these weights do not fit {name!r} with the names of {source}: "
        f"{'; '.join(clauses)}; nothing was loaded{f' ({hint})' if hint else ''}"
    )


def _without_counters(state_dict: Mapping[str, Unread]) -> dict[str, Unread]:
    return {k: v for k, v in state_dict.items() if not k.endswith(COUNTER)}


def _with_near_ones(names: Shapes, candidates: Shapes) -> list[str]:
    """The names, weights first; those to be shown get the most similar candidate."""
    ordered = sorted(names, key=lambda n: n.endswith(("running_mean", "running_var")))
    shown = []
    for name in ordered[:MOST_NAMED]:
        alike = [c for c, shape in candidates.items() if shape == names[name]]
        close = near_matches(name, alike[:MOST_COMPARED])[:1]
        shown.append(f"{name} (or {close[0]}?)" if close else name)
    return shown + ordered[MOST_NAMED:]


def _is_real(value: Unread) -> bool:
    # bfloat16 is no NumPy type: ml_dtypes gives it the kind V.
    return value.dtype.kind == "f" or value.dtype.name == "bfloat16"


def _other_net(others: Mapping[str, list[Slot]], state_dict) -> str | None:
    for words, slots in others.items():
        if not differences(slots, state_dict):
            return words
    return None


def _numbered(given: Mapping[str, Unread]) -> str | None:
    if not given or not all(name.partition(".")[0].isdigit() for name in given):
        return None
    return (
        "they are numbered, as by nn.Sequential(*net.children()): save the "
        "state_dict() of the net itself"
    )


def _other_arguments(
    slots: list[Slot], given: Mapping[str, Unread], input_shape: tuple[int, ...]
) -> str | None:
    """Arguments with which these weights would fit, if that is all that differs."""
    wrong: dict[str, Slot | None] = {
        slot.name: slot
        for slot in slots
        if slot.name not in given or given[slot.name].shape != slot.torch_shape
    }
    wrong |= {name: None for name in given if name not in {s.name for s in slots}}
    parts = {
        "they have no running statistics, as an average of the parameters alone or a "
        "net with group norm: load the raw weights, add those statistics, or set "
        "norm='group'": [s for s in slots if s.path[0] == "batch_stats"],
        "they have no auxiliary heads: auxiliary_heads=False, or initial_head=True": [
            s for s in slots if s.path[1].startswith("auxiliary")
        ],
        "they have no head: initial_head=True keeps its initial values": [
            s for s in slots if s.path[1] == "head"
        ],
    }
    hints = [hint for hint, part in parts.items() if _is_absent(part, given, wrong)]
    hints += filter(
        None, [_other_classes(given, wrong), _other_channels(given, wrong, input_shape)]
    )
    return "; ".join(hints) if hints and not wrong else None


# Each removes what it explains from `wrong`: name -> slot, None for unexpected names.


def _is_absent(part: list[Slot], given, wrong: dict[str, Any]) -> bool:
    names = [slot.name for slot in part]
    if not names or not all(n in wrong and n not in given for n in names):
        return False
    for name in names:
        del wrong[name]
    return True


def _other_classes(given, wrong: dict[str, Any]) -> str | None:
    heads = [n for n, s in wrong.items() if n in given and s and "head" in s.path]
    counts = {given[name].shape[:1] for name in heads}
    if len(counts) != 1 or () in counts:
        return None
    for name in heads:
        # Another number of features has nothing to do with classes.
        if given[name].shape[1:] == wrong[name].torch_shape[1:]:
            del wrong[name]
    (count,) = counts.pop()
    return (
        f"their head has {count} classes: num_classes={count}, or initial_head=True "
        "for a head with initial values"
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


def _others_of_that_size(name: str, given: Mapping[str, Unread]) -> str | None:
    """Entries of the registry with the same number of parameters."""
    total = sum(
        value.size
        for key, value in given.items()
        if not key.endswith(("running_mean", "running_var"))
    )
    others = [n for n, v in VARIANTS.items() if v.num_params == total]
    # No weights of plain nets are published.
    others = [n for n in others if VARIANTS[n].arguments.get("residual", True)]
    if not others or name in others:
        return None
    return f"they have the number of parameters of {' or '.join(others)}"
