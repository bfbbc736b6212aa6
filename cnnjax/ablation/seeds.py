"""How many seeds each arm of a plan has, and which of them are trained together."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from cnnjax.errors import UserError


def wanted_of(num_seeds: int | Mapping[str, int] | None, arm: str) -> int:
    """Seeds that were asked for; 0 for none in particular."""
    return (num_seeds[arm] if isinstance(num_seeds, Mapping) else num_seeds) or 0


def planned_seeds(plan: Mapping[str, Any]) -> dict[str, list[int]]:
    """Arm -> how many seeds each of its cells has, folds aside."""
    counts: dict[str, dict[int, int]] = {}
    for arm in plan["arms"]:
        for cell in arm["cells"]:
            seeds = cell["seeds"]
            counts.setdefault(arm["name"], {})[seeds[0]] = len(seeds)
    return {arm: list(of_arm.values()) for arm, of_arm in counts.items()}


def seed_groups(
    before: Sequence[int], wanted: int, usual: int, holder: str
) -> dict[str, tuple[int, int]]:
    """Which seeds are trained together: those planned before, then all that are new.

    Args:
      before: how many seeds the cells of an arm have that were planned before.
      wanted: seeds of the arm; 0 for those planned before, or the usual number.
      usual: of the scale.
      holder: what has the earlier plan, for the message.

    Returns:
      Last part of the cell's name, '' for the first, -> (number of its first seed,
      counted from that of the recipe, number of seeds).

    Raises:
      UserError: fewer seeds are wanted than were planned.
    """
    total = sum(before)
    wanted = wanted or total or usual
    if wanted < total:
        raise UserError(
            f"--seeds={wanted}, but {holder} holds {total} seeds of an arm: give "
            f"--seeds={total} or more, or another --workdir"
        )
    counts = [*before, *([wanted - total] if wanted > total else [])]
    firsts = itertools.accumulate(counts[:-1], initial=0)
    return {
        f"seeds-{first}" if first else "": (first, count)
        for first, count in zip(firsts, counts, strict=True)
    }
