"""No number of a table is lost on a narrow terminal."""

import io

import pytest
from rich.console import Console
from rich.table import Table

from cnnjax.run.progress import Progress
from cnnjax.screen import show

ROWS = [("0", "train", "1,297", "63.07"), ("0", "validation", "250", "61.20")]


def printed(width, **options):
    table = Table(title="[bold]errors[/]", caption="of the digits")
    for title in ("seed", "split", "images", "error %"):
        table.add_column(title, **options)
    for row in ROWS:
        table.add_row(*row)
    stream = io.StringIO()
    show(table, Console(file=stream, width=width))
    return stream.getvalue()


@pytest.mark.parametrize("width", [1, 8, 20, 38, 39, 40, 80])
@pytest.mark.parametrize("no_wrap", [False, True])
def test_every_cell_is_there(width, no_wrap):
    # Words longer than a line are broken, but not dropped.
    shown = printed(width, no_wrap=no_wrap).replace("\n", "")
    for row in ROWS:
        for cell in row:
            assert cell in shown
    assert "…" not in shown
    assert "errors" in shown.replace(" ", "")


def test_rows_become_lists_where_columns_do_not_fit():
    assert "split: validation\nimages: 250\nerror %: 61.20\n" in printed(20)
    assert "┃ images ┃" in printed(80)


def test_a_cell_in_one_line_stays_so():
    table = Table("arm", "note")
    table.columns[0].no_wrap = True
    table.add_row("plain 56 layers", "a note that takes lines")
    stream = io.StringIO()
    show(table, Console(file=stream, width=26))
    assert "plain 56 layers" in stream.getvalue()


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(("columns", "bars"), [(20, False), (100, True)])
def test_bars_are_for_terminals_with_room_for_them(monkeypatch, columns, bars):
    monkeypatch.setenv("COLUMNS", str(columns))
    progress = Progress({"a": 1.0}, stream=Terminal())
    assert (progress.bars is not None) == bars
