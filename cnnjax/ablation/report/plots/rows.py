"""Rows of a panel, each with its label above what is drawn in it.

So a label takes no width from the axis, and a panel is as wide as any other: it can be
read on a phone, however long the labels are.
"""

import dataclasses
import itertools
import textwrap
from collections.abc import Sequence

from matplotlib.axes import Axes

from cnnjax.ablation.report.plots.words import drawn

LINE = 0.19  # inches of a line of a label
LETTERS = 48  # in a line of a label
MOST_LETTERS = 4 * LETTERS
LABEL_SIZE = 9.5  # points
_GAP = 0.05  # inches above a label
_FRAME = 0.75  # inches of the ticks and the title below the rows


@dataclasses.dataclass(frozen=True)
class Rows:
    """Rows from top to bottom; the vertical axis is in inches, and 0 at the top.

    Attributes:
      labels: one per row, perhaps of several lines.
      content: height below each label, in inches.
    """

    labels: Sequence[str]
    content: float

    @property
    def _tops(self) -> list[float]:
        """Upper ends of the rows, and the lower end of the last."""
        heights = (
            _GAP + LINE * (label.count("\n") + 1) + self.content
            for label in self.labels
        )
        return [-y for y in itertools.accumulate(heights, initial=0.0)]

    @property
    def at(self) -> list[float]:
        """The middle of what is drawn in each row."""
        return [bottom + self.content / 2 for bottom in self._tops[1:]]

    @property
    def height(self) -> float:
        """Of a panel with these rows, in inches."""
        return _FRAME - self._tops[-1]

    def show(self, ax: Axes) -> None:
        """Puts the labels and the ends of the rows on the axes."""
        tops = self._tops
        ax.set(yticks=[], ylim=(tops[-1], 0.0))
        ax.spines["left"].set_visible(False)
        for label, top in zip(self.labels, tops, strict=False):
            ax.text(
                0.0,
                top - _GAP,
                label,
                transform=ax.get_yaxis_transform(),
                va="top",
                fontsize=LABEL_SIZE,
            ).set_in_layout(False)
        for top in tops[1:-1]:
            ax.axhline(top, color=ax.xaxis.label.get_color(), alpha=0.15, lw=0.8)


def rows_of(labels: Sequence[str], content: float) -> Rows:
    """Rows with these labels, wrapped; they may be anyone's."""
    lines = (textwrap.wrap(drawn(label, MOST_LETTERS), LETTERS) for label in labels)
    wrapped = map("\n".join, lines)
    return Rows(list(wrapped), content)
