"""Positions of labels on an axis of a plot, and the scale of the axis of a metric."""

import dataclasses
import itertools
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    Locator,
    LogLocator,
    NullLocator,
)

from cnnjax.ablation.define.checks import is_mathematics
from cnnjax.ablation.define.metrics import METRICS
from cnnjax.ablation.report.plots.rows import Rows, rows_of
from cnnjax.ablation.report.plots.words import drawn

Letter = Literal["x", "y"]

PANEL_SIZE = (4.8, 3.6)  # inches
AXIS_LENGTH = 3.9  # inches, approximate length of the horizontal axis of a panel
LETTER = 0.086  # inches
MOST_LINES = 3  # of a label under the axis
TITLE_LETTERS = {"x": 44, "y": 30}  # in a line of the title of an axis
ERROR_TICKS = (0, 0.5, 1, 2, 5, 10, 20, 50, 100)
# The error axis is linear below one percent, to include zero, and logarithmic above, so
# that 2 against 5 is as visible as 20 against 50.
LINEAR_BELOW = 1.0
# Numbers that span more than this factor are drawn on a logarithmic axis.
MOST_LINEAR = 10.0


@dataclasses.dataclass(frozen=True)
class Places:
    """Positions of the labels of an axis.

    Attributes:
      at: label -> position, in the unit of the axis.
      texts: label -> its text, perhaps wrapped.
      kind: 'linear' or 'log' for numbers, 'names' for equally spaced labels.
      rows: of the labels, where they are too long for the horizontal axis; else None.
    """

    at: Mapping[str, float]
    texts: Mapping[str, str]
    kind: str
    rows: Rows | None = None

    @property
    def vertical(self) -> bool:
        """Whether the labels are on the vertical axis."""
        return self.rows is not None

    @property
    def span(self) -> float:
        """Distance from the first to the last label."""
        return max(self.at.values()) - min(self.at.values()) or 1.0

    @property
    def gap(self) -> float:
        """The smallest distance between two neighbours."""
        ordered = sorted(self.at.values())
        gaps = [b - a for a, b in itertools.pairwise(ordered)]
        return min(gaps, default=self.span)


def place(labels: Sequence[str], num_lines: int = 1) -> Places:
    """Places numbers by value and all other labels equally spaced, in the given order.

    Positive numbers that span a factor of ten get a logarithmic scale. Decreasing
    numbers run from right to left, which keeps the given order. Labels that do not fit
    side by side get rows, with room for this number of lines.
    """
    same = {label: label for label in labels}
    for kind, numbers in _by_value(labels):
        if not _collide(labels, numbers):
            return Places(dict(zip(labels, numbers, strict=True)), same, kind)
    at = {label: float(i) for i, label in enumerate(labels)}
    texts = _wrapped(labels)
    if texts is None:
        rows = rows_of(labels, 0.12 + 0.16 * num_lines)
        return Places(
            dict(zip(labels, rows.at, strict=True)),
            dict(zip(labels, rows.labels, strict=True)),
            "names",
            rows,
        )
    return Places(at, texts, "names")


def _by_value(labels: Sequence[str]) -> list[tuple[str, list[float]]]:
    """The scale and positions of the labels if they are numbers, else nothing."""
    try:
        numbers = [float(label) for label in labels]
    except ValueError:
        return []
    if not all(map(math.isfinite, numbers)) or len(set(numbers)) < len(numbers):
        return []
    falls = all(a > b for a, b in itertools.pairwise(numbers))
    sign = -1 if falls and len(numbers) > 1 else 1
    if min(numbers) > 0 and max(numbers) >= MOST_LINEAR * min(numbers):
        return [("log", [sign * math.log10(n) for n in numbers])]
    return [("linear", [sign * n for n in numbers])]


def _collide(labels: Sequence[str], at: Sequence[float]) -> bool:
    """Whether two labels at these positions would overlap."""
    scale = AXIS_LENGTH / ((max(at) - min(at)) or 1.0)
    ordered = sorted(zip(at, labels, strict=True))
    return any(
        (b - a) * scale < LETTER * (len(left) + len(right) + 1) / 2
        for (a, left), (b, right) in itertools.pairwise(ordered)
    )


