"""Draws a metric over the labels of an axis, on one matplotlib axes.

Text and grid use the colour of the rc parameters.
"""

import dataclasses
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from cnnjax.ablation.define.metrics import FAILED, METRICS
from cnnjax.ablation.judge.collect import Sweep
from cnnjax.ablation.judge.stats import summarize
from cnnjax.ablation.report.plots.scales import (
    PANEL_SIZE,
    Places,
    place,
    show_labels,
    show_values,
)
from cnnjax.ablation.report.plots.series import (
    Line,
    legend_rows,
    legend_title,
    lines_of,
    show_legend,
    style,
    x_labels,
    x_title,
)
from cnnjax.ablation.report.plots.words import drawn

# Fraction of the axis of values for the marks of failed runs, which no value reaches.
FAILED_ROOM = 0.22
LEGEND_LINE = 0.22  # inches
MOST_ROWS = 8  # of a picture that answers a question; of more, those of the claim


@dataclasses.dataclass(frozen=True)
class Shown:
    """What a panel of a metric shows.

    Attributes:
      sweep: the runs.
      metric: key of `METRICS`.
      marked: arms with a ring around their mean.
      only: arms that are drawn; None for all.
    """

    sweep: Sweep
    metric: str
    marked: Collection[str] = ()
    only: Collection[str] | None = None

    @property
    def lines(self) -> list[Line]:
        """All lines, without the arms that are not drawn, so that styles stay."""
        lines = lines_of(self.sweep)
        if self.only is None:
            return lines
        return [
            Line(
                line.label,
                {x: arm for x, arm in line.arms.items() if arm in self.only},
            )
            for line in lines
        ]

    @property
    def places(self) -> Places:
        lines = self.lines
        shown = {x for line in lines for x in line.arms}
        labels = [x for x in x_labels(self.sweep) if x in shown]
        return place(labels, sum(bool(line.arms) for line in lines))

    @property
    def size(self) -> tuple[float, float]:
        """Width and height of the panel, in inches."""
        width, height = PANEL_SIZE
        labels = [line.label for line in self.lines if line.label and line.arms]
        legend = legend_rows(labels) + bool(labels)
        if self.places.rows is None:
            return width, height + LEGEND_LINE * max(legend - 2, 0)
        return width, self.places.rows.height + LEGEND_LINE * legend


def answering(sweep: Sweep, metric: str, arms: Collection[str]) -> Shown:
    """The panel of a claim on some arms: all arms, or these where rows are many."""
    shown = Shown(sweep, metric, marked=arms)
    rows = shown.places.rows
    if rows is not None and len(rows.labels) > MOST_ROWS:
        return dataclasses.replace(shown, only=arms)
    return shown


def draw_metric(ax: Axes, shown: Shown) -> None:
    """Draws a metric over the labels of an axis: mean, 95% interval, every seed."""
    sweep, metric = shown.sweep, shown.metric
    places = shown.places
    lines = [(i, line) for i, line in enumerate(shown.lines) if line.arms]
    values = sweep.values(metric)
    failed = failed_runs(sweep, metric)
    has_failed = False
    for order, (index, line) in enumerate(lines):
        arms = {x: line.arms[x] for x in places.at if x in line.arms}
        at = [places.at[x] + _shift(places, order, len(lines)) for x in arms]
        by_arm = [list(values[arm].values()) for arm in arms.values()]
        _draw_seeds(ax, places, at, by_arm, index, len(lines))
        _draw_means(ax, places, at, by_arm, index, line.label, METRICS[metric].unit)
        for where, arm, seeds in zip(at, arms.values(), by_arm, strict=True):
            if arm in shown.marked and seeds:
                _draw_ring(ax, places, where, float(np.mean(seeds)))
            if failed[arm]:
                num = sum(row.arm == arm for row in sweep.rows)
                _mark_failed(ax, places, where, f"{failed[arm]}/{num}", index)
                has_failed = True
    farthest = abs(_shift(places, 0, len(lines))) + 0.02 * places.span
    show_labels(ax, places, x_title(sweep), farthest)
    show_values(
        ax,
        "x" if places.vertical else "y",
        metric,
        _values_alike(sweep, metric),
        FAILED_ROOM if has_failed else 0.0,
    )
    if has_failed:
        _draw_strip(ax, places)
    show_legend(ax, legend_title(sweep))


