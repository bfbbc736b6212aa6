"""Draws the effect of each claim with its interval and its limit."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from cnnjax.ablation.define.metrics import METRICS
from cnnjax.ablation.judge.verdict import WORDS, Verdict
from cnnjax.ablation.report.plots.rows import Rows, rows_of
from cnnjax.ablation.report.plots.scales import LINEAR_BELOW, wrapped_title
from cnnjax.ablation.report.plots.series import MARKERS, style
from cnnjax.ablation.report.plots.words import drawn
from cnnjax.ablation.report.verdict_colours import COLOURS

ROW = 0.22  # inches
TO_THE_LEFT, TO_THE_RIGHT = 8, 9  # triangles of matplotlib that begin at their place
SHAPES = {
    **{"o": "circles", "s": "squares", "^": "triangles", "D": "diamonds"},
    **{"v": "triangles that point down", "P": "pluses", "X": "crosses"},
}


def effect_rows(verdicts: Sequence[Verdict]) -> Rows:
    """The rows of `draw_effects`."""
    return rows_of([v.claim.text for v in verdicts if v.shown is not None], ROW)


def draw_effects(ax: Axes, verdicts: Sequence[Verdict], title: str) -> None:
    """Draws the effect of each tested claim with 95% interval, and its limit.

    An interval without an end reaches beyond the edge of the picture.

    Args:
      ax: axes.
      verdicts: on metrics of one unit; those without an effect are not drawn.
      title: of the axis of the effect.
    """
    rows = effect_rows(verdicts)
    tested = [(v, v.shown) for v in verdicts if v.shown is not None]
    drawn_ends = [(s.low, s.value, s.high, s.limit) for _, s in tested]
    ends = [0.0, *(e for four in drawn_ends for e in four if math.isfinite(e))]
    beyond = 10 * (max(ends) - min(ends) + 1.0)
    ink = ax.xaxis.label.get_color()
    for y, (verdict, s) in zip(rows.at, tested, strict=True):
        look = style(COLOURS[verdict.verdict].line) | {"ls": ""}
        # nan where all runs are equal and nothing says to how many digits.
        ends_of_bar = [[s.value - s.low], [s.high - s.value]]
        bar = np.nan_to_num(ends_of_bar, posinf=beyond)
        side = TO_THE_LEFT if s.most else TO_THE_RIGHT
        for marker, size in (("|", 15), (side, 6)):
            ax.plot([s.limit], [y], marker=marker, ms=size, mew=1.8, color=ink)
        ax.errorbar([s.value], [y], xerr=bar, ms=6, capsize=3, **look)
    rows.show(ax)
    ax.set_xlabel(wrapped_title(drawn(title)))
    ax.grid(axis="x")
    points = METRICS[verdicts[0].claim.metric].unit in ("%", "points")
    _set_scale(ax, ends, points)


def _set_scale(ax: Axes, ends: Sequence[float], points: bool) -> None:
    low, high = min(ends), max(ends)
    if points and max(map(abs, ends)) > 20 * LINEAR_BELOW:
        sizes = (1, 3, 10, 30, 100)
        ticks = [-t for t in sizes if low < -t / 2] + [t for t in sizes if t / 2 < high]
        ax.set_xscale("symlog", linthresh=LINEAR_BELOW, linscale=0.5)
        ax.xaxis.set_major_locator(FixedLocator(sorted([*ticks, 0])))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
        ax.set_xlim(1.4 * low - 0.3, 1.4 * high + 0.3)
    else:
        side = 0.08 * (high - low) or 1.0
        ax.set_xlim(low - side, high + side)


def shapes_in_words(verdicts: Sequence[Verdict]) -> str:
    """'Circles: supported; squares: contradicted.', of the verdicts that there are."""
    there = {verdict.verdict for verdict in verdicts}
    pairs = (f"{_shape(word)}: {word}" for word in WORDS if word in there)
    words = "; ".join(pairs)
    return f"{words[:1].upper()}{words[1:]}."


def _shape(word: str) -> str:
    return SHAPES[MARKERS[COLOURS[word].line % len(MARKERS)]]


def has_endless(verdicts: Sequence[Verdict]) -> bool:
    """Whether an interval has no end, as with few seeds that results decided."""
    return any(
        v.shown is not None and math.isinf(v.shown.high - v.shown.low) for v in verdicts
    )
