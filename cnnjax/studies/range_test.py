"""The learning-rate range test: the loss while the rate rises, and where to start.

Source: Smith 2015, arXiv 1506.01186, section 3.3. There the rate rises linearly and the
accuracy is read; here it rises by equal factors and the loss is read, and the rate is a
tenth of that of the lowest loss, as in Howard and Gugger 2020, arXiv 2002.04688.
"""

import dataclasses
import time
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict
from scipy.ndimage import gaussian_filter1d

from cnnjax.config import override
from cnnjax.errors import UserError
from cnnjax.interrupt import Stopped, StopRequest
from cnnjax.records import write_text
from cnnjax.run.programs import compile_programs
from cnnjax.run.progress import Progress
from cnnjax.run.setup import initial_state, set_up
from cnnjax.texts import csv_table

# Width of the window of the average, as a share of all steps.
WINDOW = 0.02
# A seed has diverged when its smoothed loss is so many times its least one, and above
# that at the start: small losses rise by large factors long before.
DIVERGED = 4.0
RULE = (
    "a tenth of the rate at which the smoothed loss, averaged over seeds, is lowest "
    "before any seed diverges"
)
FEWEST_STEPS = 20


@dataclasses.dataclass(frozen=True)
class Curve:
    """The losses of a range test.

    Attributes:
      rates: [steps], rising by equal factors.
      losses: of training batches, [S, steps]; nan from where a seed has diverged.
      smoothed: [S, steps], see `smooth`.
    """

    rates: np.ndarray
    losses: np.ndarray
    smoothed: np.ndarray


@dataclasses.dataclass(frozen=True)
class Suggestion:
    """What is read off a curve.

    Attributes:
      rate: the suggested rate, by `RULE`; None where the curve shows none.
      lowest: where the averaged loss is lowest.
      note: what limits it; '' for nothing.
    """

    rate: float | None
    lowest: float
    note: str


def run_range_test(
    config: ConfigDict, lowest: float, highest: float, steps: int, stop: StopRequest
) -> Curve:
    """Trains all seeds of a config from the start while the rate rises.

    Args:
      config: of a run; its schedule and budget do not matter.
      lowest: first rate, > 0.
      highest: last rate.
      steps: how many.
      stop: asked for between calls of the program.

    Raises:
      UserError: bad rates or steps, or a config that cannot be trained.
      Stopped: by a signal.
    """
    check_rates(lowest, highest, steps)
    config = config.copy_and_resolve_references()
    changes = {"train.steps": steps, "train.epochs": 0.0, "eval.keep_best": False}
    override(config, changes)
    rates = np.geomspace(lowest, highest, steps)
    run = dataclasses.replace(
        set_up(config), schedule=lambda step: rates[np.minimum(step, steps - 1)]
    )
    name = f"{config.model.name}, rates {lowest:g} to {highest:g}"
    with Progress({name: run.load()}) as progress:
        shown = progress.start_run(name, steps)
        start = initial_state(run)
        programs = compile_programs(run, start)
        state, rows = run.parallel.put(start), []
        try:
            for step in range(0, steps, programs.max_steps):
                if stop:
                    raise Stopped(name)
                num = min(programs.max_steps, steps - step)
                then = min(programs.max_steps, steps - step - num)
                began = time.perf_counter()
                state, row = programs.advance(state, step, num, then)
                loss_sum, count = row["loss"]
                rows.append(loss_sum / count)
                pace = float(count.sum()) / (time.perf_counter() - began)
                shown.update(step + num, {"loss": float(rows[-1][:, -1].mean())}, pace)
        finally:
            programs.close()
        shown.end("done")
    losses = _until_diverged(np.concatenate(rows, axis=1))
    return Curve(rates, losses, smooth(losses))


def check_rates(lowest: float, highest: float, steps: int) -> None:
    """Refuses rates and steps that make no range test, with a UserError."""
    if not 0 < lowest < highest < float("inf"):
        raise UserError(
            f"the rates are to rise from {lowest:g} to {highest:g}: give --lowest "
            "above 0 and --highest above it"
        )
    if steps < FEWEST_STEPS:
        raise UserError(f"--steps is {steps}: give at least {FEWEST_STEPS}")


def smooth(losses: np.ndarray) -> np.ndarray:
    """Average over the steps around each one, by a Gaussian window.

    A running mean over the steps before would move the curve towards higher rates.

    Shapes: [S, steps] -> [S, steps]; nan, from where on all is nan, stays nan and is no
    part of an average.
    """
    width = max(1.0, WINDOW * losses.shape[1])
    known = np.isfinite(losses)

    def summed(values: np.ndarray) -> np.ndarray:
        # Beyond 8 widths the weight is below 1e-13; a matrix of all pairs of steps
        # would take gigabytes.
        values = values.astype(np.float64)
        return gaussian_filter1d(values, width, mode="constant", truncate=8.0)

    with np.errstate(invalid="ignore"):  # where nothing is known
        mean = summed(np.where(known, losses, 0)) / summed(known)
    return np.where(known, mean, np.nan)


def _until_diverged(losses: np.ndarray) -> np.ndarray:
    """With nan from where a seed has diverged."""
    finite = np.logical_and.accumulate(np.isfinite(losses), axis=1)
    smoothed = smooth(np.where(finite, losses, np.nan))
    most = np.fmax(DIVERGED * np.fmin.accumulate(smoothed, axis=1), smoothed[:, :1])
    kept = finite & (np.nan_to_num(smoothed) <= np.nan_to_num(most))
    return np.where(np.logical_and.accumulate(kept, axis=1), losses, np.nan)


def suggest(curve: Curve) -> Suggestion:
    """Reads a rate off a curve by `RULE`."""
    mean = curve.smoothed.mean(axis=0)  # nan from where any seed has diverged
    known = np.flatnonzero(np.isfinite(mean))
    if len(known) < FEWEST_STEPS // 2:
        rate = curve.rates[known[-1]] if len(known) else curve.rates[0]
        return Suggestion(
            None, float(rate), "it diverges at once: lower --lowest and try again"
        )
    at = int(known[np.argmin(mean[known])])
    lowest = float(curve.rates[at])
    if at == 0 or mean[0] - mean[at] < 0.05 * mean[0]:
        why = "the loss hardly falls: raise --highest or --steps, or check the data"
        if len(known) < len(curve.rates):  # higher rates show nothing
            why = (
                "the loss hardly falls before a seed diverges at "
                f"{curve.rates[known[-1]]:.2g}: lower --lowest, raise --steps, or "
                "check the data"
            )
        return Suggestion(None, lowest, why)
    notes = []
    if at == len(curve.rates) - 1:
        notes.append("the loss still falls at the highest rate: raise --highest")
    if lowest / 10 < curve.rates[0]:
        notes.append(
            f"that is below all rates that were tested ({curve.rates[0]:.2g} and "
            "above): lower --lowest to see it"
        )
    return Suggestion(lowest / 10, lowest, "; ".join(notes))


def write_csv(curve: Curve, seeds: tuple[int, ...], path: Path) -> None:
    """One line per step: the rate, the loss and the smoothed loss of each seed."""
    header = ["learning_rate"]
    header += [f"{what} of seed {s}" for what in ("loss", "smoothed") for s in seeds]
    rows = [
        [f"{rate:.6g}", *(_number(v) for v in (*of_step, *smoothed))]
        for rate, of_step, smoothed in zip(
            curve.rates, curve.losses.T, curve.smoothed.T, strict=True
        )
    ]
    write_text(path, csv_table([header, *rows]))


def _number(value: float) -> str:
    return f"{value:.6g}" if np.isfinite(value) else ""
