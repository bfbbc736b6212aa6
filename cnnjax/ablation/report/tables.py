"""Rows of the tables of a report, and the format of their numbers."""

import dataclasses
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from cnnjax.ablation.define.metrics import METRICS
from cnnjax.ablation.define.papers import PublishedNumber
from cnnjax.ablation.judge.collect import Row, Sweep
from cnnjax.ablation.judge.published import commits_of
from cnnjax.ablation.judge.stats import Summary, summarize

RATES = ("%", "points")  # units of rates and of their differences
# Metrics that the tables of every ablation show, if they were measured.
ALWAYS = ("best_test_error", "generalization_gap")
MOST_DECIMALS = 5
MOST_COLUMNS = 5  # metrics in a table of arms


def starts(plan: Mapping[str, Any]) -> list[str]:
    """What arms start from that are not drawn: a sentence for each origin.

    Args:
      plan: the content of `plan.json`.
    """
    found: dict[str, list[str]] = {}
    for arm in plan["arms"]:
        overrides = arm.get("overrides")
        given = overrides if isinstance(overrides, Mapping) else {}
        origin = arm.get("starts_from") or given.get("start.weights")
        if origin:
            found.setdefault(str(origin), []).append(arm["name"])
    return [
        f"from the weights of {o}: {', '.join(names)}" for o, names in found.items()
    ]


@dataclasses.dataclass(frozen=True)
class ArmLine:
    """One arm, averaged over its seeds.

    Attributes:
      arm: name.
      num_done: runs that count.
      num_planned: runs of the plan.
      summaries: metric -> mean and interval.
      published: metric -> the published number, if there is one.
      num_params: parameters of the net.
      multiply_adds: of one image.
    """

    arm: str
    num_done: int
    num_planned: int
    summaries: Mapping[str, Summary]
    published: Mapping[str, PublishedNumber]
    num_params: int
    multiply_adds: int


@dataclasses.dataclass(frozen=True)
class CostLine:
    """Time of one arm, summed over its seeds; nan if nothing is recorded."""

    arm: str
    compile_seconds: float
    run_seconds: float
    images_per_second: float


@dataclasses.dataclass(frozen=True)
class Trouble:
    """Runs of one arm that do not count for the same reason."""

    arm: str
    status: str
    runs: str
    reason: str


def arm_lines(sweep: Sweep) -> list[ArmLine]:
    """One line per planned arm, with the metrics of the ablation."""
    metrics = measured_metrics(sweep)
    values = {metric: sweep.values(metric) for metric in metrics}
    published = {(row.arm, row.metric): row for row in sweep.ablation.published_numbers}
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
    """Metrics of the tables that at least one run has; all if no run is done.

    Those of the ablation come first, then `ALWAYS`.
    """
    metrics = list(dict.fromkeys((*sweep.ablation.metrics, *ALWAYS)))
    return [m for m in metrics if any(sweep.values(m).values())] or metrics


