"""The colour of each verdict: on pages, on terminals and in plots."""

from typing import NamedTuple

from cnnjax.ablation.judge.verdict import (
    CONTRADICTED,
    NO_DIFFERENCE,
    NO_INFORMATION,
    SUPPORTED,
    UNDECIDED,
)


class Colours(NamedTuple):
    """How one verdict looks.

    Attributes:
      light: of text on a light page.
      dark: of text on a dark page.
      terminal: style of rich.
      line: index of the style of `plots.series` in plots.
    """

    light: str
    dark: str
    terminal: str
    line: int


COLOURS = {
    SUPPORTED: Colours("#00694c", "#3fc79a", "bold green", 0),
    CONTRADICTED: Colours("#b04400", "#ff9a52", "bold red", 1),
    NO_DIFFERENCE: Colours("#0a5c9e", "#6bb8f0", "bold blue", 5),
    UNDECIDED: Colours("#5b6470", "#b4bdc8", "bold yellow", 6),
    NO_INFORMATION: Colours("#5b6470", "#b4bdc8", "dim", 4),
}
