"""Reading and writing JSON records; needs no JAX, so that reports can be made anywhere.

JSON has no NaN and no infinity, but a diverged loss is a result. They are written as
the strings "NaN", "Infinity" and "-Infinity", which every JSON reader accepts, and the
readers below turn exactly these strings back into floats. Where a record must have a
text, its kind gives the string again: a class may be named NaN.
"""

import itertools
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnjax.errors import (
    ESCAPING,
    OF_MACHINE,
    UserError,
    near_matches,
    printable,
    remedy,
)
from cnnjax.files import UnfitFile, read_regular, write_failure, write_whole
from cnnjax.record_kinds import METRICS_ROW
from cnnjax.schema import HOLE, NON_FINITE, Kind, text_again

# No record is larger: the mean of large images, or the rows of a million evaluations.
MOST_BYTES = 256 * 2**20
MOST_NAMED = 8  # lines that cannot be read
PUBLISHED = "records.jsonl"  # of all runs of a published report; see `judge/published`

_is_writer = True


def is_writer() -> bool:
    """Whether this process writes files and prints: of several, process 0.

    The functions below that write do nothing in the other processes; whatever else
    writes into the folder of a run asks this.
    """
    return _is_writer


def only_read() -> None:
    """From here on this process writes nothing, because process 0 writes the same."""
    global _is_writer
    _is_writer = False


def to_line(value: Any) -> str:
    """One line of legal JSON, without the newline; array scalars become numbers."""
    return json.dumps(_encoded(value), allow_nan=False)


def from_line(line: str) -> Any:
    """The value written by `to_line`."""
    value = json.loads(line)
    # Most lines hold no non-finite number; walking every value would cost more than
    # parsing it.
    return _decoded(value) if '"NaN"' in line or 'Infinity"' in line else value


def write_json(path: str | os.PathLike, value: Any) -> None:
    """Writes a file that is, at any moment and after any kill, the old or the new one.

    Args:
      path: the file; its folder is created if missing.
      value: dicts, lists, strings, numbers (also NaN, infinity and array scalars).

    Raises:
      UserError: no permission, disk full.
    """
    text = json.dumps(_encoded(value), allow_nan=False, indent=2) + "\n"
    write_text(path, text)


def write_text(path: str | os.PathLike, text: str) -> None:
    """Like `write_json`, for text; what UTF-8 cannot write is escaped."""
    write_bytes(path, text.encode("utf-8", ESCAPING))


def write_bytes(path: str | os.PathLike, content: bytes) -> None:
    """Like `write_json`, for any file; see `files.write_whole`."""
    if not is_writer():
        return
    try:
        write_whole(Path(path), content)
    except OSError as error:
        raise write_failure(path, error) from error


def is_there(path: str | os.PathLike) -> bool:
    """Whether anything stands at a path, if only a link to something.

    Raises:
      UserError: the system does not tell, which is not the same as that it is missing.
    """
    try:
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError as error:
        raise unreadable(path, error) from error
    return True


def unreadable(path: str | os.PathLike, error: OSError) -> UserError:
    """The error for a file that the system does not let be read, to be raised."""
    reason = error.strerror or str(error)
    do = f"; {remedy(error)}" if error.errno in OF_MACHINE else ""
    return UserError(f"cannot read {printable(path)}: {reason}{do}")


def read_json(path: str | os.PathLike, *, lenient: bool = False) -> Any:
    """Reads a file of `write_json`; `read_record` checks what is in it as well.

    Args:
      path: the file.
      lenient: a file that is missing or cannot be read gives None: another process may
        be writing or removing it.

    Raises:
      UserError: no such file, no permission, not JSON; never if lenient.
    """
    try:
        return _parsed(path)
    except UserError:
        if lenient:
            return None
        raise


def read_record(path: str | os.PathLike, kind: Kind, what: str = "--workdir") -> Any:
    """Reads a record that must be whole.

    Args:
      path: the file.
      kind: one of `record_kinds`.
      what: what may be given in its place, for the message.

    Raises:
      UserError: there is none, it cannot be read, or it has anything that does not fit
        the kind.
    """
    flaws: list[str] = []
    found = kind.sift(_parsed(path, what), "", flaws)
    if flaws:
        raise UserError(
            f"{printable(path)} is not what a run wrote ({_several(flaws)}): restore "
            f"it, move it away, or give another {what}"
        )
    return found


