"""Reading and writing JSON records; needs no JAX, so that reports can be made anywhere.

JSON has no NaN and no infinity, but a diverged loss is a result. They are written as
the strings "NaN", "Infinity" and "-Infinity", which every JSON reader accepts, and the
readers below turn exactly these strings back into floats.
"""

import itertools
import json
import math
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from cnnjax.errors import ESCAPING, UserError, near_matches, printable, remedy

_NON_FINITE = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}

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


def write_failure(path: str | os.PathLike, error: OSError) -> UserError:
    """The error for a file or folder that cannot be written, to be raised."""
    reason = error.strerror or str(error)
    files = [above for above in Path(path).parents if os.path.isfile(above)]
    if files:
        return UserError(
            f"cannot write {path}: {files[0]} is a file, not a folder; choose another "
            "folder with --workdir"
        )
    return UserError(f"cannot write {path}: {reason}; {remedy(error)}")


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
    """Like `write_json`, for any file: temporary file, fsync, rename."""
    if not is_writer():
        return
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
        try:
            with open(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            # mkstemp makes files private; results are to be read by colleagues.
            os.chmod(temporary, 0o666 & ~_umask())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise write_failure(path, error) from error


def read_json(path: str | os.PathLike, *, lenient: bool = False) -> Any:
    """Reads a file of `write_json`.

    Args:
      path: the file.
      lenient: a file that is missing or cannot be read gives None: another process may
        be writing or removing it.

    Raises:
      UserError: no such file, no permission, not JSON; never if lenient.
    """
    try:
        return from_line(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        if lenient:
            return None
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except ValueError as error:
        if lenient:
            return None
        raise UserError(
            f"{path} is not valid JSON ({error}); delete it or restore it"
        ) from error


def read_metrics(
    path: str | os.PathLike, skipped: list[int] | None = None
) -> list[dict[str, Any]]:
    """Reads the rows of a `metrics.jsonl`.

    A last line without its newline is one that a kill or a full disk cut short; it is
    left out. A missing file has no rows.

    Args:
      path: the file.
      skipped: if given, the reader is lenient: the numbers of broken lines are added
        here in place of an error, and a file that cannot be read has no rows.

    Raises:
      UserError: no permission, or a broken line that is not the last; never if lenient.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        if skipped is not None or isinstance(error, FileNotFoundError):
            return []
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    whole_lines = content[: content.rfind(b"\n") + 1].splitlines()
    rows = []
    for number, line in enumerate(whole_lines, start=1):
        try:
            rows.append(from_line(line.decode("utf-8")))
        except ValueError as error:
            if skipped is not None:
                skipped.append(number)
                continue
            raise UserError(
                f"line {number} of {path} is not valid JSON; delete that line or run "
                "the cell again"
            ) from error
    return rows


def no_run(
    workdir: str | os.PathLike, wanted: str, marks: Sequence[str], kind: str = "run"
) -> UserError:
    """The error for a folder that is not the one of a run, to be raised.

    Args:
      workdir: what was given.
      wanted: what should have written the folder, such as 'an ablation'.
      marks: files of which such a folder has at least one.
      kind: what it does not hold.

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
        f"{printable(workdir)} holds no {kind} ({why}): give the --workdir of "
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
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"
    return value


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _decoded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_decoded(item) for item in value]
    return _NON_FINITE.get(value, value) if isinstance(value, str) else value


def _umask() -> int:
    """The process's umask; the only way to read it is to set it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def replace_block(path: Path, name: str, text: str) -> None:
    """Replaces what stands between `<!-- begin NAME -->` and `<!-- end NAME -->`.

    Raises:
      UserError: the file has no such pair of marks.
    """
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    content = path.read_text("utf-8")
    if begin not in content or end not in content:
        raise UserError(
            f"{path} has no block between {begin} and {end}: add both marks"
        )
    head, rest = content.split(begin, 1)
    tail = rest.split(end, 1)[1]
    write_text(path, f"{head}{begin}\n{text.strip()}\n{end}{tail}")