def plotted_metrics(sweep: Sweep) -> list[str]:
    """Those of the first two metrics of the ablation that were measured."""
    metrics = sweep.ablation.metrics[:2]
    return [m for m in metrics if any(sweep.values(m).values())]


def failed_runs(sweep: Sweep, metric: str) -> Counter[str]:
    """Arm -> runs that are marked as failed; none where the metric counts them."""
    if metric == FAILED:
        return Counter()
    return Counter(row.arm for row in sweep.rows if row.status == "failed")


def _shift(places: Places, index: int, num_lines: int) -> float:
    """Offsets the lines from each other, so that none hides another."""
    if places.rows is not None:
        step = -0.8 * places.rows.content / num_lines
    elif places.kind == "names":
        step = 0.7 / num_lines
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
    if places.rows is not None:
        beside = -0.3 * places.rows.content / num_lines
    elif places.kind == "names":
        beside = min(0.28 / num_lines, 0.05 * len(places.at))
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


def _draw_ring(ax: Axes, places: Places, at: float, mean: float) -> None:
    look: dict[str, Any] = {"marker": "o", "ms": 15, "mfc": "none", "mew": 1.4}
    look["ls"] = ""
    ax.plot(*_xy(places, [at], [mean]), color=ax.xaxis.label.get_color(), **look)


def _draw_strip(ax: Axes, places: Places) -> None:
    """Sets the end of the axis that has the marks of failed runs apart."""
    start = (1 - FAILED_ROOM, 0.0) if places.vertical else (0.0, 1 - FAILED_ROOM)
    width, height = (FAILED_ROOM, 1) if places.vertical else (1, FAILED_ROOM)
    strip = Rectangle(start, width, height, transform=ax.transAxes, lw=0, zorder=0)
    strip.set(color=ax.xaxis.label.get_color(), alpha=0.07)
    ax.add_patch(strip)
    if not places.vertical:  # in place of a tick
        look: dict[str, Any] = {"ha": "right", "va": "center", "fontsize": 8}
        middle = 1 - FAILED_ROOM / 2
        ax.text(-0.02, middle, "failed", transform=ax.transAxes, **look)


def _mark_failed(ax: Axes, places: Places, at: float, text: str, index: int) -> None:
    """Draws a cross in the strip, with the number of failures: '4/5'."""
    color = style(index)["color"]
    across = ax.get_yaxis_transform() if places.vertical else ax.get_xaxis_transform()
    look = {"color": color, "marker": "x", "ms": 6, "mew": 1.8, "ls": ""}
    ax.plot(*_xy(places, [at], [0.96]), transform=across, **look)
    x, y = _xy(places, at, 0.91)
    words: dict[str, Any] = {"ha": "center", "va": "top"}
    if places.vertical:
        text, words = f"{text} failed", {"ha": "right", "va": "center"}
    ax.text(x, y, text, transform=across, fontsize=8, **words)


def _values_alike(sweep: Sweep, metric: str) -> list[float]:
    """Values of all plotted metrics of this unit, so that panels share a scale.

    The upper ends of intervals over at least three runs are included; an interval over
    two runs may be very wide.
    """
    unit = METRICS[metric].unit
    plotted = plotted_metrics(sweep)
    alike = [m for m in plotted if unit and METRICS[m].unit == unit]
    tables = [sweep.values(m) for m in (alike if metric in alike else [metric])]
    arms = [list(seeds.values()) for table in tables for seeds in table.values()]
    ends = [summarize(seeds).high for seeds in arms if len(seeds) > 2]
    if unit == "%":
        ends = [min(end, 100.0) for end in ends]
    return [value for seeds in arms for value in seeds] + ends
