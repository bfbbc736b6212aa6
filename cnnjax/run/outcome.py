"""The outcome of a seed: failed and why, or which weights were best."""

from typing import Any

from cnnjax.run.setup import Run
from cnnjax.training.evaluate import not_finite


def in_words(evaluated: dict[str, str | None]) -> str:
    """'averaged weights, precise statistics', from `Run.evaluated`."""
    weights = "averaged" if evaluated["weights"] == "ema" else evaluated["weights"]
    if evaluated["statistics"] is None:
        return f"{weights} weights"
    return f"{weights} weights, {evaluated['statistics']} statistics"


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
