"""Takes finished runs from a published report into the folder of a plan."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cnnjax.ablation.execute.jobs import read_jobs
from cnnjax.ablation.judge.published import (
    Published,
    PublishedCell,
    PublishedRun,
    commits_of,
    write_cell,
)
from cnnjax.ablation.plan import Cell, Plan, has_ended
from cnnjax.config import digest
from cnnjax.errors import UserError
from cnnjax.lock import LOCK, holder
from cnnjax.record_kinds import PROVENANCE, RESULT
from cnnjax.records import is_there, is_writer, read_record
from cnnjax.run.setup import Run
from cnnjax.screen import say

OF_RUN = ("result.json", "metrics.jsonl")  # of what `write_cell` writes


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
    refuse; it stands in the provenance. A cell from whose weights another is still to
    be trained is trained, too, because a report keeps no weights.

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
    found = {
        cell.name: _unfit(cell, runs[cell.name].dataset.fingerprint, known)
        for cell, known in _offered(plan, published)
    }
    needed = _starts(plan, [name for name, reason in found.items() if not reason])
    for cell, known in _offered(plan, published):
        folder = plan.workdir / cell.name
        if cell.name in needed:
            say(
                f"{cell.name} is trained and not taken from {published.name}, which "
                f"keeps no weights: {needed[cell.name]} starts from them"
            )
            _give_up(folder, cell)
        elif has_ended(folder, cell.seeds):
            continue  # taken before
        elif reason := found[cell.name]:
            say(f"{cell.name} of {published.name} is not taken: {reason}")
        else:
            write_cell(folder, known, cell.seeds, origin=published.name)
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
    offered = _offered(plan, published)
    fit = [cell.name for cell, known in offered if not _unfit(cell, None, known)]
    needed = _starts(plan, fit)
    cells = {cell.name: cell for cell in plan.cells}
    return [
        name
        for name in fit
        if name not in needed and not has_ended(plan.workdir / name, cells[name].seeds)
    ]


def _offered(plan: Plan, published: Published) -> list[tuple[Cell, PublishedCell]]:
    """The published cells that nothing trains or trained here.

    A cell that waits has no files yet; one that was taken before is offered again.
    """
    jobs = read_jobs(plan.workdir)["cells"]
    return [
        (cell, published.cells[cell.name])
        for cell in plan.cells
        if cell.name in published.cells
        and cell.name not in jobs
        and _is_free(plan.workdir / cell.name, cell)
    ]


def _starts(plan: Plan, fit: Sequence[str]) -> dict[str, str]:
    """Cells that must be trained for their weights -> one that starts from them.

    Args:
      plan: of `make_plan`.
      fit: names of the cells that could be taken.
    """
    after = {cell.name: cell.after for cell in plan.cells}
    todo = [
        cell.name
        for cell in plan.cells
        if cell.name not in fit and not has_ended(plan.workdir / cell.name, cell.seeds)
    ]
    needed: dict[str, str] = {}
    for name in todo:  # which grows: what is trained needs its own start
        for parent in after[name]:
            if parent in fit and parent not in needed:
                needed[parent] = name
                todo.append(parent)
    return needed


def _give_up(folder: Path, cell: Cell) -> None:
    """Removes what was taken before: copies of what the report has."""
    for seed in cell.seeds:
        for name in OF_RUN:
            (folder / f"seed-{seed}" / name).unlink(missing_ok=True)
        with contextlib.suppress(OSError):  # empty now, or it stays
            (folder / f"seed-{seed}").rmdir()
    (folder / "provenance.json").unlink(missing_ok=True)


def _refuse_other(plan: Plan, published: Published) -> None:
    own = {"ablation": plan.ablation.name, "scale": plan.scale}
    for key, wanted in own.items():
        if (found := published.plan.get(key)) != wanted:
            raise UserError(
                f"{published.name} has the runs of {key} {found!r}, not of {wanted!r}: "
                f"give another --resume_from, or --{key}={found}"
            )


def _is_free(folder: Path, cell: Cell) -> bool:
    """Whether nothing was trained there; it may have been taken, or half taken."""
    if is_there(folder / "checkpoints") or holder(folder / LOCK):
        return False
    if not any(is_there(folder / f"seed-{seed}") for seed in cell.seeds):
        return True
    provenance = folder / "provenance.json"
    return is_there(provenance) and "origin" in read_record(provenance, PROVENANCE)


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
