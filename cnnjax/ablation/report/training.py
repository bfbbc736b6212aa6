"""The report of a single run, from its files alone, finished or not."""

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from rich.console import Console
from rich.table import Table

from cnnjax.ablation.define.metrics import METRICS
from cnnjax.ablation.execute.status import CellStatus, facts_of_run, read_cells
from cnnjax.ablation.judge.collect import Curve
from cnnjax.ablation.judge.comparable import exclude_other_run, lacking
from cnnjax.ablation.judge.row import Row, read_row
from cnnjax.ablation.judge.stats import summarize
from cnnjax.ablation.judge.verified import (
    exclude_refuted,
    read_verified,
    verified_words,
)
from cnnjax.ablation.report import tables
from cnnjax.ablation.report.pages import render
from cnnjax.ablation.report.plots.curves import draw_lines
from cnnjax.ablation.report.plots.figures import Group, Panel, save_groups
from cnnjax.ablation.report.plots.scales import show_values
from cnnjax.ablation.report.replacing import claim_report
from cnnjax.config import flatten
from cnnjax.errors import UserError, printable
from cnnjax.record_kinds import PROVENANCE, WHOLE_CONFIG
from cnnjax.records import no_run, read_record, sift_metrics, sift_record, write_text
from cnnjax.screen import plain, terminal
from cnnjax.texts import csv_table

# Split of a row of metrics.jsonl -> its label in a legend.
LINES = {
    "running": "training batches",
    "train": "training set",
    "validation": "validation",
    "test": "test",
}
QUANTITIES = {"error": "error (%)", "loss": "loss", "learning_rate": "learning rate"}
FACTS = ("num_params", "multiply_adds", "step", "epochs", "config_hash")
# What a training is for: the first of these that it has.
ANSWERS = ("test_error", "validation_error", "train_error")
# On a screen of 80 columns.
SCREEN = ("train_error", "validation_error", "test_error", "best_test_error")
CAPTION = (
    "Lines: mean over seeds; bands: smallest to largest seed. Values on augmented "
    "training batches are averages since the previous point; all others are computed "
    "on a whole split."
)


@dataclasses.dataclass(frozen=True)
class Training:
    """The records of a run, with all its seeds.

    Attributes:
      name: of the folder.
      config: dotted key -> value.
      rows: one per seed.
      points: (seed, key of `LINES`) -> step -> row of `metrics.jsonl`.
      provenance: the content of `provenance.json`.
      cell: its progress.
      warnings: sentences about files that could not be read.
      verified: what was evaluated again, in words; '' for nothing.
    """

    name: str
    config: Mapping[str, Any]
    rows: Sequence[Row]
    points: Mapping[tuple[int, str], Mapping[int, Mapping[str, Any]]]
    provenance: Mapping[str, Any]
    cell: CellStatus
    warnings: Sequence[str]
    verified: str

    @property
    def metrics(self) -> list[str]:
        """Metrics that at least one seed has, without costs."""
        return [
            name
            for name, metric in METRICS.items()
            if metric.path[0] not in ("cost", "step")
            and any(math.isfinite(row.metric(name)) for row in self.rows)
        ]


def is_training(workdir: Path) -> bool:
    """Whether a folder belongs to a single run rather than to an ablation.

    Raises:
      UserError: it belongs to neither.
    """
    marks = ("plan.json", "config.json")
    found = [mark for mark in marks if (workdir / mark).exists()]
    if not found:
        raise no_run(workdir, "a run or an ablation", marks)
    return found == ["config.json"]