def parts_of(metrics: Sequence[str], published: Sequence[str]) -> list[Sequence[str]]:
    """The metrics of each table of arms: so many as a page or a sheet is wide.

    Args:
      metrics: of all tables.
      published: those with published numbers, which are columns of the first table.
    """
    first = max(1, MOST_COLUMNS - len(published))
    rest = metrics[first:]
    count = max(1, -(-len(rest) // MOST_COLUMNS))
    size = max(1, -(-len(rest) // count))
    return [metrics[:first], *(rest[i : i + size] for i in range(0, len(rest), size))]


def published_metrics(sweep: Sweep) -> list[str]:
    """Metrics with a published number for a planned arm."""
    arms = set(sweep.arm_names)
    known = {row.metric for row in sweep.ablation.published_numbers if row.arm in arms}
    return [metric for metric in METRICS if metric in known]


def cost_lines(sweep: Sweep) -> list[CostLine]:
    """Cost of every arm that has a result, including failed runs."""
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
    """Runs that do not count, grouped by arm and reason, in the order of the plan."""
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in sweep.rows:
        if row.status != "done":
            groups.setdefault((row.arm, row.status, row.reason), []).append(row)
    return [
        Trouble(arm, status, _which(rows), reason)
        for (arm, status, reason), rows in groups.items()
    ]


def _which(rows: Sequence[Row]) -> str:
    """'seed 3', 'seeds 0, 2' or 'fold 0 seed 1, fold 1 seed 1'."""
    if any(row.fold is not None for row in rows):
        return ", ".join(row.run for row in rows)
    seeds = ", ".join(str(row.seed) for row in rows)
    return f"seed{'s' * (len(rows) > 1)} {seeds}"


def guess_words(sweep: Sweep) -> str:
    """Explains how runs that diverged count; '' if they do not."""
    guess, count = sweep.ablation.diverged_error, sum(r.diverged for r in sweep.rows)
    if guess is None or not count:
        return ""
    return (
        f"{count} of them diverged: their errors count as {guess:g}% in averages and "
        "claims."
    )


def runs_per_arm(sweep: Sweep) -> str:
    """The number of runs per arm, in words."""
    counts = Counter(row.arm for row in sweep.rows).values()
    folds = {row.fold for row in sweep.rows} - {None}
    low, high = min(counts), max(counts)
    many = f"{low}" if low == high else f"{low} to {high}"
    of = f", {len(folds)} folds" if folds else ""
    return f"{many} run{'s' * (high > 1)} per arm{of}"


def shared_provenance(sweep: Sweep) -> list[tuple[str, str]]:
    """Flat (key, value) pairs; a value that differs between cells is listed per cell.

    The time when each cell started is omitted: the plan has a date.
    """
    of_arms = {arm: flat(data) for arm, data in sweep.provenance.items() if data}
    keys = dict.fromkeys(key for pairs in of_arms.values() for key in pairs)
    for shown_elsewhere in ("created", "origin"):
        keys.pop(shown_elsewhere, None)
    out = []
    for key in keys:
        by_value: dict[str, list[str]] = {}
        for arm, pairs in of_arms.items():
            by_value.setdefault(pairs.get(key, "not recorded"), []).append(arm)
        if len(by_value) == 1:
            out.append((key, next(iter(by_value))))
        else:
            text = "; ".join(f"{v} ({', '.join(arms)})" for v, arms in by_value.items())
            out.append((key, text))
    return out


def taken_runs(sweep: Sweep) -> list[tuple[str, str]]:
    """A (key, value) pair for each published report from which runs were taken."""
    cells = {
        cell["name"]: len(cell["seeds"])
        for arm in sweep.plan["arms"]
        for cell in arm["cells"]
    }
    counts: Counter[str] = Counter()
    commits: dict[str, list[str]] = {}
    for name, record in sweep.provenance.items():
        if origin := record.get("origin"):
            counts[origin] += cells[name]
            commits.setdefault(origin, []).extend(commits_of(record))
    return [
        (
            f"taken from {origin}",
            f"{num_runs} of {len(sweep.rows)} runs, trained at commit "
            f"{', '.join(dict.fromkeys(commits[origin]))}",
        )
        for origin, num_runs in counts.items()
    ]


def number(value: float, digits: int = 2) -> str:
    """A fixed number of digits; a dash if unknown."""
    if not math.isfinite(value):
        return "–" if math.isnan(value) else f"{'-' * (value < 0)}∞"
    # Adding zero turns a rounded -0.00 into 0.00.
    return f"{round(value, digits) + 0.0:.{digits}f}"


def value(number_: float, metric: str) -> str:
    """A value or difference of a metric: two decimals for rates, else three digits."""
    if METRICS[metric].unit in RATES or not math.isfinite(number_) or not number_:
        return number(number_)
    return _with_digits(number_, number_, 3)


def interval(summary: Summary, metric: str) -> str:
    """Mean and half width of the interval; only the mean of a single run."""
    half = summary.half_width
    if math.isnan(half):
        return value(summary.mean, metric)
    if METRICS[metric].unit in RATES or not half:
        return f"{value(summary.mean, metric)} ± {value(half, metric)}"
    return f"{_with_digits(summary.mean, half, 2)} ± {_with_digits(half, half, 2)}"


def known(value: float) -> str:
    """The key by which a table is sorted; empty if unknown."""
    return "" if math.isnan(value) else repr(value)


def p_value(p: float) -> str:
    """Two significant digits; very small values as a bound."""
    if math.isnan(p):
        return "–"
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


def count(value: float) -> str:
    """A whole number in groups of three digits; a dash if unknown."""
    return "–" if math.isnan(value) else f"{value:,.0f}"


def seconds(value: float) -> str:
    """A duration in seconds below two minutes, else in minutes or hours."""
    if math.isnan(value):
        return "–"
    if value < 120:
        return f"{value:.1f} s"
    return f"{value / 60:.1f} min" if value < 7200 else f"{value / 3600:.1f} h"


def _with_digits(value: float, size: float, digits: int) -> str:
    """Formats a number with the decimals that show `digits` digits of a size."""
    decimals = digits - 1 - math.floor(math.log10(abs(size)))
    if decimals > MOST_DECIMALS:
        return f"{value:.{digits}g}"
    return f"{value:,.{max(decimals, 0)}f}"


def _sum_known(values: list[float]) -> float:
    known = [v for v in values if not math.isnan(v)]
    return sum(known) if known else math.nan


def flat(data: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Flattens nested records: dotted key -> value as text."""
    out: dict[str, str] = {}
    for key, value in data.items():
        if isinstance(value, Mapping):
            out |= flat(value, f"{prefix}{key}.")
        elif key == "commits":
            several = len({entry.get("processor") for entry in value}) > 1
            out[prefix + key] = ", ".join(_start(entry, several) for entry in value)
        elif isinstance(value, list):
            out[prefix + key] = ", ".join(map(_item, value))
        else:
            out[prefix + key] = str(value)
    return out


def _start(entry: Mapping[str, Any], with_processor: bool) -> str:
    """One of `commits`: which code trained from where on, and on what."""
    text = f"{entry['commit']} from step {entry['step']}"
    return f"{text} on {entry.get('processor')}" if with_processor else text


def _item(value: Any) -> str:
    """One of a list in words: 'commit abc, step 0' of an object."""
    if not isinstance(value, Mapping):
        return str(value)
    return " ".join(f"{key} {inner}" for key, inner in value.items())
