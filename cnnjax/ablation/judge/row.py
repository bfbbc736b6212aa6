"""One planned run, as its folder tells of it."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnjax.ablation.define.metrics import METRICS
from cnnjax.errors import UserError
from cnnjax.record_kinds import RESULT
from cnnjax.records import is_there, sift_record
from cnnjax.seal import broken

# done: counted. failed: ended by an error. running: metrics but no result yet. missing:
# not started. excluded: done, but not comparable with the others.
STATUSES = ("done", "failed", "running", "missing", "excluded")
# A seed, or a fold and a seed.
Replicate = int | tuple[int, int]


@dataclasses.dataclass(frozen=True)
class Row:
    """One planned run: an arm with a seed, on one fold.

    Attributes:
      arm: name of the arm.
      axes: axis name -> label.
      seed: the seed.
      fold: of cross-validation, or None.
      cell: name of the cell that trained it.
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
    cell: str = ""

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
        count = self.count(split)
        return 100.0 / count if count else 0.0

    def count(self, split: str) -> int:
        """Images of a split that the last evaluation saw; 0 if there are none."""
        return ((self.result.get("final") or {}).get(split) or {}).get("count", 0)


def read_row(folder: Path, arm: Mapping[str, Any], seed: int) -> Row:
    """Reads the folder of one seed.

    Args:
      folder: of the seed.
      arm: its 'name' and 'axes', as in `plan.json`.
      seed: the seed.

    Returns:
      The row; its result is without what no run writes.
    """
    result, wrong = sift_record(folder / "result.json", RESULT)
    status, reason = _status(folder, result, wrong, seed)
    return Row(arm["name"], arm["axes"], seed, status, reason, result or {})


def _status(
    folder: Path, result: Mapping[str, Any] | None, wrong: str, seed: int
) -> tuple[str, str]:
    """One of `STATUSES` and the reason."""
    if wrong:
        return "excluded", f"result.json {wrong}"
    try:
        if result is None:
            started = is_there(folder / "metrics.jsonl")
            return (
                ("running", "not finished") if started else ("missing", "not started")
            )
        if unlike := _of_another_run(folder, result, seed):
            return "excluded", unlike
    except UserError as error:
        return "excluded", f"metrics.jsonl cannot be read ({error.__cause__ or 'odd'})"
    if result["status"] == "done" and not result.get("final"):
        return "excluded", "result.json lacks its last evaluation"
    if result["status"] == "done":
        # Earlier versions recorded 'done' when the last evaluation was not finite.
        reason = _not_finite(result.get("final") or {})
        return ("failed" if reason else "done"), reason
    return "failed", result.get("reason") or "no reason was recorded"


def _of_another_run(folder: Path, result: Mapping[str, Any], seed: int) -> str | None:
    """Why a result is not that of this seed as it was written; None if it is."""
    if result.get("seed", seed) != seed:
        return f"holds the result of seed {result['seed']}"
    # After a crash the metrics belong to the next attempt.
    metrics = None if result.get("crashed") else folder / "metrics.jsonl"
    return broken(result, metrics)


def _not_finite(final: Mapping[str, Any]) -> str:
    """Names the split whose loss is not finite; '' if there is none."""
    for split, row in final.items():
        loss = row.get("loss")
        if loss is not None and not math.isfinite(loss):
            return f"the loss on the {split} images is {loss}"
    return ""
