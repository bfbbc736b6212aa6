"""Cells that are done and whose start weights are others by now."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from cnnjax.ablation.plan import Plan
from cnnjax.errors import UserError, printable
from cnnjax.record_kinds import PROVENANCE
from cnnjax.records import sift_record
from cnnjax.run.folder import RunFolder
from cnnjax.run.setup import Run
from cnnjax.run.starting.origin import again

_MOST_NAMED = 8


def say_changed(plan: Plan, runs: Mapping[str, Run], say: Callable[[str], None]) -> int:
    """Names the done cells that were trained from other weights than there are now.

    Args:
      plan: of `make_plan`.
      runs: cell -> its run.
      say: prints one sentence.

    Returns:
      An exit code: 1 if there are any.
    """
    after, code = {cell.name: cell.after for cell in plan.cells}, 0
    for name, run in runs.items():
        folder = plan.workdir / name
        if after.get(name) and _has_changed(folder, name, run):
            code = 1
            say(
                f"{name} was trained from other weights than {after[name][0]} has now: "
                f"move {printable(folder)} away, and the same command trains it again"
            )
    return code


def _has_changed(folder: Path, name: str, run: Run) -> bool:
    began, (record, _) = run.began, sift_record(folder / "provenance.json", PROVENANCE)
    known = (record or {}).get("start")
    if not began or not known:
        return False
    if RunFolder(folder, run, name).finished_results() is None:
        return False
    try:
        return again(began.origin).digest(run.seeds) != known["digest"]
    except UserError:  # weights that are gone do not contradict
        return False


def listed(names: Sequence[str]) -> str:
    """The first of some names, and how many more there are."""
    more = len(names) - _MOST_NAMED
    return ", ".join(names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
