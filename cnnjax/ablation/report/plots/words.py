"""The one way of a text into a figure: a short line without anything hidden.

Dollars and carets are themselves: the style of the figures parses no mathematics, but
for titles of definitions that ask for it (`define.checks.is_mathematics`).
"""

from cnnjax.ablation.define.checks import MOST_DRAWN
from cnnjax.texts import sentence


def drawn(text: str, most: int = MOST_DRAWN) -> str:
    """A text that may be anyone's, for matplotlib, on one line.

    What is hidden is escaped, because SVG files must not hold it. A label that starts
    with an underscore would be left out of the legend.
    """
    line = sentence(text, most)
    return f" {line}" if line.startswith("_") else line
