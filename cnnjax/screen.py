"""Sentences and tables on a terminal of any width, whatever texts of others they hold.

No text is a code of the terminal, and no number is cut off. Output that breaks off ends
no program.
"""

import contextlib
import errno
import io
import os
import sys
from typing import Any, TextIO

from rich.console import Console
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from cnnjax.errors import ESCAPING, OF_MACHINE
from cnnjax.texts import one_line, sentence

# Below this a progress bar leaves no room for its text.
NARROW = 60
_ANY = 10_000


def say(text: str, stream: TextIO | None = None) -> None:
    """Prints a sentence; every program prints its sentences by this.

    Args:
      text: of anyone.
      stream: where to; the standard output if None.
    """
    print(sentence(text), file=stream, flush=True)


def plain(text: str) -> str:
    """A text between the markup of rich, for a cell or a line."""
    return escape(one_line(text))


def terminal(stream: TextIO | None = None) -> Console:
    """A console that takes no text of others for an emoji, as rich does ':bomb:'.

    Args:
      stream: where to; the standard output if None.
    """
    return Console(file=stream, emoji=False)


def show(table: Table, console: Console | None = None) -> None:
    """Prints a table, or each of its rows as a list where it does not fit.

    Args:
      table: its cells are text.
      console: where to print; the terminal if None.
    """
    console = console or terminal()
    if _fits(table, console):
        console.print(table)
        return
    if table.title:
        console.print(table.title, style="table.title", highlight=False)
    columns = [(str(column.header), list(column.cells)) for column in table.columns]
    for row in range(table.row_count):
        for title, cells in columns:
            if cells[row]:
                line = Text.assemble((f"{title}: ", "bold"))
                line.append_text(Text.from_markup(str(cells[row]), emoji=False))
                console.print(line)
        console.print()
    if table.caption:
        console.print(table.caption, style="table.caption", highlight=False)


def _fits(table: Table, console: Console) -> bool:
    if _least_width(table, console) > console.width:
        return False
    # Rich may still narrow a column below its longest word, and ends that in dots.
    lines = console.render_lines(table, pad=False)
    drawn = "".join(segment.text for line in lines for segment in line)
    given = "".join(str(c) for column in table.columns for c in column.cells)
    return drawn.count("…") <= given.count("…")


def _least_width(table: Table, console: Console) -> int:
    """The width at which every word is whole, and every column without a wrap."""
    options = console.options.update(width=_ANY, max_width=_ANY)
    least = Measurement.get(console, options, table).minimum
    for column in table.columns:
        if column.no_wrap:
            cells = map(str, (column.header, *column.cells))
            texts = [Text.from_markup(cell, emoji=False) for cell in cells]
            words = (w for text in texts for w in text.plain.split() or [""])
            whole = max(text.cell_len for text in texts)
            least += whole - max(Text(word).cell_len for word in words)
    return least


class Outliving(io.FileIO):
    """The output of a program that does not end when that takes nothing any more.

    After `| head`, when its terminal is closed, or the disk of its log is full: results
    are in files. What cannot be shown from then on goes nowhere.

    Attributes:
      lost: why it takes nothing, unless its reader has ended.
    """

    lost: OSError | None = None

    def write(self, content: Any) -> int:
        try:
            return super().write(content) or 0
        except OSError as error:
            if error.errno not in (errno.EPIPE, *OF_MACHINE):
                raise
            if error.errno != errno.EPIPE:  # who ends the reader knows
                self.lost = error
                _warn_beside(self.fileno(), error)
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self.fileno())
        os.close(null)
        return len(content)


def lost_text() -> OSError | None:
    """Why the standard output has lost text, all of it written now; None if it has not.

    The end of a reader, as in `| head`, counts as wanted.
    """
    with contextlib.suppress(OSError):
        sys.stdout.flush()
    below = getattr(sys.stdout, "buffer", None)
    return getattr(getattr(below, "raw", below), "lost", None)


def _warn_beside(number: int, error: OSError) -> None:
    """Says on the other standard stream, if that works, that one takes nothing."""
    name, other = ("stderr", 1) if number == 2 else ("stdout", 2)
    words = f"warning: {name} takes no more text ({error.strerror}); the work goes on\n"
    with contextlib.suppress(OSError):
        os.write(other, words.encode())


def outlive_readers() -> None:
    """Gives a program output that works: also where it is missing, or breaks off.

    Characters that the terminal cannot encode are escaped.
    """
    for number in range(3):  # a file that is opened must not become one of these
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    for name, number in (("stdout", 1), ("stderr", 2)):
        old = getattr(sys, name)
        if old is None:
            new = Outliving(number, "w", closefd=False)
            setattr(sys, name, io.TextIOWrapper(io.BufferedWriter(new), "utf-8"))
        elif isinstance(old, io.TextIOWrapper):
            old.reconfigure(errors=ESCAPING)
            _replace(name, number, old)


def _replace(name: str, number: int, old: io.TextIOWrapper) -> None:
    with contextlib.suppress(OSError):  # it may be a file of its own, as in tests
        if old.fileno() == number:
            old.flush()
            raw = Outliving(number, "w", closefd=False)
            is_buffered = not isinstance(old.buffer, io.RawIOBase)  # not python -u
            new = io.TextIOWrapper(
                io.BufferedWriter(raw) if is_buffered else raw,
                encoding=old.encoding,
                errors=old.errors,
                line_buffering=old.line_buffering,
                write_through=old.write_through,
            )
            setattr(sys, name, new)
