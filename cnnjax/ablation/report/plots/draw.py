"""Draws the panels of a report, each on one matplotlib axes.

Text and grid use the colour of the rc parameters.
"""

import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from cnnjax.ablation.define.metrics import METRICS
from cnnjax.ablation.judge.collect import Sweep
from cnnjax.ablation.judge.stats import summarize
from cnnjax.ablation.judge.verdict import Verdict
from cnnjax.ablation.report.plots.scales import (
    LINEAR_BELOW,
    Places,
    place,
    show_labels,
    show_values,
)
from cnnjax.ablation.report.plots.series import (
    lines_of,
    show_legend,
    style,
    x_labels,
    x_title,
)
from cnnjax.ablation.report.plots.words import drawn
from cnnjax.ablation.report.verdict_colours import COLOURS

MOST_NARROW = 16  # letters of the labels on the vertical axis of a narrow panel
FAILED_ROOM = 0.22  # fraction of the axis for the marks of failed runs


def draw_metric(ax: Axes, sweep: Sweep, metric: str) -> None:
    """Draws a metric over the labels of an axis: mean, 95% interval, every seed."""
    places, lines = place(x_labels(sweep)), lines_of(sweep)
    values = sweep.values(metric)
    failed = Counter(row.arm for row in sweep.rows if row.status == "failed")
    for index, line in enumerate(lines):
        arms = {x: line.arms[x] for x in places.at if x in line.arms}
        at = [places.at[x] + _shift(places, index, len(lines)) for x in arms]
        by_arm = [list(values[arm].values()) for arm in arms.values()]
        _draw_seeds(ax, places, at, by_arm, index, len(lines))
        _draw_means(ax, places, at, by_arm, index, line.label, METRICS[metric].unit)
        for where, arm in zip(at, arms.values(), strict=True):
            if failed[arm]:
                num = sum(row.arm == arm for row in sweep.rows)
                _mark_failed(ax, places, where, f"{failed[arm]}/{num} failed", index)
    farthest = abs(_shift(places, 0, len(lines))) + 0.02 * places.span
    show_labels(ax, places, x_title(sweep), farthest)
    show_values(
        ax,
        "x" if places.vertical else "y",
        metric,
        _values_alike(sweep, metric),
        FAILED_ROOM if failed else 0.0,
    )
    show_legend(ax)


def metric_size(sweep: Sweep, usual: tuple[float, float]) -> tuple[float, float]:
    """Width and height of a panel of `draw_metric`: larger for a vertical axis."""
    places, num_lines = place(x_labels(sweep)), len(lines_of(sweep))
    if not places.vertical:
        return usual
    rows = sum(max(t.count("\n") + 1, 0.6 * num_lines) for t in places.texts.values())
    longest = max(len(line) for t in places.texts.values() for line in t.split("\n"))
    wide = 1.5 if longest > MOST_NARROW else 1.0
    return wide * usual[0], max(usual[1], 1.2 + 0.26 * rows)


def plotted_metrics(sweep: Sweep) -> list[str]:
    """Those of the first two metrics of the ablation that were measured."""
    metrics = sweep.ablation.metrics[:2]
    return [m for m in metrics if any(sweep.values(m).values())]


def draw_effects(ax: Axes, verdicts: Sequence[Verdict], title: str) -> None:
    """Draws the effect of each tested claim with 95% interval, and its margin.

    An interval without an end reaches beyond the edge of the picture.

    Args:
      ax: axes.
      verdicts: on metrics of one unit; those without a contrast are not drawn.
      title: of the axis of the effect.
    """
    tested = [(v, v.contrast) for v in reversed(verdicts) if v.contrast is not None]
    drawn_ends = [(c.low, c.effect, c.high, v.claim.margin) for v, c in tested]
    ends = [0.0, *(e for four in drawn_ends for e in four if math.isfinite(e))]
    beyond = 10 * (max(ends) - min(ends) + 1.0)
    for y, (verdict, c) in enumerate(tested):
        look = style(COLOURS[verdict.verdict].line)
        below, above = c.effect - c.low, c.high - c.effect
        # nan where all runs are equal and nothing says to how many digits.
        bar = np.nan_to_num([[below], [above]], posinf=beyond)
        ax.errorbar([c.effect], [y], xerr=bar, ms=6, capsize=3, **look | {"ls": ""})
        ink = ax.xaxis.label.get_color()
        ax.plot([verdict.claim.margin], [y], marker="|", ms=16, mew=2, color=ink)
    names = [drawn(verdict.claim.name) for verdict, _ in tested]
    ax.set_yticks(range(len(tested)), names)
    ax.set_ylim(-0.6, len(tested) - 0.4)
    ax.set_xlabel(drawn(title))
    ax.grid(axis="x")
    if has_endless(verdicts):
        side = 0.1 * (max(ends) - min(ends)) or 1.0
        ax.set_xlim(min(ends) - side, max(ends) + side)
    points = METRICS[verdicts[0].claim.metric].unit in ("%", "points")
    if points and max(map(abs, ends)) > 20 * LINEAR_BELOW:
        ticks = [sign * t for sign in (-1, 1) for t in (1, 3, 10, 30, 100)] + [0]
        ax.set_xscale("symlog", linthresh=LINEAR_BELOW, linscale=0.5)
        ax.xaxis.set_major_locator(FixedLocator(sorted(ticks)))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        ax.set_xlim(1.3 * min(ends) - 0.3, 1.3 * max(ends) + 0.3)


