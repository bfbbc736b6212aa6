"""Metrics of a run, to `metrics.jsonl` and, if wanted, TensorBoard; and its cost."""

import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np

from cnnjax.records import (
    is_writer,
    read_metrics,
    to_line,
    write_failure,
    write_text,
)
from cnnjax.run.folder import RunFolder
from cnnjax.run.setup import Run
from cnnjax.training.step import METRICS

# Times of dispatches that a checkpoint keeps: enough for a median.
MOST_TIMES = 500


class Curves:
    """The rows of metrics of all seeds; process 0 writes them.

    Args:
      run: of `set_up`.
      folder: of the run.
    """

    def __init__(self, run: Run, folder: RunFolder):
        self._run, self._folder = run, folder
        self._writers: list[MetricsWriter] = []
        self._reset()

    def open(self, step: int) -> None:
        """Opens the files, without rows later than a resume point."""
        for seed in self._run.seeds if is_writer() else ():
            folder = self._folder.seed_folder(seed)
            writer = MetricsWriter(folder, self._run.log.tensorboard)
            writer.truncate_after(step)
            self._writers.append(writer)

    def add(self, rows: dict[str, Any]) -> None:
        """Adds up training metrics until the next row: (sum, count), [S, steps]."""
        for name in METRICS:
            # float64 on the host: long runs do not lose the small terms.
            self._sums[name] += np.asarray(rows[name], np.float64).sum(axis=-1)

    def write_train(self, step: int, failed: np.ndarray) -> None:
        """Writes a row of the means since the last one, of seeds that did not fail."""
        for i, writer in enumerate(self._writers):
            if failed[i]:
                continue
            mean = {
                name: float(sums[0, i] / sums[1, i])
                for name, sums in self._sums.items()
            }
            writer.write(
                self._head("train", step)
                | {
                    "loss": mean["loss"],
                    "error": 100 * mean["errors"],
                    "grad_norm": mean["grad_norm"],
                    "learning_rate": float(self._run.schedule(step - 1)),
                }
            )
        self._reset()

    def write_eval(
        self, step: int, split: str, rows: list[dict[str, Any]], failed: np.ndarray
    ) -> None:
        """Writes the evaluation of a split, one row a seed that did not fail."""
        for i, _ in enumerate(self._writers):
            if not failed[i]:
                self._write_eval(i, step, split, rows[i])

    def write_final(self, i: int, step: int, rows: dict[str, dict[str, Any]]) -> None:
        """Writes the last evaluation of seed number i, split -> row."""
        if not self._writers:
            return
        # A run killed between here and the results left some of these rows.
        old = read_metrics(self._writers[i].path)
        there = {row.get("split") for row in old if row["step"] == step}
        for split, row in rows.items():
            if row["count"] and split not in there:
                self._write_eval(i, step, split, row)

    def dump(self) -> dict[str, Any]:
        """The sums since the last row, for `load` in a later process."""
        return {name: sums.tolist() for name, sums in self._sums.items()}

    def load(self, saved: dict[str, Any]) -> None:
        """Takes the sums of an earlier process."""
        self._sums = {name: np.array(sums, float) for name, sums in saved.items()}

    def close(self) -> None:
        """Closes the files."""
        for writer in self._writers:
            writer.close()

    def _reset(self) -> None:
        self._sums = {name: np.zeros((2, len(self._run.seeds))) for name in METRICS}

    def _write_eval(self, i: int, step: int, split: str, row: dict[str, Any]) -> None:
        shown = {k: v for k, v in row.items() if k != "per_class_accuracy"}
        self._writers[i].write(self._head("eval", step) | {"split": split} | shown)

    def _head(self, kind: str, step: int) -> dict[str, Any]:
        epoch = round(step / self._run.steps_per_epoch, 6)
        return {"kind": kind, "step": step, "epoch": epoch}


class Cost:
    """What a run takes, over all processes that have trained it.

    Args:
      compile_seconds: of this process.
    """

    def __init__(self, compile_seconds: float):
        self.compile_seconds, self.run_seconds = compile_seconds, 0.0
        self._step_seconds: list[float] = []
        self._warm = False

    def add_dispatch(self, seconds: float, num_steps: int) -> None:
        """Notes the time of training steps; the first of each process is slower."""
        if self._warm:
            self._step_seconds.append(seconds / num_steps)
        self._warm = True

    def record(
        self, num_seeds: int, num_images: int, memory_bytes: int | None
    ) -> dict[str, float | None]:
        """The share of one seed, for `result.json`.

        Args:
          num_seeds: of the run.
          num_images: that were trained on, over all seeds.
          memory_bytes: as of `Programs`.
        """
        steps = self._step_seconds
        return {
            "compile_seconds": self.compile_seconds / num_seeds,
            "run_seconds": self.run_seconds / num_seeds,
            "images_per_second": num_images / max(self.run_seconds, 1e-9),
            # None where one dispatch was all.
            "step_seconds": float(np.median(steps)) / num_seeds if steps else None,
            "memory_bytes": memory_bytes,
        }

    def dump(self) -> dict[str, Any]:
        """For `load` in a later process."""
        return {
            "run_seconds": self.run_seconds,
            "compile_seconds": self.compile_seconds,
            "step_seconds": self._step_seconds[-MOST_TIMES:],
        }

    def load(self, saved: dict[str, Any]) -> None:
        """Adds what earlier processes took."""
        self.run_seconds = saved["run_seconds"]
        self.compile_seconds += saved["compile_seconds"]
        self._step_seconds = list(saved["step_seconds"])


class MetricsWriter:
    """Appends rows to `metrics.jsonl`; a kill at any moment leaves whole lines only.

    Every row is one `write` of one whole line to a file opened for appending. A line
    cut short by a crash of the machine is removed when the file is next opened.

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
