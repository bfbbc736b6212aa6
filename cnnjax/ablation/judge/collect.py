"""Reads the folder of an ablation, finished or not, into one table.

Nothing is dropped silently: every planned run is a row with a status. Runs with another
config or other data than planned are excluded from all averages, with the reason.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnjax.ablation.define.metrics import COST_KEYS, FACTS, FAILED, METRICS
from cnnjax.ablation.define.spec import Ablation
from cnnjax.ablation.define.stored import spec_from_dict
from cnnjax.ablation.judge.comparable import exclude_others, lacking, outdated
from cnnjax.ablation.judge.row import Replicate, Row, read_row
from cnnjax.ablation.judge.verified import (
    exclude_refuted,
    read_verified,
    verified_words,
)
from cnnjax.errors import UserError, printable
from cnnjax.record_kinds import PLAN, PROVENANCE
from cnnjax.records import (
    is_there,
    no_run,
    read_record,
    refuse_published,
    sift_metrics,
    sift_record,
    write_text,
)
from cnnjax.texts import csv_table


@dataclasses.dataclass(frozen=True)
class Curve:
    """Error of one run during training.

    Attributes:
      arm: name of the arm.
      seed: the seed.
      split: 'train', 'validation' or 'test' (evaluated on the whole split), or
        'running' (augmented training batches, averaged since the previous point).
      epochs: position, increasing.
      errors: percent.
    """

    arm: str
    seed: int
    split: str
    epochs: Sequence[float]
    errors: Sequence[float]


@dataclasses.dataclass(frozen=True)
class Sweep:
    """The records of one ablation.

    Attributes:
      ablation: the definition.
      scale_name: the scale that was planned.
      plan: the content of `plan.json`.
      rows: one per arm and seed, in the order of the plan.
      curves: of every run that has metrics and is not excluded.
      provenance: cell -> the content of its `provenance.json`.
      warnings: sentences about files that could not be read.
      verified: what was evaluated again, as `verified.json` has it; empty for nothing.
    """

    ablation: Ablation
    scale_name: str
    plan: Mapping[str, Any]
    rows: Sequence[Row]
    curves: Sequence[Curve]
    provenance: Mapping[str, Mapping[str, Any]]
    warnings: Sequence[str]
    verified: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def arm_names(self) -> list[str]:
        """The arms of the plan, in its order."""
        return [arm["name"] for arm in self.plan["arms"]]

    @property
    def verified_words(self) -> str:
        """What was evaluated again; '' for nothing."""
        return verified_words(self.verified, len(self.rows))

    @property
    def sequential(self) -> bool:
        """Whether seeds were added until claims were decided."""
        return bool(self.plan.get("sequential"))

    @property
    def overlap(self) -> float:
        """Test images per training image in cross-validation; 0 without it."""
        counts = [
            (row.count("test"), row.count("train"))
            for row in self.rows
            if row.status == "done" and row.fold is not None
        ]
        return max((test / train for test, train in counts if train), default=0.0)

    def values(self, metric: str) -> dict[str, dict[Replicate, float]]:
        """Arm -> seed, or (fold, seed) -> value, of the runs that count."""
        if metric == FAILED:
            return {
                arm: {key: 100.0 * failed for key, failed in own.items()}
                for arm, own in self.failed.items()
            }
        table: dict[str, dict[Replicate, float]] = {arm: {} for arm in self.arm_names}
        for row in self.rows:
            value = row.metric(metric)
            guess = self.ablation.diverged_error
            if row.diverged and guess is not None and metric.endswith("_error"):
                table[row.arm][row.replicate] = guess
            elif row.status == "done" and math.isfinite(value):
                table[row.arm][row.replicate] = value
        return table

    @property
    def failed(self) -> dict[str, dict[Replicate, bool]]:
        """Arm -> seed, or (fold, seed) -> whether it failed to train.

        Of the runs that ended by themselves; `Ablation.failed_above` has the rule.
        """
        table: dict[str, dict[Replicate, bool]] = {arm: {} for arm in self.arm_names}
        most = self.ablation.failed_above
        for row in self.rows:
            if row.status == "done" or row.diverged:
                stuck = most is not None and row.metric("train_error") > most
                table[row.arm][row.replicate] = row.diverged or stuck
        return table

    def resolution(self, metric: str) -> float:
        """Largest step of an error rate over the runs that count."""
        steps = [row.resolution(metric) for row in self.rows if row.status == "done"]
        return max(steps, default=0.0)


def collect(workdir: str | Path) -> Sweep:
    """Reads `plan.json` and the files of every cell in it.

    Raises:
      UserError: the folder has no readable plan, or is a published report.
    """
    workdir = Path(workdir)
    plan = _read_plan(workdir)
    ablation, scale_name = spec_from_dict(plan["spec"])
    _require_axes(workdir, ablation, plan)
    warnings: list[str] = []
    rows: list[Row] = []
    curves: list[list[Curve]] = []  # of each row
    provenance: dict[str, dict[str, Any]] = {}
    for arm in plan["arms"]:
        for cell in arm["cells"]:
            folder = workdir / cell["name"]
            provenance[cell["name"]] = _read_provenance(folder, warnings)
            for seed in cell["seeds"]:
                row = read_row(folder / f"seed-{seed}", arm, seed)
                known = {"fold": cell["fold"], "cell": cell["name"]}
                rows.append(dataclasses.replace(row, **known))
                curves.append(_read_curves(folder / f"seed-{seed}", row, warnings))
    verified, unread = read_verified(workdir, rows)
    rows = exclude_refuted(exclude_others(rows, plan), verified)
    counted = [
        curve
        for row, of_row in zip(rows, curves, strict=True)
        if row.status != "excluded"
        for curve in of_row
    ]
    return Sweep(
        ablation=ablation,
        scale_name=scale_name,
        plan=plan,
        rows=rows,
        curves=counted,
        provenance=provenance,
        warnings=[
            *warnings,
            *unread,
            *lacking(rows),
            *outdated(rows, plan, provenance, ablation.claims),
        ],
        verified=verified,
    )


def write_csv(sweep: Sweep, path: Path) -> None:
    """Writes one line per run; columns that depend on the machine come last."""
    table = [[_cell(value) for value in line] for line in run_table(sweep)]
    write_text(path, csv_table(table))


def run_table(sweep: Sweep) -> list[list[object]]:
    """A line of names, and one per run; what was not measured is nan, or ''."""
    axes = [axis.name for axis in sweep.ablation.axes]
    metrics = [
        name
        for name, metric in METRICS.items()
        if metric.path[0] != "cost"
        and any(not math.isnan(row.metric(name)) for row in sweep.rows)
    ]
    fold = ["fold"] if any(row.fold is not None for row in sweep.rows) else []
    header = [
        "arm",
        *axes,
        *fold,
        "seed",
        "status",
        "reason",
        *metrics,
        *FACTS,
        *COST_KEYS,
    ]
    table: list[list[object]] = [[*header]]
    for row in sweep.rows:
        numbers = [row.metric(m) for m in metrics]
        known = [row.result.get(fact, "") for fact in FACTS]
        costs = [row.cost(key) for key in COST_KEYS]
        labels = [row.axes.get(axis, "") for axis in axes]
        folds = [row.fold] * len(fold)
        start = [row.arm, *labels, *folds, row.seed, row.status, row.reason]
        table.append(start + numbers + known + costs)
    return table


def _cell(value: object) -> object:
    """A number in full; nothing for nan."""
    if not isinstance(value, float):
        return value
    return "" if math.isnan(value) else repr(value)


def _read_plan(workdir: Path) -> dict[str, Any]:
    path = workdir / "plan.json"
    refuse_published(workdir)
    if not is_there(path):
        raise no_run(workdir, "an ablation", ("plan.json",), "ablation")
    return read_record(path, PLAN)


def _require_axes(workdir: Path, ablation: Ablation, plan: Mapping[str, Any]) -> None:
    """Refuses arms that are no settings of the axes of their definition."""
    for arm in plan["arms"]:
        for axis in ablation.axes:
            if arm["axes"].get(axis.name) not in axis.values:
                raise UserError(
                    f"{printable(workdir / 'plan.json')} is not what a run wrote (arm "
                    f"{arm['name']} has no value of axis {axis.name!r}): restore it, "
                    "or give another --workdir"
                )


def _read_provenance(folder: Path, warnings: list[str]) -> dict[str, Any]:
    """What is known of a cell; adds a warning where some of it cannot be read."""
    path = folder / "provenance.json"
    record, wrong = sift_record(path, PROVENANCE)
    if wrong:
        warnings.append(f"{folder.name}/{path.name} {wrong}; that part is ignored.")
    return record or {}


def _short_name(path: Path) -> str:
    return f"{path.parent.parent.name}/{path.parent.name}/{path.name}"


def _read_curves(folder: Path, run: Row, warnings: list[str]) -> list[Curve]:
    rows, wrong = sift_metrics(folder / "metrics.jsonl")
    if wrong:
        warnings.append(f"{folder.parent.name}/{folder.name}/metrics.jsonl {wrong}.")
    points: dict[str, dict[int, tuple[float, float]]] = {}
    for row in rows:
        split = "running" if row.get("kind") == "train" else row.get("split", "")
        point = (row.get("epoch", math.nan), _known(row.get("error")))
        if split and all(map(math.isfinite, point)):
            # A resumed run repeats the steps after its checkpoint: the last row counts.
            points.setdefault(split, {})[row["step"]] = point
    curves = []
    for split, by_step in points.items():
        epochs, errors = zip(*(by_step[step] for step in sorted(by_step)), strict=True)
        curves.append(Curve(run.arm, run.seed, split, epochs, errors))
    return curves


def _known(value: float | None) -> float:
    return math.nan if value is None else value