def read_training(workdir: Path) -> Training:
    """Reads the folder of a run, or of one cell of an ablation.

    Raises:
      UserError: its config cannot be read.
    """
    stored = read_record(workdir / "config.json", WHOLE_CONFIG)
    config = flatten(stored)
    name = printable(workdir.absolute().name)
    arm = {"name": name, "axes": {}}
    warnings: list[str] = []
    known, wrong = sift_record(workdir / "provenance.json", PROVENANCE)
    if wrong:
        warnings.append(f"provenance.json {wrong}; that part is ignored.")
    ours = facts_of_run(stored, known)
    first, count = config["seeds.first"], config["seeds.count"]
    rows = [
        exclude_other_run(read_row(workdir / f"seed-{seed}", arm, seed), ours)
        for seed in range(first, first + count)
    ]
    verified, unread = read_verified(workdir, rows)
    rows = exclude_refuted(rows, verified)
    points = _read_points(workdir, rows, warnings)
    (cell,) = read_cells(workdir)
    if cell.status != "running":  # for a seed with metrics but no result
        words = {"running": "not finished"}
        rows = [
            dataclasses.replace(row, status=words.get(row.status, row.status))
            for row in rows
        ]
    done_again = verified_words(verified, len(rows))
    warnings += unread + lacking(rows)
    return Training(name, config, rows, points, known or {}, cell, warnings, done_again)


def _read_points(
    workdir: Path, rows: Sequence[Row], warnings: list[str]
) -> dict[tuple[int, str], dict[int, dict[str, Any]]]:
    """The points of `Training`, of the seeds that are not excluded."""
    points: dict[tuple[int, str], dict[int, dict[str, Any]]] = {}
    for seed in (row.seed for row in rows if row.status != "excluded"):
        measured, wrong = sift_metrics(workdir / f"seed-{seed}" / "metrics.jsonl")
        if wrong:
            warnings.append(f"seed-{seed}/metrics.jsonl {wrong}.")
        for point in measured:
            line = point.get("split", "running")
            # A resumed run repeats the steps after its checkpoint.
            points.setdefault((seed, line), {})[point["step"]] = point
    return points


def write_training_report(workdir: Path) -> list[Path]:
    """Writes results.csv, plots, report.md and report.html into the folder.

    Args:
      workdir: folder of a run.

    Returns:
      The paths written, the page first.

    Raises:
      UserError: its config cannot be read, or the folder cannot be written.
    """
    training = read_training(workdir)
    context = _context(training)
    page, text, table = (
        workdir / name for name in ("report.html", "report.md", "results.csv")
    )
    plots = workdir / "plots"
    claim_report(workdir)
    try:
        plots.mkdir(exist_ok=True)
        context["groups"], pictures = save_groups(context["groups"], plots)
        _write_csv(training, table)
        write_text(text, render("training.md.j2", context, autoescape=False))
        write_text(page, render("training.html.j2", context, autoescape=True))
    except OSError as error:
        raise UserError(
            f"the report cannot be written into {workdir} ({error.strerror}): free "
            "space or change the permissions, then run report again"
        ) from error
    return [page, text, table, *pictures]


def print_training(workdir: Path, console: Console | None = None) -> None:
    """Prints one row per seed, and the failures."""
    training = read_training(workdir)
    console = console or terminal()
    table = Table(title=plain(training.name))
    shown = [m for m in SCREEN if m in training.metrics]
    titles = (f"{METRICS[m].title} ({METRICS[m].unit})" for m in shown)
    for title in ("seed", "status", *titles):
        table.add_column(title, justify="left" if title == "status" else "right")
    for row in training.rows:
        values = (tables.value(row.metric(m), m) for m in shown)
        table.add_row(str(row.seed), row.status, *values)
    console.print(table)
    console.print(_state(training), highlight=False)
    for sentence in _troubles(training):
        console.print(f"[yellow]{plain(sentence)}[/]")


def _context(training: Training) -> dict[str, Any]:
    """The variables of the templates."""
    done = [row for row in training.rows if row.status == "done"]
    values = {m: [row.metric(m) for row in done] for m in training.metrics}
    ours = (row for row in training.rows if row.status != "excluded")
    facts = next((row.result for row in ours if row.result), {})
    return {
        "training": training,
        "state": _state(training),
        "answer": _answer(training, done),
        "question": _what(training.config),
        "troubles": _troubles(training),
        "metrics": training.metrics,
        "summaries": {m: summarize(v) for m, v in values.items()},
        "num_done": len(done),
        "groups": _groups(training),
        "facts": [(key, facts[key]) for key in FACTS if key in facts],
        "provenance": tables.flat(training.provenance),
    }


