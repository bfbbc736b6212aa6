"""Groups the arms of a plan into the lines of a plot, and gives each line a style.

The colours of Okabe and Ito are safe for colour-blind readers; every line also has its
own combination of marker and dash pattern.
"""

import dataclasses
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes

from cnnjax.ablation.define.axes import Axis
from cnnjax.ablation.judge.collect import Sweep
from cnnjax.ablation.report.plots.words import drawn

COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C8C")
# The numbers of colours and dash patterns have no common divisor: no pair is repeated
# among the first 42 lines.
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")
LINES = ("-", "--", "-.", (0, (8, 2)), (0, (5, 1, 1, 1, 1, 1)), ":")
LEGEND_WIDTH = 48  # letters in a row of a legend


@dataclasses.dataclass(frozen=True)
class Line:
    """Arms that differ in the horizontal axis only.

    Attributes:
      label: in the legend; '' if there is only one line.
      arms: label on the horizontal axis -> arm.
    """

    label: str
    arms: Mapping[str, str]


def x_labels(sweep: Sweep) -> list[str]:
    """The labels of the horizontal axis in the plan, in the order of the axis."""
    axis = sweep.ablation.x_axis
    planned = {arm["axes"][axis] for arm in sweep.plan["arms"]}
    defined = next(a.values for a in sweep.ablation.axes if a.name == axis)
    return [label for label in defined if label in planned]


def x_title(sweep: Sweep) -> str:
    """Title of the horizontal axis, with its unit."""
    own = next(a for a in sweep.ablation.axes if a.name == sweep.ablation.x_axis)
    return own.title or own.name


def x_name(sweep: Sweep) -> str:
    """Title of the horizontal axis, without its unit."""
    return x_title(sweep).split(" (")[0]


def lines_of(sweep: Sweep) -> list[Line]:
    """All arms of the plan as lines: one per combination of labels on the other axes.

    An axis with only one label in the plan is left out of the labels of lines; the
    series axis comes first.
    """
    arms, x_axis = sweep.plan["arms"], sweep.ablation.x_axis
    varied = [axis.name for axis in _varied(sweep)]
    lines: dict[tuple[str, ...], dict[str, str]] = {}
    for arm in arms:
        choice = tuple(arm["axes"][name] for name in varied)
        lines.setdefault(choice, {})[arm["axes"][x_axis]] = arm["name"]
    nothing = "–" if len(lines) > 1 else ""  # a line without a label is not listed
    return [Line(", ".join(c) or nothing, arms) for c, arms in lines.items()]


def legend_title(sweep: Sweep) -> str:
    """What the labels of the lines are of: the titles of their axes, without units."""
    return ", ".join((a.title or a.name).split(" (")[0] for a in _varied(sweep))


def _varied(sweep: Sweep) -> list[Axis]:
    """The axes beside the horizontal one with several labels in the plan."""
    ablation, arms = sweep.ablation, sweep.plan["arms"]
    others = [axis for axis in ablation.axes if axis.name != ablation.x_axis]
    others.sort(key=lambda axis: axis.name != ablation.series_axis)
    return [a for a in others if len({arm["axes"][a.name] for arm in arms}) > 1]


def style(index: int) -> dict[str, Any]:
    """Colour, marker and dashes of a line, by its position in the legend."""
    return {
        "color": COLORS[index % len(COLORS)],
        "marker": MARKERS[index % len(MARKERS)],
        "ls": LINES[index % len(LINES)],
    }


def legend_rows(labels: Sequence[str]) -> int:
    """The number of lines of a legend with these labels."""
    if not labels:
        return 0
    wrapped = [_wrapped(label) for label in labels]
    lines = max(label.count("\n") for label in wrapped) + 1
    return lines * -(-len(labels) // _legend_columns(wrapped))


def _legend_columns(labels: Sequence[str]) -> int:
    lines = (line for label in labels for line in label.split("\n"))
    longest = max(map(len, lines)) + 8  # and the sample of the line
    return min(len(labels), max(1, LEGEND_WIDTH // longest))


def _wrapped(label: str) -> str:
    return "\n".join(textwrap.wrap(label, LEGEND_WIDTH - 8))


def show_legend(ax: Axes, title: str = "") -> None:
    """Puts the legend above the panel, in as many rows as it needs.

    Args:
      ax: axes.
      title: what the labels are of, which may be anyone's; '' for none.
    """
    handles, labels = ax.get_legend_handles_labels()
    labels = [_wrapped(label) for label in labels]
    if labels:
        ax.legend(
            handles,
            labels,
            ncols=_legend_columns(labels),
            loc="lower left",
            bbox_to_anchor=(0.0, 1.0),
            frameon=False,
            columnspacing=1.2,
            handlelength=2.3,
            title=drawn(title) or None,
            title_fontsize=9.5,
            alignment="left",
        )
