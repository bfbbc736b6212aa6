"""Rows of the tables of a report, and how numbers are written in them."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

from cnnjax.ablation.collect import Sweep
from cnnjax.ablation.metrics import METRICS
from cnnjax.ablation.spec import Published
from cnnjax.ablation.stats import Summary, summarize


@dataclasses.dataclass(frozen=True)
class ArmLine:
    """One arm, averaged over its seeds.

    Attributes:
      arm: name.
      num_done: cells that count.
      num_planned: cells of the plan.
      summaries: metric -> mean and interval.
      published: metric -> the number of the source, where there is one.
      num_params: parameters of the net.
      multiply_adds: of one image.
    """

    arm: str
    num_done: int
    num_planned: int
    summaries: Mapping[str, Summary]
    published: Mapping[str, Published]
    num_params: int
    multiply_adds: int


@dataclasses.dataclass(frozen=True)
class CostLine:
    """Time of one arm, summed over its seeds; nan where nothing is recorded."""

    arm: str
    compile_seconds: float
    run_seconds: float
    images_per_second: float


@dataclasses.dataclass(frozen=True)
class Trouble:
    """Cells of one arm that do not count, for one reason."""

    arm: str
    status: str
    seeds: tuple[int, ...]
    reason: str


def arm_lines(sweep: Sweep) -> list[ArmLine]:
    """One line per planned arm, with the metrics of the ablation."""
    metrics = measured_metrics(sweep)
    values = {metric: sweep.values(metric) for metric in metrics}
    published = {(row.arm, row.metric): row for row in sweep.ablation.published}
    lines = []
    for arm in sweep.plan["arms"]:
        name = arm["name"]
        rows = [row for row in sweep.rows if row.arm == name]
        lines.append(
            ArmLine(
                arm=name,
                num_done=sum(row.status == "done" for row in rows),
                num_planned=len(rows),
                summaries={
                    m: summarize(list(values[m][name].values())) for m in metrics
                },
                published={
                    m: published[name, m] for m in METRICS if (name, m) in published
                },
                num_params=arm["num_params"],
                multiply_adds=arm["multiply_adds"],
            )
        )
    return lines


def measured_metrics(sweep: Sweep) -> list[str]:
    """Metrics of the ablation that at least one cell has; all before any is done."""
    metrics = list(sweep.ablation.metrics)
    return [m for m in metrics if any(sweep.values(m).values())] or metrics


def published_metrics(sweep: Sweep) -> list[str]:
    """Metrics for which the source printed a number of a planned arm."""
    arms = set(sweep.arm_names)
    known = {row.metric for row in sweep.ablation.published if row.arm in arms}
    return [metric for metric in METRICS if metric in known]


def cost_lines(sweep: Sweep) -> list[CostLine]:
    """Cost of every arm that has a result, failed ones included."""
    lines = []
    for arm in sweep.arm_names:
        rows = [row for row in sweep.rows if row.arm == arm and row.result]
        if rows:
            rates = [row.cost("images_per_second") for row in rows]
            lines.append(
                CostLine(
                    arm,
                    _sum_known([row.cost("compile_seconds") for row in rows]),
                    _sum_known([row.cost("run_seconds") for row in rows]),
                    _sum_known(rates) / len(rates),
                )
            )
    return lines


def total_cost(lines: list[CostLine]) -> CostLine:
    """Sums of the seconds; the rate is not summed."""
    return CostLine(
        "all arms",
        _sum_known([line.compile_seconds for line in lines]),
        _sum_known([line.run_seconds for line in lines]),
        math.nan,
    )


def troubles(sweep: Sweep) -> list[Trouble]:
    """Cells that do not count, grouped by arm and reason, in the order of the plan."""
    groups: dict[tuple[str, str, str], list[int]] = {}
    for row in sweep.rows:
        if row.status != "done":
            groups.setdefault((row.arm, row.status, row.reason), []).append(row.seed)
    return [
        Trouble(arm, status, tuple(seeds), reason)
        for (arm, status, reason), seeds in groups.items()
    ]


def shared_provenance(sweep: Sweep) -> list[tuple[str, str]]:
    """Flat (key, value) pairs; a value that differs between arms is listed per arm.

    The moment when each arm started is left out: the plan's date says when.
    """
    flat = {arm: _flatten(data) for arm, data in sweep.provenance.items() if data}
    keys = dict.fromkeys(key for pairs in flat.values() for key in pairs)
    keys.pop("created", None)
    out = []
    for key in keys:
        by_value: dict[str, list[str]] = {}
        for arm, pairs in flat.items():
            by_value.setdefault(pairs.get(key, "not recorded"), []).append(arm)
        if len(by_value) == 1:
            out.append((key, next(iter(by_value))))
        else:
            text = "; ".join(f"{v} ({', '.join(arms)})" for v, arms in by_value.items())
            out.append((key, text))
    return out


def number(value: float, digits: int = 2) -> str:
    """A fixed number of digits; a dash for what is not known."""
    # Adding zero turns a rounded -0.00 into 0.00.
    return "–" if math.isnan(value) else f"{round(value, digits) + 0.0:.{digits}f}"


def interval(summary: Summary) -> str:
    """Mean and half width of the interval, as far as there are enough seeds."""
    if math.isnan(summary.half_width):
        return number(summary.mean)
    return f"{number(summary.mean)} ± {number(summary.half_width)}"


def p_value(p: float) -> str:
    """Two significant digits; very small ones as a bound."""
    if math.isnan(p):
        return "–"
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def count(value: float) -> str:
    """A whole number in groups of three digits; a dash for what is not known."""
    return "–" if math.isnan(value) else f"{value:,.0f}"


def seconds(value: float) -> str:
    """Seconds below two minutes, else minutes or hours."""
    if math.isnan(value):
        return "–"
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def _sum_known(values: list[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return sum(known) if known else math.nan


def _flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    out: dict[str, str] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            out |= _flatten(value, f"{prefix}{key}.")
        elif isinstance(value, list):
            out[prefix + key] = ", ".join(map(str, value))
        else:
            out[prefix + key] = str(value)
    return out
