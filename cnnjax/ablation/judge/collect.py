"""Reads the folder of an ablation, finished or not, into one table.

Nothing is dropped silently: every planned run is a row with a status. Runs with another
config or other data than planned are excluded from all averages, with the reason.
"""

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnjax.ablation.define.metrics import METRICS
from cnnjax.ablation.define.spec import Ablation
from cnnjax.ablation.define.stored import spec_from_dict
from cnnjax.errors import UserError
from cnnjax.records import no_run, read_json, read_metrics, write_text
from cnnjax.texts import csv_table

# done: counted. failed: ended by an error. running: metrics but no result yet. missing:
# not started. excluded: done, but not comparable with the others.
STATUSES = ("done", "failed", "running", "missing", "excluded")
# A seed, or a fold and a seed.
Replicate = int | tuple[int, int]
COST_KEYS = (
    "compile_seconds",
    "run_seconds",
    "images_per_second",
    "step_seconds",
    "memory_bytes",
)


@dataclasses.dataclass(frozen=True)
class Row:
    """One planned run: an arm with a seed, on one fold.

    Attributes:
      arm: name of the arm.
      axes: axis name -> label.
      seed: the seed.
      fold: of cross-validation, or None.
      status: one of `STATUSES`.
      reason: why the status is not 'done'; '' otherwise.
      result: the content of `result.json`; empty if there is none.
    """

    arm: str
    axes: Mapping[str, str]
    seed: int
    status: str
    reason: str
    result: Mapping[str, Any]
    fold: int | None = None

    @property
    def replicate(self) -> Replicate:
        """The key by which runs are paired across arms."""
        return self.seed if self.fold is None else (self.fold, self.seed)

    @property
    def diverged(self) -> bool:
        """Whether it failed because its loss became infinite, not by a crash."""
        return self.status == "failed" and not self.result.get("crashed")

    @property
    def run(self) -> str:
        """Names the run within its arm, in words."""
        return ("" if self.fold is None else f"fold {self.fold} ") + f"seed {self.seed}"

    def metric(self, name: str) -> float:
        """The value of a metric of `METRICS`; nan if it was not measured."""
        metric = METRICS[name]
        value = self._number(metric.path)
        if metric.minus:
            value -= self._number(metric.minus)
        return metric.factor * value

    def _number(self, path: Sequence[str]) -> float:
        value: Any = self.result
        for key in path:
            value = value.get(key) if isinstance(value, Mapping) else None
        measured = isinstance(value, int | float) and math.isfinite(value)
        return float(value) if measured else math.nan

    def cost(self, key: str) -> float:
        """One of `COST_KEYS`; nan if it was not measured."""
        value = (self.result.get("cost") or {}).get(key)
        return float(value) if isinstance(value, int | float) else math.nan

    def resolution(self, name: str) -> float:
        """Step of an error rate, 100 / number of examples; 0 for other metrics."""
        if METRICS[name].unit not in ("%", "points"):
            return 0.0
        path = " ".join(METRICS[name].path)
        # Metrics that are no error of a split are measured on test images.
        split = next((s for s in ("train", "validation") if s in path), "test")
        count = ((self.result.get("final") or {}).get(split) or {}).get("count")
        return 100.0 / count if count else 0.0


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
      curves: of every run that has metrics.
      provenance: cell -> the content of its `provenance.json`.
      warnings: sentences about files that could not be read.
    """

    ablation: Ablation
    scale_name: str
    plan: Mapping[str, Any]
    rows: Sequence[Row]
    curves: Sequence[Curve]
    provenance: Mapping[str, Mapping[str, Any]]
    warnings: Sequence[str]

    @property
    def arm_names(self) -> list[str]:
        """The arms of the plan, in its order."""
        return [arm["name"] for arm in self.plan["arms"]]

    @property
    def sequential(self) -> bool:
        """Whether seeds were added until claims were decided."""
        return bool(self.plan.get("sequential"))

    @property
    def overlap(self) -> float:
        """Test images per training image in cross-validation; 0 without it."""
        rows = [r for r in self.rows if r.status == "done" and r.fold is not None]
        counts = [
            [r.result["final"][s]["count"] for s in ("test", "train")] for r in rows
        ]
        return max((test / train for test, train in counts), default=0.0)

    def values(self, metric: str) -> dict[str, dict[Replicate, float]]:
        """Arm -> seed, or (fold, seed) -> value, of the runs that count."""
        table: dict[str, dict[Replicate, float]] = {arm: {} for arm in self.arm_names}
        for row in self.rows:
            value = row.metric(metric)
            guess = self.ablation.diverged_error
            if row.diverged and guess is not None and metric.endswith("_error"):
                table[row.arm][row.replicate] = guess
            elif row.status == "done" and math.isfinite(value):
                table[row.arm][row.replicate] = value
        return table

    def resolution(self, metric: str) -> float:
        """Largest step of an error rate over the runs that count."""
        steps = [row.resolution(metric) for row in self.rows if row.status == "done"]
        return max(steps, default=0.0)


def collect(workdir: str | Path) -> Sweep:
    """Reads `plan.json` and the files of every cell in it.

    Raises:
      UserError: the folder has no readable plan.
    """
    workdir = Path(workdir)
    plan = _read_plan(workdir)
    ablation, scale_name = spec_from_dict(plan["spec"])
    warnings: list[str] = []
    rows: list[Row] = []
    curves: list[Curve] = []
    provenance: dict[str, dict[str, Any]] = {}
    for arm in plan["arms"]:
        for cell in arm["cells"]:
            folder = workdir / cell["name"]
            record = _read_json(folder / "provenance.json", warnings)
            provenance[cell["name"]] = record or {}
            for seed in cell["seeds"]:
                row = read_row(folder / f"seed-{seed}", arm, seed, warnings)
                rows.append(dataclasses.replace(row, fold=cell["fold"]))
                one = _read_curves(folder / f"seed-{seed}", arm["name"], seed, warnings)
                curves += one
    rows = _exclude_other_configs(rows, plan)
    rows = _exclude_other_data(rows, plan)
    return Sweep(ablation, scale_name, plan, rows, curves, provenance, warnings)


def write_csv(sweep: Sweep, path: Path) -> None:
    """Writes one line per run; columns that depend on the machine come last."""
    axes = [axis.name for axis in sweep.ablation.axes]
    facts = ("config_hash", "data_fingerprint", "num_params", "multiply_adds")
    progress = ("step", "epochs")
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
        *facts,
        *progress,
        *COST_KEYS,
    ]
    table: list[list[object]] = [[*header]]
    for row in sweep.rows:
        numbers = [_number(row.metric(m)) for m in metrics]
        known = [row.result.get(fact, "") for fact in (*facts, *progress)]
        costs = [_number(row.cost(key)) for key in COST_KEYS]
        labels = [row.axes.get(axis, "") for axis in axes]
        folds = [row.fold] * len(fold)
        start = [row.arm, *labels, *folds, row.seed, row.status, row.reason]
        table.append(start + numbers + known + costs)
    write_text(path, csv_table(table))


def _number(value: float) -> str:
    return "" if math.isnan(value) else repr(value)


def _read_plan(workdir: Path) -> dict[str, Any]:
    path = workdir / "plan.json"
    if not path.exists():
        raise no_run(workdir, "an ablation", ("plan.json",), "ablation")
    plan = read_json(path, lenient=True)
    missing = {"spec", "arms", "seeds"} - set(plan if isinstance(plan, dict) else ())
    if missing or not all("cells" in arm for arm in plan["arms"]):
        lacks = "no JSON object" if not isinstance(plan, dict) else "incomplete"
        raise UserError(
            f"{path} cannot be read ({lacks}): run the ablation again with the same "
            "--workdir, which rewrites it"
        )
    return plan


def _read_json(path: Path, warnings: list[str]) -> dict[str, Any] | None:
    """The object in a file; None if absent; None and a warning if unreadable."""
    data = read_json(path, lenient=True)
    if isinstance(data, dict):
        return data
    if path.exists():
        name = _short_name(path)
        warnings.append(f"{name} cannot be read and is ignored.")
    return None


def _short_name(path: Path) -> str:
    return f"{path.parent.parent.name}/{path.parent.name}/{path.name}"


def read_row(
    folder: Path, arm: Mapping[str, Any], seed: int, warnings: list[str]
) -> Row:
    """Reads the folder of one seed.

    Args:
      folder: of the seed.
      arm: its 'name' and 'axes', as in `plan.json`.
      seed: the seed.
      warnings: sentences about unreadable files are appended.
    """
    result = _read_json(folder / "result.json", warnings)
    if result is None:
        started = (folder / "metrics.jsonl").exists()
        status = "running" if started else "missing"
        reason = "not finished" if started else "not started"
    elif result.get("status") == "done":
        # Earlier versions recorded 'done' when the last evaluation was not finite.
        reason = _not_finite(result.get("final") or {})
        status = "failed" if reason else "done"
    else:
        status, reason = "failed", result.get("reason") or "no reason was recorded"
    return Row(arm["name"], arm["axes"], seed, status, reason, result or {})


def _not_finite(final: Mapping[str, Any]) -> str:
    """Names the split whose loss is not finite; '' if there is none."""
    for split, row in final.items():
        loss = row.get("loss") if isinstance(row, Mapping) else None
        if loss is not None and not math.isfinite(loss):
            return f"the loss on the {split} images is {loss}"
    return ""


def _read_curves(folder: Path, arm: str, seed: int, warnings: list[str]) -> list[Curve]:
    points: dict[str, dict[int, tuple[float, float]]] = {}
    for row in _read_lines(folder / "metrics.jsonl", warnings):
        try:
            split = row["split"] if row["kind"] == "eval" else "running"
            point = (float(row["epoch"]), float(row["error"]))
            # A resumed run repeats the steps after its checkpoint: the last row counts.
            points.setdefault(split, {})[int(row["step"])] = point
        except (KeyError, TypeError, ValueError):
            continue
    curves = []
    for split, by_step in points.items():
        epochs, errors = zip(*(by_step[step] for step in sorted(by_step)), strict=True)
        curves.append(Curve(arm, seed, split, epochs, errors))
    return curves


def _read_lines(path: Path, warnings: list[str]) -> list[dict[str, Any]]:
    skipped: list[int] = []
    rows = read_metrics(path, skipped)
    if skipped:
        warnings.append(
            f"{_short_name(path)}: unreadable line(s) {skipped} are skipped."
        )
    return [row for row in rows if isinstance(row, dict)]


def _exclude_other_configs(rows: Sequence[Row], plan: Mapping[str, Any]) -> list[Row]:
    """Excludes the runs of cells whose config is not the planned one."""
    planned = _of_cells(plan, "config_hash")
    return [
        _excluded(row, "ran with another config than the plan")
        if row.status == "done" and row.result.get("config_hash") != planned[_cell(row)]
        else row
        for row in rows
    ]


def _exclude_other_data(rows: Sequence[Row], plan: Mapping[str, Any]) -> list[Row]:
    """Excludes runs whose data differ from those of most runs with the same config."""
    asked = _of_cells(plan, "data_hash")
    prints: dict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        if row.status == "done":
            prints[asked[_cell(row)]][row.result.get("data_fingerprint", "")] += 1
    usual = {key: count.most_common(1)[0][0] for key, count in prints.items()}
    return [
        _excluded(
            row,
            "used other data than most runs, which have fingerprint "
            f"{usual[asked[_cell(row)]]}",
        )
        if row.status == "done"
        and row.result.get("data_fingerprint", "") != usual[asked[_cell(row)]]
        else row
        for row in rows
    ]


def _cell(row: Row) -> tuple[str, int | None]:
    """The runs with this key share a config, except for their seeds."""
    return row.arm, row.fold


def _of_cells(plan: Mapping[str, Any], key: str) -> dict[tuple[str, int | None], Any]:
    return {
        (arm["name"], cell["fold"]): cell[key]
        for arm in plan["arms"]
        for cell in arm["cells"]
    }


def _excluded(row: Row, reason: str) -> Row:
    return dataclasses.replace(row, status="excluded", reason=reason)
