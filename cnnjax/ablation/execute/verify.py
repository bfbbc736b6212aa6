"""`report --verify`: evaluates kept weights again and stores what came out."""

import datetime
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cnnjax.ablation.judge.verified import FILE
from cnnjax.devices.compile_cache import use_compile_cache
from cnnjax.errors import UserError, shown
from cnnjax.record_kinds import DIFFERENT, PLAN, UNVERIFIED, VERIFIED
from cnnjax.records import (
    is_there,
    no_run,
    read_record,
    refuse_published,
    sift_record,
    write_json,
)
from cnnjax.run.provenance import git_commit
from cnnjax.run.trained.verify import POINTS, SHARE, verify_run

ALL = "all"


def verify(
    workdir: Path, how_many: str, say: Callable[[str], None], data_dir: str = ""
) -> int:
    """Evaluates runs again, tells of each cell, and writes `verified.json`.

    Args:
      workdir: folder of an ablation or of a training.
      how_many: 'all', or the number of runs, spread over the plan; the seeds of a cell
        are evaluated together, so there may be more.
      say: is told the outcome of each cell.
      data_dir: '' for those of the configs.

    Returns:
      Exit code: 1 where something else comes out than was reported, or the records of
      a cell are not those of its run.

    Raises:
      UserError: no such folder, or no number of runs.
    """
    if how_many != ALL and not (how_many.isdecimal() and int(how_many)):
        raise UserError(
            f"--verify={shown(how_many)} is no number of runs: give --verify=all, or "
            "a whole number that is at least 1"
        )
    use_compile_cache()
    cells = _cells(workdir)
    if how_many != ALL:
        cells = _spread(cells, int(how_many))
    rows: list[dict[str, Any]] = []
    refused = False
    for name, _ in cells:
        title = name or workdir.name
        try:
            found = verify_run(workdir / name, title, data_dir)
        except UserError as error:  # the others can still be verified
            refused = True
            say(f"{title}  not verified: {error}")
            continue
        rows += [{"cell": name, **row} for row in found]
        say(_words(title, found))
    _store(workdir, rows)
    return int(refused or any(row["outcome"] == DIFFERENT for row in rows))


def _cells(workdir: Path) -> list[tuple[str, int]]:
    """Name and number of seeds of each cell; '' for a training."""
    path = workdir / "plan.json"
    refuse_published(workdir)
    if not is_there(path):
        if not is_there(workdir / "config.json"):
            raise no_run(workdir, "a run or an ablation", (path.name, "config.json"))
        return [("", 1)]
    return [
        (cell["name"], len(cell["seeds"]))
        for arm in read_record(path, PLAN)["arms"]
        for cell in arm["cells"]
    ]


def _spread(cells: list[tuple[str, int]], num_runs: int) -> list[tuple[str, int]]:
    """Cells with at least so many runs, from all over the plan."""
    of_each = max(1, min(count for _, count in cells))
    num_cells = min(len(cells), -(-num_runs // of_each))
    return [cells[i * len(cells) // num_cells] for i in range(num_cells)]


def _words(name: str, rows: list[dict[str, Any]]) -> str:
    if not rows:
        return f"{name}  not verified: it is not finished"
    words = [
        f"seed {row['seed']} {row['outcome']}"
        + (f" ({row['detail']})" if row["detail"] else "")
        for row in rows
    ]
    return f"{name}  {', '.join(words)}"


def _store(workdir: Path, rows: list[dict[str, Any]]) -> None:
    """Writes what was verified now, and before of other runs.

    What came out once stays where weights are gone since.
    """
    today = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    about = {"created": today, "git_commit": git_commit()}
    earlier, _ = sift_record(workdir / FILE, VERIFIED)
    if earlier and all(row["outcome"] == UNVERIFIED for row in rows):
        # Nothing was evaluated today.
        about = {key: earlier[key] for key in about if key in earlier}
    known = {_of(row): row for row in (earlier or {"runs": []})["runs"]}
    for row in rows:
        old = known.get(_of(row))
        is_known = old is not None and old["digest"] == row["digest"]
        if row["outcome"] != UNVERIFIED or not is_known:
            known[_of(row)] = row
    write_json(
        workdir / FILE,
        {
            **about,
            "points": POINTS,
            "share": SHARE,
            "runs": list(known.values()),
        },
    )


def _of(row: dict[str, Any]) -> tuple[str, int]:
    return row["cell"], row["seed"]
