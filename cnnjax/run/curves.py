"""The rows of metrics of a run while it trains."""

from collections.abc import Callable
from typing import Any

import numpy as np

from cnnjax.records import is_writer, read_metrics
from cnnjax.run.folder import RunFolder
from cnnjax.run.metrics import MetricsWriter
from cnnjax.run.setup import Run
from cnnjax.training.step import METRICS


class Curves:
    """The rows of metrics of all seeds; process 0 writes them.

    A seed whose result is there keeps its rows: it is trained again only because the
    seeds beside it are, and gives the same.

    Args:
      run: of `set_up`.
      folder: of the run.
      warn: called with a sentence for the user.
    """

    def __init__(self, run: Run, folder: RunFolder, warn: Callable[[str], None]):
        self._run, self._folder, self._warn = run, folder, warn
        self._writers: list[MetricsWriter | None] = []
        self._reset()

    def open(self, step: int) -> None:
        """Opens the files, without rows later than a resume point."""
        for seed in self._run.seeds if is_writer() else ():
            if self._folder.has_result(seed):
                self._writers.append(None)
                continue
            folder = self._folder.seed_folder(seed)
            tensorboard = self._run.log.tensorboard
            writer = MetricsWriter(folder, tensorboard, self._stop_events)
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
            if writer is None or failed[i]:
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
        for i, writer in enumerate(self._writers):
            if writer is not None and not failed[i]:
                self._write_eval(writer, step, split, rows[i])

    def write_final(self, i: int, step: int, rows: dict[str, dict[str, Any]]) -> None:
        """Writes the last evaluation of seed number i, split -> row."""
        writer = self._writers[i] if self._writers else None
        if writer is None:
            return
        # A run killed between here and the results left some of these rows.
        old = read_metrics(writer.path)
        there = {row.get("split") for row in old if row["step"] == step}
        for split, row in rows.items():
            if row["count"] and split not in there:
                self._write_eval(writer, step, split, row)

    def dump(self) -> dict[str, Any]:
        """The sums since the last row, for `load` in a later process."""
        return {name: sums.tolist() for name, sums in self._sums.items()}

    def load(self, saved: dict[str, Any]) -> None:
        """Takes the sums of an earlier process."""
        self._sums = {name: np.array(sums, float) for name, sums in saved.items()}

    def close(self) -> None:
        """Closes the files."""
        for writer in filter(None, self._writers):
            writer.close()

    def _stop_events(self, sentence: str) -> None:
        """One warning: where one seed can write no events, none does any more."""
        for writer in filter(None, self._writers):
            writer.drop_events()
        self._warn(sentence)

    def _reset(self) -> None:
        self._sums = {name: np.zeros((2, len(self._run.seeds))) for name in METRICS}

    def _write_eval(
        self, writer: MetricsWriter, step: int, split: str, row: dict[str, Any]
    ) -> None:
        shown = {k: v for k, v in row.items() if k != "per_class_accuracy"}
        writer.write(self._head("eval", step) | {"split": split} | shown)

    def _head(self, kind: str, step: int) -> dict[str, Any]:
        epoch = round(step / self._run.steps_per_epoch, 6)
        return {"kind": kind, "step": step, "epoch": epoch}
