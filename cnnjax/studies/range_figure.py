"""The figure of a learning-rate range test."""

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from cnnjax.ablation.report.plots.figures import Group, Panel, save_groups
from cnnjax.ablation.report.plots.scales import log_locator, plain_ticks
from cnnjax.ablation.report.plots.series import show_legend
from cnnjax.studies.range_test import RULE, Curve, Suggestion

CAPTION = (
    "Smoothed loss of training batches while the learning rate rises: the mean over "
    "seeds, the band from the least to the largest, and the single losses in grey."
)


def save_figure(
    curve: Curve, suggestion: Suggestion, title: str, folder: Path
) -> list[Path]:
    """Writes `range_test.png` and `.svg`; returns their paths."""

    def draw(ax: Axes) -> None:
        _draw(ax, curve, suggestion)

    panel = Panel(title, draw, width=7.0, height=4.2)
    group = Group("range_test", "Learning-rate range test", CAPTION, [panel], 1)
    return save_groups([group], folder)[1]


def _draw(ax: Axes, curve: Curve, suggestion: Suggestion) -> None:
    rates, smoothed = curve.rates, curve.smoothed
    for of_seed in curve.losses:
        ax.plot(curve.rates, of_seed, color="0.6", alpha=0.3, linewidth=0.6)
    known = np.isfinite(smoothed).all(axis=0)
    low, high = smoothed.min(axis=0)[known], smoothed.max(axis=0)[known]
    if len(smoothed) > 1:
        ax.fill_between(rates[known], low, high, color="C0", alpha=0.25)
    ax.plot(rates[known], smoothed.mean(axis=0)[known], color="C0", label="mean")
    if suggestion.rate is not None:
        near = f"suggested: {suggestion.rate:.2g}"
        ax.axvline(suggestion.rate, color="C2", label=near)
        far = f"lowest loss: {suggestion.lowest:.2g}"
        ax.axvline(suggestion.lowest, color="C3", linestyle="--", label=far)
    ax.set_xscale("log")
    plain_ticks(ax, "x", log_locator(curve.rates[0], curve.rates[-1]))
    bottom, top = float(low.min(initial=np.inf)), float(high.max(initial=0.0))
    if known.any():
        ax.set_ylim(max(0.0, bottom - 0.1 * (top - bottom)), 1.1 * top)
    ax.set(xlabel="learning rate", ylabel="loss of a training batch")
    show_legend(ax)
    ax.grid(axis="y")


def words(suggestion: Suggestion) -> str:
    """The suggestion and its rule, in a sentence."""
    if suggestion.rate is None:
        return f"no rate is suggested: {suggestion.note}"
    note = f"; {suggestion.note}" if suggestion.note else ""
    return f"suggested learning rate: {suggestion.rate:.2g} ({RULE}){note}"