def has_endless(verdicts: Sequence[Verdict]) -> bool:
    """Whether an interval has no end, as with few seeds that results decided."""
    return any(v.contrast is not None and math.isinf(v.contrast.high) for v in verdicts)


def _shift(places: Places, index: int, num_lines: int) -> float:
    """Offsets the lines from each other, so that none hides another."""
    if places.kind == "names":
        step = -0.7 / num_lines if places.vertical else 0.7 / num_lines
    else:
        step = min(0.045 * places.span, 0.5 * places.gap / num_lines)
    return (index - (num_lines - 1) / 2) * step


def _xy(places: Places, at: Any, values: Any) -> tuple[Any, Any]:
    """(x, y) of values at some places, by the direction of the axis."""
    return (values, at) if places.vertical else (at, values)


def _draw_seeds(
    ax: Axes,
    places: Places,
    at: Sequence[float],
    by_arm: Sequence[Sequence[float]],
    index: int,
    num_lines: int,
) -> None:
    # Single seeds are offset from their mean, which would hide them.
    beside = 0.02 * places.span
    if places.kind == "names":
        beside = (-1 if places.vertical else 1) * 0.28 / num_lines
    look = style(index) | {"ls": "", "ms": 4, "mew": 0, "alpha": 0.5}
    for where, seeds in zip(at, by_arm, strict=True):
        ax.plot(*_xy(places, [where + beside] * len(seeds), seeds), **look)


def _draw_means(
    ax: Axes,
    places: Places,
    at: Sequence[float],
    by_arm: Sequence[Sequence[float]],
    index: int,
    label: str,
    unit: str,
) -> None:
    summaries = [summarize(seeds) for seeds in by_arm]
    means = np.array([s.mean for s in summaries])
    low = np.array([s.low for s in summaries])
    high = np.array([s.high for s in summaries])
    if unit == "%":  # intervals of rates are clipped to [0, 100]
        low, high = np.maximum(low, 0), np.minimum(high, 100)
    bars = np.nan_to_num(np.array([means - low, high - means]))
    # No line joins names on a vertical axis: nothing lies between them.
    look = style(index) | ({"ls": ""} if places.vertical else {})
    look |= {"xerr" if places.vertical else "yerr": bars, "label": drawn(label) or None}
    ax.errorbar(*_xy(places, at, means), ms=7, capsize=4, **look)


def _mark_failed(ax: Axes, places: Places, at: float, text: str, index: int) -> None:
    """Draws a cross at the end of the axis of values, with the number of failures."""
    color = style(index)["color"]
    across = ax.get_yaxis_transform() if places.vertical else ax.get_xaxis_transform()
    look = {"color": color, "marker": "x", "ms": 7, "mew": 2, "ls": ""}
    ax.plot(*_xy(places, [at], [0.97]), transform=across, clip_on=False, **look)
    words: dict[str, Any] = {"ha": "center", "va": "top", "rotation": 90}
    if places.vertical:
        words = {"ha": "right", "va": "center"}
    x, y = _xy(places, at, 0.94)
    ax.text(x, y, drawn(text), transform=across, color=color, fontsize=8, **words)


def _values_alike(sweep: Sweep, metric: str) -> list[float]:
    """Values of all plotted metrics of this unit, so that panels share a scale.

    The upper ends of intervals over at least three runs are included; an interval over
    two runs may be very wide.
    """
    unit = METRICS[metric].unit
    alike = [m for m in plotted_metrics(sweep) if unit and METRICS[m].unit == unit]
    tables = [sweep.values(m) for m in alike or [metric]]
    arms = [list(seeds.values()) for table in tables for seeds in table.values()]
    ends = [summarize(seeds).high for seeds in arms if len(seeds) > 2]
    if unit == "%":
        ends = [min(end, 100.0) for end in ends]
    return [value for seeds in arms for value in seeds] + ends
