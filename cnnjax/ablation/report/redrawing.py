"""Draws the report of published records again, without the folder of their runs."""

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console

from cnnjax.ablation.judge.published import read_published, unpack
from cnnjax.ablation.report.pages import write_report
from cnnjax.ablation.report.terminal import print_summary
from cnnjax.errors import UserError, printable
from cnnjax.records import write_bytes
from cnnjax.screen import terminal

_FILES = {"report.html", "report.md", "results.csv"}


@contextlib.contextmanager
def drawn(folder: Path) -> Iterator[tuple[Path, list[str]]]:
    """A temporary work folder with the published runs and their report.

    Args:
      folder: of `docs/results/`, or a copy of one.

    Yields:
      The work folder, and sentences about records that cannot be read.

    Raises:
      UserError: there are no such records.
    """
    published = read_published(folder)
    with tempfile.TemporaryDirectory() as scratch:
        workdir = Path(scratch) / "report"
        unpack(published, workdir)
        write_report(workdir)
        yield workdir, published.warnings


def write_report_from(
    folder: Path, workdir: Path | None, console: Console | None = None
) -> Path:
    """Writes results.csv, plots, report.md and report.html, and prints the summary.

    Args:
      folder: of a published report.
      workdir: where to write; None for runs/published/<name of the report>.
      console: where to print; the terminal if None.

    Returns:
      The page.

    Raises:
      UserError: there are no such records, or `workdir` holds runs or files that are
        not of such a report.
    """
    console = console or terminal()
    workdir = workdir or Path("runs", "published", folder.absolute().name)
    if held := [n for n in ("plan.json", "config.json") if (workdir / n).exists()]:
        raise UserError(
            f"{printable(workdir)} holds runs of its own ({held[0]}): give another "
            "--workdir for the report"
        )
    _refuse_foreign(workdir)
    with drawn(folder) as (drawing, warnings):
        print_summary(drawing, console)
        for warning in warnings:
            console.print(warning, markup=False, style="yellow")
        for path in [*drawing.glob("report.*"), drawing / "results.csv"]:
            write_bytes(workdir / path.name, path.read_bytes())
        for path in (drawing / "plots").iterdir():
            write_bytes(workdir / "plots" / path.name, path.read_bytes())
    return workdir / "report.html"


def _refuse_foreign(workdir: Path) -> None:
    """Refuses a folder with files that no `report --from` wrote.

    Raises:
      UserError: there are some; what is there would be replaced.
    """
    there = {path.name for path in workdir.iterdir()} if workdir.is_dir() else set()
    if there and (more := (there ^ _FILES) - {"plots"}):
        raise UserError(
            f"{printable(workdir)} is neither empty nor the folder of such a report "
            f"(see {printable(min(more))}): give another --workdir"
        )
