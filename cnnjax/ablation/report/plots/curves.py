"""Draws training curves, and decides which arms share a panel."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from cnnjax.ablation.judge.collect import Curve, Sweep
from cnnjax.ablation.report.plots.scales import show_values
from cnnjax.ablation.report.plots.series import (
    lines_of,
    show_legend,
    style,
    x_labels,
    x_name,
)
from cnnjax.ablation.report.plots.words import drawn

MAX_POINTS = 200  # per curve


def curve_sets(sweep: Sweep, most: int) -> list[tuple[str, list[str]]]:
    """Titles and arms of the panels of curves: lines, at most `most` arms each."""
    order = x_labels(sweep)
    sets = []
    for line in lines_of(sweep):
        arms = [line.arms[x] for x in order if x in line.arms]
        parts = _parts(arms, most)
        for number, part in enumerate(parts, start=1):
            which = f"{number} of {len(parts)}" if len(parts) > 1 else ""
            sets.append((", ".join(filter(None, (line.label, which))), part))
    return sets


def draw_curves(ax: Axes, sweep: Sweep, arms: Sequence[str], split: str) -> None:
    """Draws the error of some arms over epochs: mean and range over seeds.

    All panels of a report have the same axes, so that they can be compared.

    Args:
      ax: axes.
      sweep: the runs.
      arms: names, in the order of the legend.
      split: as in `Curve`.
    """
    all_curves = curves_of(sweep, split)
    draw_lines(
        ax,
        {
            short_label(sweep, arm): [c for c in all_curves if c.arm == arm]
            for arm in arms
        },
        x_name(sweep),
    )
    drawn_curves = [c for s in splits_drawn(sweep) for c in curves_of(sweep, s)]
    metric = "validation_error" if split == "validation" else "train_error"
    show_values(ax, "y", metric, [e for c in drawn_curves for e in c.errors])
    last = max(c.epochs[-1] for c in drawn_curves)
    ax.set_xlim(-0.03 * last, 1.03 * last)


def splits_drawn(sweep: Sweep) -> dict[str, str]:
    """Split -> what its error is called; on batches where no whole set was evaluated.

    See `Curve` for the splits.
    """
    train = "train" if curves_of(sweep, "train") else "running"
    return {train: "training error", "validation": "validation error"}


def draw_lines(ax: Axes, lines: Mapping[str, Sequence[Curve]], title: str = "") -> None:
    """Draws mean and range over seeds against epochs, one line per label.

    Args:
      ax: axes.
      lines: label -> a curve per seed.
      title: of the legend.
    """
    for index, (label, curves) in enumerate(lines.items()):
        if not curves:
            continue
        epochs, table = _aligned(curves)
        look = style(index) | {"marker": ""}
        span = {"color": look["color"], "alpha": 0.2, "lw": 0}
        ax.fill_between(epochs, table.min(0), table.max(0), **span)
        ax.plot(epochs, table.mean(0), label=drawn(label), **look)
    ax.set_xlabel("epochs (passes over the training set)")
    ax.xaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    show_legend(ax, title)


def curves_of(sweep: Sweep, split: str) -> list[Curve]:
    """Curves of a split with more than two points; finished seeds where there are."""
    curves = [c for c in sweep.curves if c.split == split and len(c.epochs) > 2]
    finished = {(r.arm, r.seed) for r in sweep.rows if r.status == "done"}
    done = [c for c in curves if (c.arm, c.seed) in finished]
    complete = {c.arm for c in done}
    # An arm without a finished seed shows its unfinished ones.
    return done + [c for c in curves if c.arm not in complete]


def short_label(sweep: Sweep, arm: str) -> str:
    """The label of an arm within its line."""
    return next(
        label
        for line in lines_of(sweep)
        for label, name in line.arms.items()
        if name == arm
    )


def _parts(arms: list[str], most: int) -> list[list[str]]:
    count = -(-len(arms) // most)
    size = -(-len(arms) // count)
    return [arms[start : start + size] for start in range(0, len(arms), size)]


def _aligned(curves: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray]:
    """Positions that all curves share, subsampled, and errors [curve, position]."""
    lookup = [dict(zip(c.epochs, c.errors, strict=True)) for c in curves]
    shared = sorted(set.intersection(*(set(points) for points in lookup)))
    if not shared:
        shared, lookup = sorted(lookup[0]), lookup[:1]
    kept = sorted(set(np.linspace(0, len(shared) - 1, MAX_POINTS).round().astype(int)))
    epochs = [shared[i] for i in kept]
    return np.array(epochs), np.array(
        [[points[e] for e in epochs] for points in lookup]
    )