def _wrapped(labels: Sequence[str]) -> dict[str, str] | None:
    """The labels wrapped to fit side by side; None if they do not fit."""
    width = int(AXIS_LENGTH / len(labels) / LETTER) - 1
    if width < 1:
        return None
    texts = {}
    for label in labels:
        lines = textwrap.wrap(label, width, break_long_words=False) or [""]
        if len(lines) > MOST_LINES or max(map(len, lines)) > width:
            return None
        texts[label] = "\n".join(lines)
    return texts


def show_labels(ax: Axes, places: Places, title: str, beside: float = 0.0) -> None:
    """Puts the labels on their axis.

    Args:
      ax: axes.
      places: of the labels.
      title: of the axis of a definition, which has checked the mathematics in it.
      beside: largest distance of a marker from its label.
    """
    if places.rows is not None:
        places.rows.show(ax)
        return
    wrapped = [places.texts[label].split("\n") for label in places.at]
    texts = ["\n".join(map(drawn, lines)) for lines in wrapped]
    ax.set_xticks(list(places.at.values()), texts)
    side = 0.6 if places.kind == "names" else 0.05 * places.span + beside
    ax.set_xlim(min(places.at.values()) - side, max(places.at.values()) + side)
    if is_mathematics(title):
        ax.set_xlabel(drawn(title), parse_math=True)
    else:
        ax.set_xlabel(wrapped_title(drawn(title)))


def show_values(
    ax: Axes,
    letter: Letter,
    metric: str,
    values: Sequence[float],
    headroom: float = 0.0,
) -> None:
    """Sets scale, limits, ticks and title of the axis of a metric.

    Args:
      ax: axes.
      letter: 'x' or 'y'.
      metric: key of `METRICS`.
      values: all values on the axis; those that are not finite have no place on it.
      headroom: fraction of the axis to keep free at its upper end.
    """
    about = METRICS[metric]
    unit = f" ({about.unit})" if about.unit else ""
    getattr(ax, f"set_{letter}label")(wrapped_title(about.title + unit, letter))
    ax.grid(axis=letter)
    values = [value for value in values if math.isfinite(value)]
    low, high = min(values, default=0.0), max(values, default=1.0)
    set_limits, set_scale = (getattr(ax, f"set_{letter}{s}") for s in ("lim", "scale"))
    if about.unit == "%" and high > MOST_LINEAR * max(low, LINEAR_BELOW):
        set_scale("symlog", linthresh=LINEAR_BELOW, linscale=0.6)
        plain_ticks(ax, letter, FixedLocator(ERROR_TICKS))
        set_limits(-0.12 if low < LINEAR_BELOW else 0.8 * low, 1.3 * high)
    elif about.unit != "%" and low > 0 and high > MOST_LINEAR * low:
        set_scale("log")
        plain_ticks(ax, letter, log_locator(low, high))
        set_limits(low / 1.3, 1.3 * high)
    else:
        # The axis of rates far from zero does not start at zero.
        start = 0.0 if about.unit == "%" and low < 0.5 * high else low
        span = (high - start) or max(abs(high), 0.1)
        set_limits(start - 0.06 * span, high + 0.1 * span)
    if headroom:
        _keep_free(ax, letter, headroom)


def wrapped_title(title: str, letter: Letter = "x") -> str:
    """The title of an axis on several lines."""
    return "\n".join(textwrap.wrap(title, TITLE_LETTERS[letter]))


def _keep_free(ax: Axes, letter: Letter, room: float) -> None:
    """Moves the upper end of an axis so far out that a fraction of it is free."""
    axis = ax.xaxis if letter == "x" else ax.yaxis
    low, high = axis.get_view_interval()
    ticks = [tick for tick in axis.get_majorticklocs() if low <= tick <= high]
    scaled = axis.get_transform()
    start, end = scaled.transform(np.array([low, high]))
    top = scaled.inverted().transform(np.array([start + (end - start) / (1 - room)]))
    getattr(ax, f"set_{letter}lim")(low, float(top[0]))
    axis.set_major_locator(FixedLocator(ticks))  # none among what is no value


def log_locator(low: float, high: float) -> LogLocator:
    """Ticks of a logarithmic axis with these ends."""
    return LogLocator(subs=(1, 2, 5) if high < 1e3 * low else (1,))


def plain_ticks(ax: Axes, letter: Letter, locator: Locator) -> None:
    """Sets the ticks of a locator, formatted as plain numbers, without mathematics."""
    axis = ax.xaxis if letter == "x" else ax.yaxis
    axis.set_major_locator(locator)
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