def sift_record(
    path: str | os.PathLike, kind: Kind
) -> tuple[dict[str, Any] | None, str]:
    """Reads what can be used of a record; never raises.

    Args:
      path: the file.
      kind: an object of `record_kinds`.

    Returns:
      What is left, None if there is no file or nothing fits; and what is wrong with the
      file, to stand behind its name: 'cannot be read (Permission denied)', or ''.
    """
    flaws: list[str] = []
    try:
        if not is_there(path):
            return None, ""
        found = kind.sift(_parsed(path), "", flaws)
    except UserError as error:
        return None, _wrong_with(error)
    wrong = f"holds what no run writes ({_several(flaws)})" if flaws else ""
    return (None if found is HOLE else found), wrong


def _parsed(path: str | os.PathLike, what: str = "--workdir") -> Any:
    try:
        return from_line(read_regular(path, MOST_BYTES).decode("utf-8"))
    except OSError as error:
        raise unreadable(path, error) from error
    except (ValueError, RecursionError) as error:
        raise UserError(
            f"{printable(path)} is not valid JSON ({error}); delete it or restore it, "
            f"or give another {what}"
        ) from error


def _wrong_with(error: UserError) -> str:
    """An error of reading in words without the path, for reports that others read."""
    cause = error.__cause__
    if isinstance(cause, OSError):
        return f"cannot be read ({cause.strerror or cause})"
    if isinstance(error, UnfitFile):
        return f"cannot be read (it {error.reason})"
    return "cannot be read (it is not valid JSON)"


def _several(flaws: Sequence[str]) -> str:
    more = len(flaws) - 1
    return flaws[0] + (f"; and {more} more" if more else "")


def read_metrics(path: str | os.PathLike) -> list[dict[str, Any]]:
    """Reads the rows of a `metrics.jsonl`.

    A last line without its newline is one that a kill or a full disk cut short; it is
    left out. A missing file has no rows.

    Raises:
      UserError: it cannot be read, or a line that is not the last is broken or holds
        what it cannot.
    """
    rows, flaws = _rows(path)
    for number, flaw in flaws.items():
        raise UserError(
            f"line {number} of {printable(path)} is not what a run wrote ({flaw}): "
            "delete that line or run the cell again"
        )
    return rows


def sift_metrics(path: str | os.PathLike) -> tuple[list[dict[str, Any]], str]:
    """Reads the rows of a `metrics.jsonl` that can be used; never raises.

    Returns:
      The rows, and what is wrong with the file, as of `sift_record`.
    """
    try:
        rows, flaws = _rows(path)
    except UserError as error:
        return [], _wrong_with(error)
    if not flaws:
        return rows, ""
    numbers = [str(number) for number in flaws]
    more = f" and {len(numbers) - MOST_NAMED} more" * (len(numbers) > MOST_NAMED)
    return rows, (
        f"has unreadable lines, which are skipped: {', '.join(numbers[:MOST_NAMED])}"
        f"{more}"
    )


def _rows(path: str | os.PathLike) -> tuple[list[dict[str, Any]], dict[int, str]]:
    """The rows that fit, and number of the line -> flaw of those that do not."""
    if not is_there(path):
        return [], {}
    try:
        content = read_regular(path, MOST_BYTES)
    except OSError as error:
        raise unreadable(path, error) from error
    rows: list[dict[str, Any]] = []
    flaws: dict[int, str] = {}
    whole_lines = content[: content.rfind(b"\n") + 1].split(b"\n")[:-1]
    for number, line in enumerate(whole_lines, start=1):
        found: list[str] = []
        try:
            row = METRICS_ROW.sift(from_line(line.decode("utf-8")), "", found)
        except (ValueError, RecursionError):
            found = ["it is not valid JSON"]
        if found:
            flaws[number] = _several(found)
        else:
            rows.append(row)
    return rows, flaws


