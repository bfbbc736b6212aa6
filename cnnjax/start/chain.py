"""Arms that start from other arms: their order, seeds and configs."""

import graphlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from cnnjax.config import digest, override
from cnnjax.errors import UserError
from cnnjax.start.section import of_source


def parents_first(parents: Mapping[str, str]) -> list[str]:
    """Names of arms, each behind the one that it starts from.

    Args:
      parents: arm -> the arm that it starts from, or ''; without a circle.
    """
    graph = {arm: {parent} if parent else set() for arm, parent in parents.items()}
    return list(graphlib.TopologicalSorter(graph).static_order())


def enough_seeds(
    parents: Mapping[str, str], wanted: Mapping[str, int]
) -> dict[str, int]:
    """Seeds of each arm: an arm has those of all that start from it.

    Args:
      parents: as of `parents_first`.
      wanted: arm -> number of seeds.
    """
    enough = dict(wanted)
    for arm in reversed(parents_first(parents)):
        if parent := parents[arm]:
            enough[parent] = max(enough[parent], enough[arm])
    return enough


def started_from(
    config: ConfigDict, folder: Path, cell: str, parent: ConfigDict
) -> ConfigDict:
    """The config of a run that starts from a cell of its ablation.

    Args:
      config: of the run, unlocked.
      folder: of the ablation.
      cell: folder of the other arm, or of its fold, below that of the ablation.
      parent: config of a cell there; its seeds do not matter.
    """
    changes: dict[str, Any] = {
        "start.weights": cell,
        "start.folder": str(folder.absolute()),
        "start.digest": digest(parent),
    }
    override(config, changes | of_source(config.start, parent))
    return config


def waits_for(
    arm: str, fold: int | None, seeds: Sequence[int], cells: Sequence[Any]
) -> tuple[str, ...]:
    """Names of the cells of an arm that a cell starts from.

    Args:
      arm: that it starts from.
      fold: of cross-validation, or None.
      seeds: of whose weights it starts.
      cells: `Cell`s of the plan.

    Raises:
      UserError: the arm has no such seed.
    """
    there = [cell for cell in cells if cell.arm.name == arm and cell.fold == fold]
    if not (found := [cell for cell in there if set(cell.seeds) & set(seeds)]):
        known = sorted({seed for cell in there for seed in cell.seeds})
        raise UserError(
            f"config.start.seed is {seeds[0]}, and arm {arm} has the seeds {known[0]} "
            f"to {known[-1]}: give one of these, or -1 for the same seed"
        )
    return tuple(cell.name for cell in found)
