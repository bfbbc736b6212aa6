"""Takes finished runs from a published report into the folder of a plan."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cnnjax.ablation.execute.jobs import read_jobs
from cnnjax.ablation.judge.published import (
    Published,
    PublishedCell,
    PublishedRun,
    commits_of,
    write_cell,
)
from cnnjax.ablation.plan import Cell, Plan
from cnnjax.config import digest
from cnnjax.errors import UserError
from cnnjax.lock import LOCK, holder
from cnnjax.record_kinds import PROVENANCE, RESULT
from cnnjax.records import is_there, is_writer, read_record
from cnnjax.run.setup import Run
from cnnjax.screen import say


def take_published(
    plan: Plan,
    runs: Mapping[str, Run],
    published: Published | None,
    say: Callable[[str], None] = say,
) -> None:
    """Writes the cells that need not be trained, with where they come from.

    A cell is taken as a whole, because its seeds are trained as one program: if all of
    its runs are published, have the config hash and the data fingerprint of this plan,
    and their digests fit. What is in the folder stays. The commit is no reason to
    refuse; it stands in the provenance.

    Args:
      plan: of `make_plan`.
      runs: cell -> its run, of `set_up_all`.
      published: of `read_published`; None where none was given.
      say: prints one sentence.

    Raises:
      UserError: the report is of another ablation or scale.
    """
    if published is None or not is_writer():
        return
    _refuse_other(plan, published)
    for warning in published.warnings:
        say(warning)
    taken: list[Cell] = []
    commits: list[str] = []
    jobs = read_jobs(plan.workdir)["cells"]
    for cell in plan.cells:
        known = published.cells.get(cell.name)
        if known is None or not _is_left(plan, cell, jobs):
            continue
        if reason := _unfit(cell, runs[cell.name].dataset.fingerprint, known):
            say(f"{cell.name} of {published.name} is not taken: {reason}")
            continue
        write_cell(plan.workdir / cell.name, known, cell.seeds, origin=published.name)
        commits += [commit[:10] for commit in commits_of(known.provenance)]
        taken.append(cell)
    if not taken:
        say(f"no runs are taken from {published.name}")
        return
    num_runs = sum(len(cell.seeds) for cell in taken)
    total = sum(len(cell.seeds) for cell in plan.cells)
    say(
        f"{num_runs} of {total} runs are taken from {published.name}, trained at "
        f"commit {', '.join(dict.fromkeys(commits))}"
    )


def takeable(plan: Plan, published: Published | None) -> list[str]:
    """Names of the cells that `take_published` takes if their data is the same.

    Raises:
      UserError: as `take_published`.
    """
    if published is None:
        return []
    _refuse_other(plan, published)
    jobs = read_jobs(plan.workdir)["cells"]
    return [
        cell.name
        for cell in plan.cells
        if (known := published.cells.get(cell.name))
        and _is_left(plan, cell, jobs)
        and not _unfit(cell, None, known)
    ]


def _is_left(plan: Plan, cell: Cell, jobs: Mapping[str, Any]) -> bool:
    """Whether nothing trains or trained it; a cell that waits has no files yet."""
    return cell.name not in jobs and _is_free(plan.workdir / cell.name, cell)


def _refuse_other(plan: Plan, published: Published) -> None:
    own = {"ablation": plan.ablation.name, "scale": plan.scale}
    for key, wanted in own.items():
        if (found := published.plan.get(key)) != wanted:
            raise UserError(
                f"{published.name} has the runs of {key} {found!r}, not of {wanted!r}: "
                f"give another --resume_from, or --{key}={found}"
            )


def _is_free(folder: Path, cell: Cell) -> bool:
    """Whether nothing was trained there; a kill may have left a cell half taken."""
    if is_there(folder / "checkpoints") or holder(folder / LOCK):
        return False
    results = [folder / f"seed-{seed}" / "result.json" for seed in cell.seeds]
    if not any(is_there(result.parent) for result in results):
        return True
    provenance = folder / "provenance.json"
    half_taken = is_there(provenance) and "origin" in read_record(
        provenance, PROVENANCE
    )
    return half_taken and not all(is_there(result) for result in results)


def _unfit(cell: Cell, data: str | None, known: PublishedCell) -> str | None:
    """Why a cell must be trained; None if all its runs can be taken.

    Args:
      cell: of the plan.
      data: its fingerprint; None where it is not known.
      known: the published cell.
    """
    flaws: list[str] = []
    provenance = PROVENANCE.sift(known.provenance, "its provenance", flaws)
    if flaws:
        return flaws[0]
    data = data or provenance["data"]["fingerprint"]
    if provenance["data"]["fingerprint"] != data:
        return "it ran on other data"
    for seed in cell.seeds:
        if reason := _unlike(cell, data, seed, known.runs.get(seed)):
            return f"seed {seed} {reason}"
    return None


def _unlike(cell: Cell, data: str, seed: int, known: PublishedRun | None) -> str | None:
    """Why a run is not what this cell would give; None if it is."""
    if known is None:
        return "is not there"
    flaws: list[str] = []
    result = RESULT.sift(known.result, "result", flaws)
    if flaws:
        return f"cannot be read ({flaws[0]})"
    if not known.is_whole:
        return "was edited or damaged: its digest is not that of what is there"
    facts = {
        "crashed": (None, "crashed"),
        "arm": (cell.name, "holds the result of another arm"),
        "seed": (seed, "holds the result of another seed"),
        "config_hash": (digest(cell.config), "ran with another config"),
        "data_fingerprint": (data, "ran on other data"),
    }
    for key, (wanted, otherwise) in facts.items():
        if result.get(key) != wanted:
            return otherwise
    return None
