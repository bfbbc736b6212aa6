"""Which folder holds a seed: that of a run, of an arm, or of one of its cells."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnjax.errors import UserError
from cnnjax.record_kinds import WHOLE_CONFIG
from cnnjax.records import is_there, read_record, sift_record
from cnnjax.schema import Items, Name, Object

# Cells that an arm may have beside its first: further seeds, and folds.
_MORE_SEEDS, _FOLDS = "seeds-", "fold-"
_MOST_NAMED = 8
# Of `plan.json`, for a message.
_NAMES = Object(needs={"arms": Items(Object(needs={"name": Name("arm")}))})


def seeds_of(config: Mapping[str, Any]) -> range:
    """The seeds of a run, by its config."""
    first, count = config["seeds"]["first"], config["seeds"]["count"]
    return range(first, first + count)


def find_cell(workdir: Path, seed: int) -> Path:
    """The folder with `config.json` whose run has a seed.

    Args:
      workdir: of a run, of an arm, or of one of its cells.
      seed: the number of the seed.

    Raises:
      UserError: it holds no run, several folds, or no such seed; names those it has.
    """
    if not workdir.is_dir():
        raise UserError(f"there is no folder {workdir}: give the --workdir of a run")
    if is_there(workdir / "plan.json"):
        raise _choose(workdir, "is a whole ablation", _arms(workdir))
    cells = [workdir, *_below(workdir, _MORE_SEEDS)]
    cells = [cell for cell in cells if is_there(cell / "config.json")]
    if not cells and (folds := _below(workdir, _FOLDS)):
        raise _choose(workdir, "was cross-validated", [fold.name for fold in folds])
    if not cells:
        raise UserError(
            f"{workdir} holds no run (no config.json): give the --workdir of a "
            "training, or the folder of an arm of an ablation"
        )
    known = {
        cell: seeds_of(read_record(cell / "config.json", WHOLE_CONFIG))
        for cell in cells
    }
    for cell, seeds in known.items():
        if seed in seeds:
            return cell
    named = _named([str(s) for seeds in known.values() for s in seeds])
    raise UserError(f"{workdir} has no seed {seed}: it has {named} (seed, --seed)")


def name_of(folder: Path) -> str:
    """Name of a run: that of its folder, or within an ablation of its cell."""
    folder = folder.resolve()
    for root in folder.parents[:3]:
        if is_there(root / "plan.json"):
            return folder.relative_to(root).as_posix()
    return folder.name


def _below(folder: Path, prefix: str) -> list[Path]:
    return sorted(
        child
        for child in folder.iterdir()
        if child.name.startswith(prefix) and child.is_dir()
    )


def _arms(workdir: Path) -> list[str]:
    plan, _ = sift_record(workdir / "plan.json", _NAMES)
    return [arm["name"] for arm in (plan or {"arms": []})["arms"]]


def _choose(workdir: Path, what: str, names: Sequence[str]) -> UserError:
    return UserError(
        f"{workdir} {what}: give the folder of one run in it ({_named(names)})"
    )


def _named(names: Sequence[str]) -> str:
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
