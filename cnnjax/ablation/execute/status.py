"""The progress of an ablation or a single run, read from its files alone."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from cnnjax.ablation.execute import slurm
from cnnjax.ablation.execute.jobs import read_jobs
from cnnjax.config import digest
from cnnjax.errors import printable
from cnnjax.process import seems_alive
from cnnjax.record_kinds import COUNT, PLAN, PROVENANCE, RESULT, SEEDS
from cnnjax.records import (
    is_there,
    no_run,
    read_record,
    refuse_published,
    sift_record,
)
from cnnjax.run.heartbeat import read_heartbeat
from cnnjax.run.progress import duration
from cnnjax.schema import Object
from cnnjax.screen import plain
from cnnjax.seal import broken, unlike

DONE, RUNNING, FAILED, WAITING, INTERRUPTED = (
    "done",
    "running",
    "failed",
    "waiting",
    "interrupted",
)
STATUSES = (DONE, RUNNING, FAILED, WAITING, INTERRUPTED)
STYLES = {DONE: "green", RUNNING: "bold", FAILED: "red", INTERRUPTED: "yellow"}


# What is read of `config.json`.
_OF_A_RUN = Object(needs={"seeds": SEEDS})
_OF_A_CELL = Object(may={"train": Object(may={"batch_size": COUNT})})


@dataclasses.dataclass(frozen=True)
class CellStatus:
    """The progress of one cell.

    Attributes:
      name: of the cell.
      status: one of `STATUSES`; the same command resumes 'interrupted' cells.
      step: steps done.
      total_steps: of the whole run; 0 if unknown.
      loss: mean over the seeds, of the last dispatch or of the whole training set.
      seconds_left: of a running cell; None if unknown.
      work: multiply-adds of a step, over all seeds; 1 for a single run.
      where: host and number of the process that trains it.
      note: reason of a failure, or the launcher's job and its attempt.
    """

    name: str
    status: str
    step: int
    total_steps: int
    loss: float | None
    seconds_left: float | None
    work: float
    where: str
    note: str


def read_cells(workdir: Path) -> list[CellStatus]:
    """The cells of an ablation in the order of its plan, or that of a single run.

    Raises:
      UserError: the folder contains neither, or is a published report.
    """
    refuse_published(workdir)
    if not is_there(workdir / "plan.json"):
        path = workdir / "config.json"
        if not is_there(path):
            raise no_run(workdir, "a run or an ablation", ("plan.json", "config.json"))
        config = read_record(path, _OF_A_RUN)
        first, count = config["seeds"]["first"], config["seeds"]["count"]
        seeds = range(first, first + count)
        known, _ = sift_record(workdir / "provenance.json", PROVENANCE)
        ours = facts_of_run(config, known)
        return [_cell(workdir, printable(workdir.name), seeds, ours, 0, 1.0, {}, None)]
    plan = read_record(workdir / "plan.json", PLAN)
    jobs = read_jobs(workdir, lenient=True)
    states = slurm.job_states() if jobs["launcher"] == "slurm" else None
    cells = []
    for arm, planned in ((a, cell) for a in plan["arms"] for cell in a["cells"]):
        name, seeds = planned["name"], planned["seeds"]
        config, _ = sift_record(workdir / name / "config.json", _OF_A_CELL)
        batch = (config or {}).get("train", {}).get("batch_size", 1)
        work = float(arm["multiply_adds"] * batch * len(seeds))
        job = jobs["cells"].get(name, {})
        state = (states or {}).get(job.get("job", ""))
        ours, steps = {"config_hash": planned["config_hash"]}, arm["steps"]
        cell = _cell(workdir / name, name, seeds, ours, steps, work, job, state)
        cells.append(cell)
    return cells


def facts_of_run(
    config: Mapping[str, Any], provenance: Mapping[str, Any] | None
) -> dict[str, str]:
    """What the results of a training must say.

    Args:
      config: the content of `config.json`.
      provenance: that of `provenance.json`; None where it cannot be read.
    """
    facts = {"config_hash": digest(config)}
    if provenance:
        facts["data_fingerprint"] = provenance["data"]["fingerprint"]
    return facts


def seconds_left(cells: Sequence[CellStatus]) -> float | None:
    """Of all cells, if as many run in parallel as now; None if none runs."""
    left = sum(
        (cell.total_steps - cell.step) * cell.work
        for cell in cells
        if cell.status not in (DONE, FAILED)
    )
    pace = sum(
        (cell.total_steps - cell.step) * cell.work / cell.seconds_left
        for cell in cells
        if cell.seconds_left
    )
    if not left:
        return 0.0
    return left / pace if pace else None


def summary(cells: Sequence[CellStatus]) -> str:
    """One line: how many cells have which status, and the time left."""
    count = Counter(cell.status for cell in cells)
    shown = [s for s in STATUSES if s != INTERRUPTED or count[s]]
    words = [f"{count[status]} {status}" for status in shown]
    return f"{', '.join(words)}; left {duration(seconds_left(cells))}"


def table(cells: Sequence[CellStatus]) -> Table:
    """One row per cell."""
    resumable = any(cell.status == INTERRUPTED for cell in cells)
    hint = "\nthe same command resumes interrupted cells" if resumable else ""
    found = Table(caption=summary(cells) + hint)
    for title in ("cell", "status", "step", "loss", "left", "host:process", "note"):
        right = title in ("step", "loss", "left")
        found.add_column(
            title, justify="right" if right else "left", no_wrap=title != "note"
        )
    for cell in cells:
        total = f"{cell.total_steps:,}" if cell.total_steps else "?"
        found.add_row(
            plain(cell.name),
            cell.status,
            f"{cell.step:,}/{total}",
            "" if cell.loss is None else f"{cell.loss:.4g}",
            duration(cell.seconds_left) if cell.status == RUNNING else "",
            plain(cell.where),
            plain(cell.note),
            style=STYLES.get(cell.status),
        )
    return found


def _cell(
    folder: Path,
    name: str,
    seeds: Sequence[int],
    ours: Mapping[str, str],
    total_steps: int,
    work: float,
    job: dict[str, Any],
    state: str | None,
) -> CellStatus:
    """Combines the files of a cell and its state in SLURM."""
    paths = [folder / f"seed-{seed}" / "result.json" for seed in seeds]
    results = [sift_record(path, RESULT)[0] for path in paths]
    found = [result for result in results if result]
    wrong = _of_others(dict(zip(seeds, results, strict=True)), ours)
    beat = read_heartbeat(folder)
    status = _status(results, beat, state)
    if wrong and status == DONE:
        status = FAILED
    step = (found[0] if status == DONE else beat).get("step", 0)
    total = total_steps or beat.get("total_steps") or step
    pace = beat.get("seconds_per_step")
    return CellStatus(
        name=name,
        status=status,
        step=step,
        total_steps=total,
        loss=_final_loss(found) if status == DONE else beat.get("loss"),
        seconds_left=pace * (total - step) if status == RUNNING and pace else None,
        work=work,
        where=_where(status, beat),
        note=wrong or _note(status, found, beat, job),
    )


def _of_others(results: Mapping[int, dict | None], ours: Mapping[str, str]) -> str:
    """Which result is not that of this run as it was written, and why; '' for none.

    The metrics are not read, because this looks at all cells again and again.
    """
    for seed, result in results.items():
        if result and not result.get("crashed"):
            wrong = unlike(result, {"seed": seed, **ours}) or broken(result)
            if wrong:
                return f"seed {seed} has a result that is not its own: {wrong}"
    return ""


def _status(
    results: Sequence[dict | None], beat: dict[str, Any], state: str | None
) -> str:
    over = [result for result in results if result and not result.get("crashed")]
    if len(over) == len(results):
        return DONE if all(r["status"] == "done" for r in over) else FAILED
    if beat.get("status") in ("starting", "running") and _is_alive(beat, state):
        return RUNNING
    if state == "RUNNING":
        return RUNNING
    if slurm.is_active(state):
        return WAITING
    if any(result and result.get("crashed") for result in results):
        return FAILED
    return INTERRUPTED if beat.get("status", "waiting") != "waiting" else WAITING


def _is_alive(beat: dict[str, Any], state: str | None) -> bool:
    if state is not None and state != "RUNNING":
        return False
    return seems_alive(beat)


def _final_loss(results: Sequence[dict[str, Any]]) -> float | None:
    losses = [((r.get("final") or {}).get("train") or {}).get("loss") for r in results]
    known = [loss for loss in losses if loss is not None]
    return sum(known) / len(known) if known else None


def _where(status: str, beat: dict[str, Any]) -> str:
    known = status == RUNNING and {"host", "pid"} <= beat.keys()
    return f"{beat['host']}:{beat['pid']}" if known else ""


def _note(
    status: str, results: Sequence[dict], beat: dict[str, Any], job: dict[str, Any]
) -> str:
    if status == FAILED:
        failed = [result for result in results if result["status"] == "failed"]
        return f"{len(failed)} seeds: {failed[0].get('reason')}"
    if status == INTERRUPTED:
        return beat.get("reason", "")
    words = []
    if status in (RUNNING, WAITING) and job:
        words.append(f"job {job['job']}")
        attempt = job.get("attempt", 1)
        words += [f"attempt {attempt}"] * (attempt > 1)
    return ", ".join(words)
