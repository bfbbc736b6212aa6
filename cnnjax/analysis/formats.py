"""Tables for people and for programs: text, Markdown, CSV and JSON."""

import csv
import dataclasses
import io
from collections.abc import Callable, Sequence
from typing import Any

from cnnjax.errors import unknown_name

FORMATS = ("text", "json", "csv", "md")


def check_format(name: str) -> None:
    """Refuses a format that does not exist.

    Raises:
      UserError: names the allowed ones.
    """
    if name not in FORMATS:
        raise unknown_name("format", name, FORMATS, "--format")


@dataclasses.dataclass(frozen=True)
class Column:
    """A column: its title, the value of a row, and how a person reads it.

    Args:
      title: with the unit.
      value: row -> value, for CSV.
      text: value -> what is shown.
      left: aligned to the left, as names are.
    """

    title: str
    value: Callable[[Any], Any]
    text: Callable[[Any], str] = str
    left: bool = False

    def show(self, row: Any) -> str:
        value = self.value(row)
        return "" if value is None else self.text(value)


def thousands(value: float) -> str:
    """12,345; one decimal below 100; two digits below 1; a plain 0."""
    if value == 0:
        return "0"
    if value < 1:
        return f"{value:.2g}"
    return f"{value:,.1f}" if value < 100 else f"{value:,.0f}"


def as_text(columns: Sequence[Column], rows: Sequence[Any]) -> str:
    """Columns under their titles, two blanks apart."""
    table = [[c.title for c in columns], *([c.show(r) for c in columns] for r in rows)]
    widths = [max(len(line[i]) for line in table) for i in range(len(columns))]
    lines = []
    for line in table:
        cells = [
            cell.ljust(width) if column.left else cell.rjust(width)
            for cell, width, column in zip(line, widths, columns, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def as_markdown(columns: Sequence[Column], rows: Sequence[Any]) -> str:
    """A pipe table."""
    lines = [
        [c.title for c in columns],
        ["---" if c.left else "--:" for c in columns],
        *([c.show(row) for c in columns] for row in rows),
    ]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def as_csv(columns: Sequence[Column], rows: Sequence[Any]) -> str:
    """A header of titles, then plain values."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(column.title for column in columns)
    writer.writerows([column.value(row) for column in columns] for row in rows)
    return out.getvalue().rstrip("\n")
