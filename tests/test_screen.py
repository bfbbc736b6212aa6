"""No number of a table is lost on a narrow terminal; no text of others is a code."""

import ast
import io
import re
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from cnnjax.ablation.execute import status
from cnnjax.run.progress import Load, Progress
from cnnjax.screen import plain, say, show, terminal

ROOT = Path(__file__).parents[1]
EVIL = "\x1b[2J\x9b31m\u202e\0\r[red]x[/]\n" + "y" * 1000
# These print what `screen.say` and `Progress.say` do not: an error on its own stream,
# the lines of a child, which are sentences already, and tables.
PRINTING = {
    "cnnjax/screen.py",
    "cnnjax/run/progress.py",
    "cnnjax/cli.py",
    "cnnjax/devices/watchdog.py",
    "cnnjax/ablation/atlas.py",
    "experiments/models.py",
    "experiments/profile.py",
}

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
    progress = Progress({"a": Load(1.0)}, stream=Terminal())
    assert (progress.bars is not None) == bars


def is_harmless(text):
    return text.removesuffix("\n").isprintable() and len(text) <= 501


def test_a_sentence_with_codes(capsys):
    say(EVIL)
    out = capsys.readouterr().out
    assert is_harmless(out)
    assert out.startswith(r"\x1b[2J\x9b31m\u202e\x00 [red]x[/] yyy")


@pytest.mark.parametrize("kind", [io.StringIO, Terminal])
def test_progress_with_codes(monkeypatch, kind):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setenv("TERM", "dumb")
    stream = kind()
    with Progress({EVIL: Load(1.0)}, stream=stream) as progress:
        progress.prepare_run(EVIL)
        run = progress.start_run(EVIL, total_steps=2)
        run.update(1, {"loss": 1.0}, images_per_second=1.0)
        run.end(f"failed: {EVIL}")
        progress.say(EVIL)
    for code in ("\x1b[2J", "\x9b", "\u202e", "\0"):
        assert code not in stream.getvalue()
    assert r"\x1b[2J" in stream.getvalue()


def test_a_table_with_codes():
    table = Table("cell")
    table.add_row(plain(EVIL))
    stream = io.StringIO()
    show(table, Console(file=stream, width=60, color_system=None))
    assert all(map(is_harmless, stream.getvalue().splitlines()))
    assert "[red]x[/]" in stream.getvalue()


@pytest.mark.parametrize("width", [60, 6])
def test_a_text_between_colons_is_no_emoji(width):
    table = Table("cell", title=plain("arm :bomb:"))
    table.add_row(plain("a :bomb: b"))
    stream = io.StringIO()
    console = terminal(stream)
    console.width = width
    show(table, console)
    console.print("[red]:bomb:[/]")
    with Progress({"": Load(1.0)}, stream=stream) as progress:
        progress.say(":bomb:")
    assert stream.getvalue().count(":bomb:") == 4


def test_a_status_with_codes():
    cell = status.CellStatus(
        name=EVIL, status=status.RUNNING, step=1, total_steps=2, loss=None,
        seconds_left=None, work=1.0, where=EVIL, note=EVIL,
    )  # fmt: skip
    stream = io.StringIO()
    show(status.table([cell]), Console(file=stream, width=60, color_system=None))
    assert all(line.isprintable() for line in stream.getvalue().splitlines())


def test_nothing_else_prints():
    found = set()
    for folder in ("cnnjax", "experiments"):
        for path in (ROOT / folder).rglob("*.py"):
            text = path.read_text("utf-8")
            nodes = ast.walk(ast.parse(text)) if re.search(r"\bprint\b", text) else ()
            if any(isinstance(n, ast.Name) and n.id == "print" for n in nodes):
                found.add(str(path.relative_to(ROOT)))
    assert found == PRINTING
