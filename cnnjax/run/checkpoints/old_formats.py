"""How checkpoints of earlier versions are read."""

from collections.abc import Iterable, Mapping
from typing import Any


def sources(wanted: Iterable[str], saved: Mapping[str, Any]) -> dict[str, str]:
    """Name of a leaf that is wanted -> of the saved one that is read for it.

    When parameters alone were averaged, they lay where now parameters and statistics
    do; the running statistics stand in for averaged ones.
    """
    return {name: name if name in saved else _before(name) for name in wanted}


def placed_by(sources: Mapping[str, str], leaves: Mapping[str, Any]) -> dict[str, Any]:
    """What was read, by the names that are wanted.

    One leaf may stand for two: of those that do it is a copy, because programs take
    over the memory of what they are given.
    """
    return {n: leaves[n] if n == s else leaves[s].copy() for n, s in sources.items()}


def in_words(sources: Mapping[str, str]) -> str | None:
    """What stand-ins mean for the user, after 'checkpoint PATH'; None without any."""
    if all(name == saved for name, saved in sources.items()):
        return None
    return (
        "is of a version that averaged parameters alone: the running statistics of the "
        "raw weights stand in for averaged ones, and what fits the averaged weights is "
        "statistics=precise (config.eval.statistics, or --statistics of evaluate)"
    )


def _before(name: str) -> str:
    if name.startswith("state.ema.params."):
        return name.replace(".params.", ".", 1)
    if name.startswith("state.ema.model_state."):
        return name.replace(".ema.", ".", 1)
    return name
