"""Texts of others, such as error messages and names in files, made fit to be shown.

They may hold anything. On a screen they are one line without terminal codes, in
Markdown no markup, in a table of numbers no formula.
"""

import csv
import io
import re
import unicodedata
from collections.abc import Iterable

# Longer sentences lose their middle.
MOST_CHARACTERS = 500
_BREAKS = re.compile(r"[ \t]*[\n\r\t\v\f\x1c-\x1e\x85\u2028\u2029]\s*")
# What gives a line of Markdown another meaning at its start, or anywhere.
_AT_START = re.compile(r"(?=[#>=~]|[-+*](?:[-+*\s]|$))")
_MARKUP = re.compile(r"(?=[`|\[\]*]|\\(?:[!-/:-@\[-`{-~]|$))")
_TAG = re.compile(r"<(?=[A-Za-z/!?])")
# How a cell starts that spreadsheets compute.
_FORMULA = re.compile(r"\s*[=+\-@\uff0b\uff0d\uff1d\uff20]")


def one_line(text: object) -> str:
    """A text on one line; a line break is a space, every other control is escaped.

    Escaped are codes of terminals, marks that turn the direction of writing, and all
    else that nobody sees or that no encoding has.
    """
    text = str(text)
    if text.isprintable():
        return text
    return "".join(map(_visible, _BREAKS.sub(" ", text)))


def sentence(text: object, most: int = MOST_CHARACTERS) -> str:
    """`one_line` of at most so many characters, shortened in the middle."""
    line = one_line(text)
    if len(line) <= most:
        return line
    half = (most - 7) // 2
    return f"{line[:half]} (...) {line[-half:]}"


def markdown(text: object) -> str:
    """A text within a line or a cell of a table of Markdown, without markup."""
    # Not '\<': the marks of a block in README are sought by their letters.
    line = _TAG.sub("&lt;", _MARKUP.sub(r"\\", one_line(text)))
    return _AT_START.sub(r"\\", line, count=1) if _AT_START.match(line) else line


def csv_table(rows: Iterable[Iterable[object]]) -> str:
    """Rows as CSV, without formulas; see `csv_cell`."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerows(map(csv_cell, row) for row in rows)
    return file.getvalue()


def csv_cell(value: object) -> object:
    """A cell that no spreadsheet computes: a text like a formula gets a quote before.

    Numbers stay, also those that are written as texts.
    """
    if not isinstance(value, str):
        return value
    line = one_line(value)
    return f"'{line}" if _FORMULA.match(line) and not _is_number(line) else line


def _visible(character: str) -> str:
    if character.isprintable() or unicodedata.category(character) == "Zs":
        return character
    return ascii(character)[1:-1].replace("\\udc", "\\x")


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def block(text: str, name: str) -> str | None:
    """What stands in a text between `<!-- begin NAME -->` and `<!-- end NAME -->`.

    Returns:
      It, without the line breaks around it; None if the text has no such pair of marks.
    """
    begin, end = _marks(name)
    _, found, rest = text.partition(begin)
    inner, closed, _ = rest.partition(end)
    return inner.strip() if found and closed else None


def as_block(name: str, text: str) -> str:
    """A text between the marks of its block."""
    begin, end = _marks(name)
    return f"{begin}\n{text.strip()}\n{end}"


def with_block(content: str, name: str, text: str) -> str | None:
    """A text with another block of a name; None if it has none."""
    if block(content, name) is None:
        return None
    begin, end = _marks(name)
    head, rest = content.split(begin, 1)
    return f"{head}{as_block(name, text)}{rest.split(end, 1)[1]}"


def _marks(name: str) -> tuple[str, str]:
    return f"<!-- begin {name} -->", f"<!-- end {name} -->"
