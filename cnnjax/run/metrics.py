"""Where the metrics of a seed go: `metrics.jsonl` and, if wanted, TensorBoard."""

import math
import os
import time
from pathlib import Path
from typing import Any

from cnnjax.records import read_metrics, to_line, write_failure, write_text


class MetricsWriter:
    """Appends rows to `metrics.jsonl`, of which a kill can cut the last one only.

    Every row is one `write` of one whole line to a file opened for appending; the
    kernel ends the write of a killed process at the border of a page. Readers leave
    out a line without its newline, and the next writer removes it.

    Args:
      directory: the folder of one run and seed; created if missing.
      tensorboard: also write event files there (scalars only).

    Raises:
      UserError: no permission, disk full.
    """

    def __init__(self, directory: str | os.PathLike, tensorboard: bool):
        self.path = Path(directory) / "metrics.jsonl"
        self._tensorboard = tensorboard
        self._events: Any = None  # made for the first row
        self._purge_step: int | None = None
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self._file: Any = _open_repaired(self.path)  # None once closed
        except OSError as error:
            raise write_failure(self.path, error) from error

    def __enter__(self) -> "MetricsWriter":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def write(self, row: dict[str, Any]) -> None:
        """Appends one row; it must have a 'step' (see `docs/design.md` for the rest).

        Raises:
          UserError: disk full; what was written before stays whole.
        """
        line = f"{to_line(row)}\n".encode()
        size = os.fstat(self._file).st_size
        try:
            while line:
                line = line[os.write(self._file, line) :]
        except OSError as error:
            if os.fstat(self._file).st_size > size:
                os.ftruncate(self._file, size)
            raise write_failure(self.path, error) from error
        if self._tensorboard:
            self._write_events(row)

    def truncate_after(self, step: int) -> None:
        """Drops rows later than a resume point; call it before the first `write`."""
        rows = read_metrics(self.path)
        kept = [row for row in rows if row["step"] <= step]
        self._purge_step = step + 1
        if len(kept) < len(rows):
            write_text(self.path, "".join(f"{to_line(row)}\n" for row in kept))
            os.close(self._file)
            self._file = _open_repaired(self.path)

    def close(self) -> None:
        """Closes the files; a second call does nothing."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
        if self._events is not None:
            self._events.close()
            self._events = None

    def _write_events(self, row: dict[str, Any]) -> None:
        if self._events is None:
            # Imported late: it takes a second, and most runs do without.
            from tensorboardX import SummaryWriter

            # TensorBoard hides the events that a killed run wrote beyond `purge_step`.
            # File names are by the second: without the suffix a quick restart would
            # overwrite the file of the run before it.
            self._events = SummaryWriter(
                logdir=str(self.path.parent),
                purge_step=self._purge_step,
                filename_suffix=f".{time.time_ns()}",
                flush_secs=1,
            )
        group = event_group(row)
        for name, value in row.items():
            number = value.item() if hasattr(value, "item") else value
            if name not in ("step", "epoch") and _is_finite_number(number):
                self._events.add_scalar(f"{group}/{name}", number, row["step"])


def event_group(row: dict[str, Any]) -> str:
    """The part of a TensorBoard tag before the slash.

    'train' is what training itself sees, augmented and while the weights move;
    'train_eval', 'validation' and 'test' are evaluations of a whole split. One tag
    never has two meanings: its curve would jump where they meet.
    """
    split = row.get("split", "train")
    return "train_eval" if row.get("kind") == "eval" and split == "train" else split


def _open_repaired(path: Path) -> int:
    """Opens for appending, after cutting off a last line that has no newline."""
    file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
    content = os.pread(file, os.fstat(file).st_size, 0)
    if content and not content.endswith(b"\n"):
        os.ftruncate(file, content.rfind(b"\n") + 1)
    return file


def _is_finite_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