def _answer(training: Training, done: Sequence[Row]) -> str:
    """The error that was asked for, in a sentence; '' before a seed has finished."""
    shown = [metric for metric in ANSWERS if metric in training.metrics]
    if not done or not shown:
        return ""
    summary = summarize([row.metric(shown[0]) for row in done])
    about = METRICS[shown[0]]
    over = f"over {len(done)} seeds, ± 95%" if len(done) > 1 else "of one seed"
    title = f"{about.title[:1].upper()}{about.title[1:]}"
    return f"{title} {tables.interval(summary, shown[0])} {about.unit} ({over})."


def _what(config: Mapping[str, Any]) -> str:
    """Net, data and budget, in words; the config may be cut."""
    budget = "an unknown number"
    if steps := config.get("train.steps"):
        budget = f"{steps:,} steps"
    elif epochs := config.get("train.epochs"):
        budget = f"{epochs:g} epoch{'s' * (epochs != 1)}"
    return (
        f"{config['model.name']} on {config['data.name']}, {budget} of "
        f"{config['train.batch_size']:,} images"
    )


def _state(training: Training) -> str:
    cell = training.cell
    done = sum(row.status == "done" for row in training.rows)
    seeds = f"{done} of {len(training.rows)} seeds done"
    if cell.status in ("done", "failed"):
        return seeds
    total = f" of {cell.total_steps:,}" if cell.total_steps else ""
    return f"{seeds}; {cell.status}, step {cell.step:,}{total}"


def _troubles(training: Training) -> list[str]:
    words = [
        f"seed {row.seed} {row.status}: {row.reason}"
        for row in training.rows
        if row.status in ("failed", "excluded")
    ]
    return words + list(training.warnings)


def _groups(training: Training) -> list[Group]:
    panels = []
    for key, title in QUANTITIES.items():
        lines = _lines(training, key)
        if lines:
            draw = functools.partial(_draw, lines=lines, title=title, key=key)
            panels.append(Panel(title[0].upper() + title[1:], draw))
    if not panels:
        return []
    return [Group("curves", "Training curves", CAPTION, panels, len(panels))]


def _lines(training: Training, key: str) -> dict[str, list[Curve]]:
    """Label -> one curve per seed over epochs, where there are several points."""
    lines: dict[str, list[Curve]] = {}
    for (seed, name), by_step in training.points.items():
        rows = [by_step[step] for step in sorted(by_step)]
        known = [
            (row["epoch"], row[key])
            for row in rows
            if "epoch" in row
            and isinstance(row.get(key), int | float)
            and math.isfinite(row[key])
        ]
        if len(known) > 1:
            epochs, values = zip(*known, strict=True)
            label = LINES.get(name, name)
            curve = Curve(training.name, seed, name, epochs, values)
            lines.setdefault(label, []).append(curve)
    return lines


def _draw(ax: Axes, lines: Mapping[str, Sequence[Curve]], title: str, key: str) -> None:
    draw_lines(ax, lines)
    if key == "learning_rate":
        ax.set(ylim=(0, None), ylabel=title)
        ax.grid(axis="y")
        if legend := ax.get_legend():
            legend.remove()
        return
    values = [v for curves in lines.values() for c in curves for v in c.errors]
    show_values(ax, "y", "train_error" if key == "error" else "train_loss", values)
    ax.set_ylabel(title)


def _write_csv(training: Training, path: Path) -> None:
    """Writes one line per seed."""
    rows: list[list[object]] = [["seed", "status", "reason", *training.metrics]]
    for row in training.rows:
        values = [row.metric(metric) for metric in training.metrics]
        known = ["" if math.isnan(value) else repr(value) for value in values]
        rows.append([row.seed, row.status, row.reason, *known])
    write_text(path, csv_table(rows))
