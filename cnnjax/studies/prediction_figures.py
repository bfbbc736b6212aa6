"""Figures of predictions: confusion matrix and reliability curve."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from cnnjax.ablation.report.plots.figures import Group, Panel, save_groups
from cnnjax.ablation.report.plots.series import show_legend
from cnnjax.ablation.report.plots.words import drawn
from cnnjax.studies.scores import Reliability

MOST_NAMED = 30  # classes with a name beside the matrix
MOST_WRITTEN = 12  # classes with numbers in it


def save_figures(
    counts: np.ndarray,
    class_names: Sequence[str],
    curves: dict[str, Reliability],
    folder: Path,
) -> list[Path]:
    """Writes `confusion` and `reliability` as PNG and SVG; returns their paths.

    Args:
      counts: of `confusion`.
      class_names: of its rows.
      curves: name -> curve.
      folder: that exists.
    """
    side = 4.5 if len(counts) <= MOST_WRITTEN else 7.5
    matrix = Panel(
        "Guesses, % of each class",
        lambda ax: _draw_matrix(ax, counts, class_names),
        width=side + 1.0,
        height=side,
    )
    curve = Panel(
        "Share right by confidence (area: images)",
        lambda ax: _draw_curves(ax, curves),
        width=5.0,
        height=4.5,
    )
    groups = [
        Group("confusion", "Confusion of classes", "", [matrix], 1),
        Group("reliability", "Reliability", "", [curve], 1),
    ]
    return save_groups(groups, folder)[1]


def _draw_matrix(ax: Axes, counts: np.ndarray, class_names: Sequence[str]) -> None:
    of_class = np.maximum(counts.sum(1, keepdims=True), 1)
    percent = 100 * counts / of_class
    # Mistakes are rare: on a linear scale they could not be seen.
    ax.imshow(np.sqrt(percent), cmap="Blues", vmin=0, vmax=10, aspect="equal")
    if len(counts) <= MOST_NAMED:
        names = [drawn(name) for name in class_names]
        ax.set_xticks(range(len(counts)), names, rotation=60, ha="right")
        ax.set_yticks(range(len(counts)), names)
    if len(counts) <= MOST_WRITTEN:
        for i, j in np.ndindex(*counts.shape):
            if counts[i, j]:
                shade = "white" if percent[i, j] > 40 else "black"
                text = f"{percent[i, j]:.3g}"
                ax.text(j, i, text, ha="center", va="center", color=shade, fontsize=8)
    ax.set(xlabel="guess", ylabel="class")
    ax.spines[:].set_visible(False)


def _draw_curves(ax: Axes, curves: dict[str, Reliability]) -> None:
    ax.plot([0, 1], [0, 1], color="0.6", linestyle=":", label="as sure as right")
    for name, curve in curves.items():
        full = curve.counts > 0
        at = curve.confidence[full], curve.accuracy[full]
        (line,) = ax.plot(*at, label=drawn(name), linewidth=1.2)
        # The area of a point is its share of the images.
        share = curve.counts[full] / curve.counts.sum()
        ax.scatter(*at, s=8 + 300 * share, color=line.get_color(), alpha=0.6)
    ax.set(xlim=(0, 1.01), ylim=(0, 1.02), xlabel="confidence", ylabel="share right")
    ax.grid(alpha=0.2)
    show_legend(ax)
