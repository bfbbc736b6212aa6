"""The outcome of a seed: failed and why, or which weights were best; and its cost."""

from typing import Any

import numpy as np

from cnnjax.run.setup import Run
from cnnjax.training.evaluate import not_finite

# Times of dispatches that a checkpoint keeps: enough for a median.
MOST_TIMES = 500


def in_words(evaluated: dict[str, str | None]) -> str:
    """'averaged weights, precise statistics', from `Run.evaluated`."""
    weights = "averaged" if evaluated["weights"] == "ema" else evaluated["weights"]
    words = [f"{weights} weights"]
    if evaluated["statistics"] is not None:
        words.append(f"{evaluated['statistics']} statistics")
    if views := evaluated.get("views"):
        words.append(f"views of each image: {views}")
    return ", ".join(words)


def record_of_best(
    run: Run, step: int, validation_error: float, test: dict[str, Any]
) -> dict[str, Any]:
    """The weights that were best on validation, as in `result.json`.

    Args:
      run: of `set_up`.
      step: when they were.
      validation_error: by the statistics that are named beside it.
      test: row of the test split, by those of the last evaluation.
    """
    return {
        "step": step,
        "validation_error": validation_error,
        "validation_statistics": run.evaluated(final=False)["statistics"],
        "test": test,
    }


def failure(
    run: Run,
    failed_at: int,
    last_good: str,
    final: dict[str, Any],
    best: dict[str, Any] | None,
) -> str | None:
    """Why a seed has failed; None if it has not.

    Args:
      run: of `set_up`.
      failed_at: step of the first loss that was not finite; below 0 for none.
      last_good: the checkpoint before it.
      final: split -> row of the last evaluation.
      best: of `record_of_best`, or None.
    """
    if failed_at >= 0:
        return (
            f"the loss became non-finite at step {failed_at}; the last good "
            f"checkpoint is {last_good}"
        )
    how = in_words(run.evaluated(final=True))
    if found := not_finite(final):
        return f"{found} in the last evaluation ({how})"
    if best is not None and (found := not_finite({"test": best["test"]})):
        return f"{found} for the best on validation ({how})"
    return None


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
