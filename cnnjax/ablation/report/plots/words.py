"""The one way of a text into a figure: short lines without anything hidden.

Dollars and carets are themselves: the style of the figures parses no mathematics, but
for titles of definitions that ask for it (`define.checks.is_mathematics`).
"""

from cnnjax.texts import sentence

MOST_LETTERS = 200  # of a line; a longer one leaves no room for the picture


def drawn(text: str) -> str:
    """A text that may be anyone's, for matplotlib; its lines stay lines.

    What is hidden is escaped, because SVG files must not hold it. A label that starts
    with an underscore would be left out of the legend.
    """
    lines = [sentence(line, MOST_LETTERS) for line in text.split("\n")]
    return "\n".join(f" {line}" if line.startswith("_") else line for line in lines)
