"""Replaces a published folder: a kill leaves the old one, the new one, or both."""

import contextlib
import os
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from cnnjax.errors import UserError, printable
from cnnjax.files import write_failure
from cnnjax.lock import LOCK, Lock, locked
from cnnjax.records import is_there, refuse_foreign, write_text
from cnnjax.texts import with_block

FILES = frozenset(
    {"report.md", "results.csv", "plan.json", "records.jsonl", "definition.json"}
)
PLOTS = "plots"  # a folder of pictures
PAGE = "report.html"
UNFINISHED = (
    "<!doctype html><title>Unfinished</title><p>This report is being written, or was "
    "interrupted: run ./launch.sh report again.</p>\n"
)
PICTURE = ".png"


def alone(repository: Path) -> contextlib.AbstractContextManager[Lock]:
    """The lock of all that is published in a repository, which one command has.

    It covers `docs/results/` and the blocks of README.md and of pages of docs/, which
    are read, changed and written.

    Args:
      repository: folder that contains docs/.

    Raises:
      TakenError: another command publishes.
    """
    busy = f"{printable(repository)} is being published into"
    return locked(repository / "docs" / "results" / LOCK, busy)


@contextlib.contextmanager
def replacing(results: Path, name: str) -> Iterator[Path]:
    """Gives an empty folder that takes the place of a published one in the end.

    Only what `publish` writes is ever deleted, file by file. Whoever calls it has the
    lock `alone`, for what other calls have half written would be deleted as well.

    Args:
      results: folder of all published reports; created if missing.
      name: of the report, from names that `check_name` has seen.

    Raises:
      UserError: there is something else in that place, or it cannot be written.
    """
    target = results / name
    if os.path.lexists(target):
        _require_published(target)
    new = results / f".{name}.{uuid.uuid4().hex}"
    try:
        new.mkdir(parents=True)
        try:
            yield new
            _swap(new, target)
        except BaseException:
            _remove(new)
            raise
        # What stood there, and what an earlier kill has left.
        for leftover in results.glob(f".{name}.*"):
            _remove(leftover)
    except OSError as error:
        raise write_failure(target, error) from error


def _swap(new: Path, target: Path) -> None:
    if not os.path.lexists(target):
        new.rename(target)
        return
    old = target.with_name(f".{target.name}.{uuid.uuid4().hex}")
    target.rename(old)
    try:
        new.rename(target)
    except BaseException:
        old.rename(target)
        raise


def _require_published(folder: Path) -> None:
    foreign = _foreign(folder)
    if foreign is None and not (folder / "report.md").is_file():
        foreign = "no report.md"
    if foreign:
        raise UserError(
            f"{printable(folder)} is no report that publish wrote (it holds "
            f"{printable(foreign)}): move it away"
        )


def _foreign(folder: Path) -> str | None:
    """Names something in a folder that `publish` did not write; None if all is its."""
    if not _is(folder, stat.S_ISDIR):
        return "no folder"
    for path in sorted(folder.iterdir()):
        if path.name == PLOTS and _is(path, stat.S_ISDIR):
            for picture in sorted(path.iterdir()):
                if picture.suffix != PICTURE or not _is(picture, stat.S_ISREG):
                    return f"{PLOTS}/{picture.name}"
        elif path.name not in FILES or not _is(path, stat.S_ISREG):
            return path.name
    return None


def _remove(folder: Path) -> None:
    """Deletes a published folder, whole or half written; leaves anything else."""
    if _foreign(folder) is not None:
        return
    plots = folder / PLOTS
    for path in [*(plots.iterdir() if plots.is_dir() else ()), *folder.iterdir()]:
        if path != plots:
            path.unlink()
    with contextlib.suppress(FileNotFoundError):
        plots.rmdir()
    folder.rmdir()


def _is(path: Path, kind: Callable[[int], bool]) -> bool:
    """Whether it is of a kind of `stat`, and no link to one."""
    return os.path.lexists(path) and kind(path.lstat().st_mode)


def claim_report(workdir: Path) -> None:
    """Takes the names of a report in a work folder; those of a person's files stay.

    A folder with a page has had a report, whose files are replaced. So the page comes
    first, and what a kill leaves is replaced as well.

    Raises:
      UserError: there is no page, and something else bears a name of a report.
    """
    files = {"report.md": None, "results.csv": None}
    refuse_foreign(workdir, PAGE, files, (PLOTS,))
    if not is_there(workdir / PAGE):
        write_text(workdir / PAGE, UNFINISHED)


def replace_block(path: Path, name: str, text: str) -> bool:
    """Replaces what stands between `<!-- begin NAME -->` and `<!-- end NAME -->`.

    Returns:
      Whether something else stood there.

    Raises:
      UserError: the file has no such pair of marks.
    """
    content = path.read_text("utf-8")
    new = with_block(content, name, text)
    if new is None:
        raise UserError(
            f"{path} has no block between <!-- begin {name} --> and <!-- end {name} "
            "-->: add both marks"
        )
    if new != content:
        write_text(path, new)
    return new != content
