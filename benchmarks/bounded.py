"""Measures in a process of its own, which is ended when its time is over.

What it has measured until then is kept: it writes each row as a line of JSON, and the
rows are handed on as they come. A process of its own also gives the memory of its
device back, which JAX otherwise keeps.
"""

import contextlib
import dataclasses
import math
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.rows import Row
from cnnjax.errors import printable
from cnnjax.records import from_line, to_line

LOOK_SECONDS = 0.2


def not_measured(case: str, why: str) -> Row:
    """A row that says why it has no numbers."""
    return Row(case, "", math.nan, "", note=f"not measured: {why}")


def write_row(path: Path, row: Row) -> None:
    """Adds a row to the file of a measuring process."""
    with open(path, "a") as file:
        file.write(to_line(dataclasses.asdict(row)) + "\n")


def rows_of_process(
    case: str, command: Sequence[str], path: Path, seconds: float, folder: Path
) -> Iterator[Row]:
    """The rows of a process, as it writes them.

    Args:
      case: what is measured, for the row that says why nothing was.
      command: of the process; it calls `write_row` with `path`.
      path: of its rows; its messages lie beside it, with suffix .log.
      folder: in which it runs.
      seconds: after which it is killed, with all processes that it has started.
    """
    deadline = time.monotonic() + seconds
    log, num_read, why = path.with_suffix(".log"), 0, ""
    with open(log, "wb") as messages:
        process = subprocess.Popen(
            command,
            stdout=messages,
            stderr=messages,
            cwd=folder,
            start_new_session=True,
        )
    try:
        while True:
            ended = process.poll() is not None
            for row in _rows(path)[num_read:]:
                num_read += 1
                yield row
            if ended:
                break
            if time.monotonic() > deadline:
                why = f"over its time of {seconds:.0f} s"
                break
            time.sleep(LOOK_SECONDS)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if not why and process.returncode:
        why = _last_line(log) or f"exit code {process.returncode}"
    if why:
        yield not_measured(case if not num_read else f"{case}, the rest", why)


def _rows(path: Path) -> list[Row]:
    """The whole lines of the file."""
    if not path.exists():
        return []
    lines = path.read_text().split("\n")[:-1]
    return [Row(**from_line(line)) for line in lines]


def _last_line(log: Path) -> str:
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    return printable(lines[-1].strip()[:300]) if lines else ""
