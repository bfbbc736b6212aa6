"""Where labels stand on an axis of a plot, and how far the values of a metric reach."""

import dataclasses
import itertools
import math
import textwrap
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import (
    FixedLocator,
    FuncFormatter,
    Locator,
    LogLocator,
    NullLocator,
)

from cnnjax.ablation.define.metrics import METRICS

AXIS_LENGTH = 3.9  # inches of a panel that its horizontal axis takes, about
LETTER = 0.086  # inches
MOST_LINES = 3  # of a label under the axis
ERROR_TICKS = (0, 0.5, 1, 2, 5, 10, 20, 50, 100)
# Below one percent the error axis is linear, so that zero has a place; above it is
# logarithmic, so that 2 against 5 is as visible as 20 against 50.
LINEAR_BELOW = 1.0
# Numbers that reach over more than this factor are drawn on a logarithmic axis.
MOST_LINEAR = 10.0


@dataclasses.dataclass(frozen=True)
class Places:
    """Where the labels of an axis stand.

    Attributes:
      at: label -> place, in the unit of the axis.
      texts: label -> what is written there.
      kind: 'linear' or 'log' for numbers, 'names' for labels side by side.
      upright: whether the labels stand below each other on the vertical axis, because
        they are too long to stand side by side.
    """

    at: Mapping[str, float]
    texts: Mapping[str, str]
    kind: str
    upright: bool = False

    @property
    def span(self) -> float:
        """Distance from the first to the last label."""
        return max(self.at.values()) - min(self.at.values()) or 1.0

    @property
    def gap(self) -> float:
        """The smallest distance of two neighbours."""
        ordered = sorted(self.at.values())
        gaps = [b - a for a, b in itertools.pairwise(ordered)]
        return min(gaps, default=self.span)


def place(labels: Sequence[str]) -> Places:
    """Numbers by value, all else side by side, in the order given.

    Positive numbers that span a decade stand on a logarithmic scale; numbers that fall
    from label to label run from right to left, so that the order is the one given.
    """
    same = {label: label for label in labels}
    for kind, at in _by_value(labels):
        if not _collide(labels, at):
            return Places(dict(zip(labels, at, strict=True)), same, kind)
    at = {label: float(i) for i, label in enumerate(labels)}
    texts = _wrapped(labels)
    if texts is None:
        wide = {label: "\n".join(textwrap.wrap(label, 30)) for label in labels}
        return Places({k: -v for k, v in at.items()}, wide, "names", upright=True)
    return Places(at, texts, "names")


def _by_value(labels: Sequence[str]) -> list[tuple[str, list[float]]]:
    """The scale that suits the labels, if they are numbers."""
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
    """Whether two labels at these places would touch each other."""
    scale = AXIS_LENGTH / ((max(at) - min(at)) or 1.0)
    ordered = sorted(zip(at, labels, strict=True))
    return any(
        (b - a) * scale < LETTER * (len(left) + len(right) + 1) / 2
        for (a, left), (b, right) in itertools.pairwise(ordered)
    )


def _wrapped(labels: Sequence[str]) -> dict[str, str] | None:
    """The labels in lines that fit side by side; None if they do not."""
    room = int(AXIS_LENGTH / len(labels) / LETTER) - 1
    if room < 1:
        return None
    texts = {}
    for label in labels:
        lines = textwrap.wrap(label, room, break_long_words=False) or [""]
        if len(lines) > MOST_LINES or max(map(len, lines)) > room:
            return None
        texts[label] = "\n".join(lines)
    return texts


def show_labels(ax: Axes, places: Places, title: str, beside: float = 0.0) -> None:
    """Puts the labels on their axis.

    Args:
      ax: axes.
      places: of the labels.
      title: of the axis.
      beside: how far from its label something is drawn.
    """
    letter = "y" if places.upright else "x"
    ticks = getattr(ax, f"set_{letter}ticks")
    ticks(list(places.at.values()), [places.texts[label] for label in places.at])
    side = 0.6 if places.kind == "names" else 0.05 * places.span + beside
    ends = min(places.at.values()) - side, max(places.at.values()) + side
    getattr(ax, f"set_{letter}lim")(*ends)
    getattr(ax, f"set_{letter}label")(title)


def show_values(
    ax: Axes, letter: str, metric: str, values: Sequence[float], headroom: float = 0.0
) -> None:
    """Scale, limits, ticks and title of the axis of a metric.

    Args:
      ax: axes.
      letter: 'x' or 'y'.
      metric: key of `METRICS`.
      values: all that is to be seen on the axis.
      headroom: share of the axis to keep free at its upper end.
    """
    about = METRICS[metric]
    unit = f" ({about.unit})" if about.unit else ""
    getattr(ax, f"set_{letter}label")("\n".join(textwrap.wrap(about.title + unit, 40)))
    ax.grid(axis=letter)
    low, high = min(values, default=0.0), max(values, default=1.0)
    set_limits, set_scale = (getattr(ax, f"set_{letter}{s}") for s in ("lim", "scale"))
    if about.unit == "%" and high > MOST_LINEAR * max(low, LINEAR_BELOW):
        set_scale("symlog", linthresh=LINEAR_BELOW, linscale=0.6)
        _plain_ticks(ax, letter, FixedLocator(ERROR_TICKS))
        top = high * 1.3 * (high / max(low, 0.1)) ** headroom
        set_limits(-0.12 if low < LINEAR_BELOW else 0.8 * low, top)
    elif about.unit != "%" and low > 0 and high > MOST_LINEAR * low:
        set_scale("log")
        decades = math.log10(high / low)
        _plain_ticks(ax, letter, LogLocator(subs=(1, 2, 5) if decades < 3 else (1,)))
        set_limits(low / 1.3, 1.3 * high * (high / low) ** headroom)
    else:
        # Rates that are all far from zero are shown near by.
        start = 0.0 if about.unit == "%" and low < 0.5 * high else low
        room = (high - start) or max(abs(high), 0.1)
        set_limits(start - 0.06 * room, high + (0.1 + headroom) * room)


def _plain_ticks(ax: Axes, letter: str, locator: Locator) -> None:
    """Ticks where the locator says, written as plain numbers."""
    axis = ax.xaxis if letter == "x" else ax.yaxis
    axis.set_major_locator(locator)
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
