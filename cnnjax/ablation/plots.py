"""Draws the panels of a report, each on one matplotlib axes.

Colours are those of Okabe and Ito, told apart by the colour-blind; every series also
has its own marker and line style. Text and grid take the ink of the rc parameters.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from cnnjax.ablation.claims import CONTRADICTED, SUPPORTED, Verdict
from cnnjax.ablation.collect import Curve, Sweep
from cnnjax.ablation.metrics import METRICS
from cnnjax.ablation.stats import summarize

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C8C")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", "--", "-.", (0, (8, 2)), (0, (5, 1, 1, 1, 1, 1)), ":", (0, (1, 3)))
ERROR_TICKS = (0, 0.5, 1, 2, 5, 10, 20, 50, 100)
# Below one percent the error axis is linear, so that zero has a place; above it is
# logarithmic, so that 2 against 5 is as visible as 20 against 50.
LINEAR_BELOW = 1.0
MAX_POINTS = 200  # of a curve


def series_labels(sweep: Sweep) -> list[str]:
    """Labels of the series axis that the plan has, in its order; [''] without one."""
    axis = sweep.ablation.series_axis
    if axis is None:
        return [""]
    return list(dict.fromkeys(arm["axes"][axis] for arm in sweep.plan["arms"]))


def x_labels(sweep: Sweep) -> list[str]:
    """Labels of the horizontal axis that the plan has, in its order."""
    axis = sweep.ablation.x_axis
    return list(dict.fromkeys(arm["axes"][axis] for arm in sweep.plan["arms"]))


def draw_metric(ax: Axes, sweep: Sweep, metric: str) -> None:
    """A metric against the horizontal axis: mean, 95% interval and every seed."""
    labels, values = x_labels(sweep), sweep.values(metric)
    positions = _positions(labels)
    span = max(positions.values()) - min(positions.values()) or 1.0
    series = series_labels(sweep)
    for index, label in enumerate(series):
        shift = (index - (len(series) - 1) / 2) * 0.045 * span
        arms = _arms_of(sweep, label)
        xs = [positions[x] + shift for x in labels if x in arms]
        by_arm = [list(values[arms[x]].values()) for x in labels if x in arms]
        # Single seeds stand beside their mean, which would hide them.
        for x, seeds in zip(xs, by_arm, strict=True):
            _draw_seeds(ax, [x + 0.02 * span] * len(seeds), seeds, index)
        _draw_means(ax, xs, by_arm, index, label, METRICS[metric].unit)
    ax.set_xticks(list(positions.values()), [_tick(sweep, x) for x in labels])
    ax.set_xlim(
        min(positions.values()) - 0.08 * span, max(positions.values()) + 0.08 * span
    )
    ax.set_xlabel(_x_title(sweep))
    _finish(ax, metric, _values_alike(sweep, metric))


def plotted_metrics(sweep: Sweep) -> list[str]:
    """The first two metrics of the ablation, as far as they were measured."""
    metrics = sweep.ablation.metrics[:2]
    return [m for m in metrics if any(sweep.values(m).values())]


def draw_curves(ax: Axes, sweep: Sweep, label: str, split: str) -> None:
    """Error over epochs of the arms of one series: mean and range over seeds."""
    arms = _arms_of(sweep, label)
    for index, x in enumerate(x_labels(sweep)):
        curves = [c for c in curves_of(sweep, split) if c.arm == arms.get(x)]
        if not curves:
            continue
        epochs, table = _aligned(curves)
        color = COLORS[index % len(COLORS)]
        ax.fill_between(
            epochs, table.min(0), table.max(0), color=color, alpha=0.2, lw=0
        )
        style = LINES[index % len(LINES)]
        ax.plot(epochs, table.mean(0), color=color, ls=style, label=x)
    ax.set_xlabel("epochs (passes over the training set)")
    ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    metric = "validation_error" if split == "validation" else "train_error"
    _finish(ax, metric, [e for c in curves_of(sweep, split) for e in c.errors])


def curves_of(sweep: Sweep, split: str) -> list[Curve]:
    """Curves of a split with something to draw, of the seeds that have the most."""
    curves = [c for c in sweep.curves if c.split == split and len(c.epochs) > 2]
    finished = {(r.arm, r.seed) for r in sweep.rows if r.status == "done"}
    done = [c for c in curves if (c.arm, c.seed) in finished]
    complete = {c.arm for c in done}
    # An arm without a finished seed shows what it has.
    return done + [c for c in curves if c.arm not in complete]


def draw_effects(ax: Axes, verdicts: Sequence[Verdict]) -> None:
    """Effect of each tested claim with 95% interval, and the margin it must pass."""
    tested = [v for v in verdicts if v.contrast is not None]
    ends = [0.0]
    for y, verdict in enumerate(reversed(tested)):
        c = verdict.contrast
        index = {SUPPORTED: 0, CONTRADICTED: 1}.get(verdict.verdict, 6)
        bar = [[c.effect - c.low], [c.high - c.effect]]
        style = {"color": COLORS[index], "marker": MARKERS[index], "capsize": 3}
        ax.errorbar([c.effect], [y], xerr=bar, ls="", ms=6, **style)
        ax.plot([verdict.claim.margin], [y], marker="|", ms=16, mew=2, color=_ink(ax))
        ends += [c.low, c.high, verdict.claim.margin]
    ax.set_yticks(range(len(tested)), [v.claim.name for v in reversed(tested)])
    ax.set_ylim(-0.6, len(tested) - 0.4)
    ax.set_xlabel("effect (percentage points)")
    ax.grid(axis="x")
    if max(map(abs, ends)) > 20 * LINEAR_BELOW:
        ticks = [sign * t for sign in (-1, 1) for t in (1, 3, 10, 30, 100)] + [0]
        ax.set_xscale("symlog", linthresh=LINEAR_BELOW, linscale=0.5)
        ax.xaxis.set_major_locator(FixedLocator(sorted(ticks)))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        ax.set_xlim(1.3 * min(ends) - 0.3, 1.3 * max(ends) + 0.3)


def _draw_seeds(
    ax: Axes, xs: Sequence[float], seeds: Sequence[float], index: int
) -> None:
    color, marker = COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]
    ax.plot(xs, seeds, ls="", marker=marker, ms=4, mew=0, color=color, alpha=0.5)


def _draw_means(
    ax: Axes,
    xs: Sequence[float],
    by_arm: Sequence[Sequence[float]],
    index: int,
    label: str,
    unit: str,
) -> None:
    color, marker = COLORS[index % len(COLORS)], MARKERS[index % len(MARKERS)]
    summaries = [summarize(seeds) for seeds in by_arm]
    means = np.array([s.mean for s in summaries])
    low = np.array([s.low for s in summaries])
    high = np.array([s.high for s in summaries])
    if unit == "%":  # an interval of a rate does not leave the scale
        low, high = np.maximum(low, 0), np.minimum(high, 100)
    bars = np.nan_to_num(np.array([means - low, high - means]))
    ax.errorbar(
        xs,
        means,
        yerr=bars,
        color=color,
        marker=marker,
        ms=7,
        ls=LINES[index % len(LINES)],
        capsize=4,
        label=label or None,
    )


def _tick(sweep: Sweep, label: str) -> str:
    """The label, and the number of failed runs there: they have no point to show."""
    axis = sweep.ablation.x_axis
    rows = [row for row in sweep.rows if row.axes[axis] == label]
    num_failed = sum(row.status == "failed" for row in rows)
    return f"{label}\n({num_failed} failed)" if num_failed else label


def _finish(ax: Axes, metric: str, values: Sequence[float]) -> None:
    about = METRICS[metric]
    unit = f" ({about.unit})" if about.unit else ""
    ax.set_ylabel(about.title + unit)
    ax.grid(axis="y")
    top = max(values, default=1.0)
    if about.unit == "%" and top > 10 * LINEAR_BELOW:
        ax.set_yscale("symlog", linthresh=LINEAR_BELOW, linscale=0.6)
        ax.yaxis.set_major_locator(FixedLocator(ERROR_TICKS))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        ax.set_ylim(-0.12 if min(values) < LINEAR_BELOW else 0.8 * min(values), 130)
    elif about.unit == "%":
        ax.set_ylim(-0.03 * max(top, 0.1), 1.15 * max(top, 0.1))
    if ax.get_legend_handles_labels()[1]:
        place = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.0)}
        ax.legend(ncols=7, frameon=False, columnspacing=1.2, handlelength=2.3, **place)


def _values_alike(sweep: Sweep, metric: str) -> list[float]:
    """Values of all plotted metrics of this unit, so that panels share a scale."""
    unit = METRICS[metric].unit
    alike = [m for m in plotted_metrics(sweep) if unit and METRICS[m].unit == unit]
    tables = [sweep.values(m) for m in alike or [metric]]
    return [v for table in tables for seeds in table.values() for v in seeds.values()]


def _positions(labels: Sequence[str]) -> dict[str, float]:
    """Where labels stand: by value if all are numbers, else side by side."""
    try:
        numbers = [float(label) for label in labels]
    except ValueError:
        numbers = [float(i) for i in range(len(labels))]
    if not all(math.isfinite(n) for n in numbers):
        numbers = [float(i) for i in range(len(labels))]
    return dict(zip(labels, numbers, strict=True))


def _arms_of(sweep: Sweep, label: str) -> Mapping[str, str]:
    """Horizontal label -> arm, for one series."""
    ablation = sweep.ablation
    return {
        arm["axes"][ablation.x_axis]: arm["name"]
        for arm in sweep.plan["arms"]
        if ablation.series_axis is None or arm["axes"][ablation.series_axis] == label
    }


def _x_title(sweep: Sweep) -> str:
    axis = next(a for a in sweep.ablation.axes if a.name == sweep.ablation.x_axis)
    return axis.title or axis.name


def _aligned(curves: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray]:
    """Positions that all curves share, thinned, and the errors [curve, position]."""
    lookup = [dict(zip(c.epochs, c.errors, strict=True)) for c in curves]
    shared = sorted(set.intersection(*(set(points) for points in lookup)))
    if not shared:
        shared, lookup = sorted(lookup[0]), lookup[:1]
    kept = sorted(set(np.linspace(0, len(shared) - 1, MAX_POINTS).round().astype(int)))
    epochs = [shared[i] for i in kept]
    return np.array(epochs), np.array(
        [[points[e] for e in epochs] for points in lookup]
    )


def _ink(ax: Axes) -> str:
    return ax.xaxis.label.get_color()