def refuse_foreign(
    folder: Path, mark: str, files: Mapping[str, Kind | None], folders: Iterable[str]
) -> None:
    """Refuses a folder that is not ours yet and holds what would be replaced.

    Args:
      folder: where something is about to be written; it may be missing.
      mark: the file that a folder of ours has.
      files: name -> what it holds if we wrote it; None where that does not show.
      folders: names of those that are written into; an empty one does no harm.

    Raises:
      UserError: there is such a file or folder, no `mark`, and no provenance of ours.
    """
    # Others may look while process 0 already writes there.
    if not is_writer() or is_there(folder / mark):
        return
    there = {name: kind for name, kind in files.items() if is_there(folder / name)}
    ours = {n for n, kind in there.items() if kind and sift_record(folder / n, kind)[0]}
    # Runs that are taken from a published report get their provenance first.
    if "provenance.json" in ours:
        return
    into = [n for n in folders if is_there(folder / n) and not _is_empty(folder / n)]
    for name in [name for name in there if name not in ours] + into:
        raise UserError(
            f"{printable(folder)} has a {name} that no run wrote (there is no {mark}), "
            "and it would be replaced or changed: move it away, or give another "
            "--workdir"
        )


def _is_empty(folder: Path) -> bool:
    try:
        return not any(folder.iterdir())
    except OSError:  # such as of a file
        return False


def refuse_published(folder: Path) -> None:
    """Refuses a published report where the folder of its runs is wanted.

    It has a plan as well, and what is written there would replace what was published.

    Raises:
      UserError: it is one.
    """
    if is_there(folder / PUBLISHED):
        raise UserError(
            f"{printable(folder)} is a published report ({PUBLISHED}), not a folder of "
            "runs: give it as --from to report or as --resume_from to ablate, or give "
            "another --workdir"
        )


def no_run(
    workdir: str | os.PathLike,
    wanted: str,
    marks: Sequence[str],
    kind: str = "run",
    what: str = "--workdir",
) -> UserError:
    """The error for a folder that is not the one of a run, to be raised.

    Args:
      workdir: what was given.
      wanted: what should have written the folder, such as 'an ablation'.
      marks: files of which such a folder has at least one.
      kind: what it does not hold.
      what: what is to be given: the flag, or 'folder' where several flags take one.

    Returns:
      The error, with what is there instead and with such folders nearby.
    """
    folder = Path(workdir)
    why = (
        f"no {' or '.join(marks)}"
        if len(marks) == 1
        else f"neither {' nor '.join(marks)}"
    )
    if os.path.isfile(folder):
        why = "it is a file"
    elif not os.path.isdir(folder):
        seen = "" if folder.is_absolute() else f" seen from {os.getcwd()}"
        why = f"there is no such folder{seen}"
    near = list(itertools.islice(_marked_folders(folder, marks), 3))
    hint = f", such as {' or '.join(map(printable, near))}" if near else ""
    return UserError(
        f"{printable(workdir)} holds no {kind} ({why}): give the {what} of "
        f"{wanted}{hint}"
    )


def _marked_folders(folder: Path, marks: Sequence[str]) -> Iterator[Path]:
    """Folders with one of some files: above and below one, or of a like name."""
    if os.path.isdir(folder):
        below = (folder.glob(pattern) for pattern in ("*", "*/*"))
        around = [folder.parent, *(p for some in below for p in sorted(_few(some)))]
    else:
        beside = _few(folder.parent.glob("*")) if os.path.isdir(folder.parent) else []
        names = near_matches(folder.name, [path.name for path in beside])
        around = [folder.parent / name for name in names]
    for path in around:
        if any(os.path.isfile(path / mark) for mark in marks):
            yield path


def _few(paths: Iterable[Path]) -> list[Path]:
    """At most a thousand: a home folder may hold any number."""
    return list(itertools.islice(paths, 1000))


def _encoded(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _encoded(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_encoded(item) for item in value]
    if hasattr(value, "tolist"):  # NumPy and JAX arrays and scalars
        return _encoded(value.tolist())
    return text_again(value)


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _decoded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return NON_FINITE.get(value, value) if isinstance(value, str) else value
