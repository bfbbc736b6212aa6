"""Learning rate as a function of the step, computed on the host.

The rates are traced: all schedules share one program.
"""

from collections.abc import Callable, Iterable

import numpy as np

from cnnjax.errors import UserError, in_range, unknown_name

KINDS = ("constant", "step", "cosine", "linear")
UNITS = ("steps", "epochs", "fraction")
WARMUPS = ("linear", "constant")


def make_schedule(
    *,
    kind: str,
    learning_rate: float,
    unit: str,
    boundaries: tuple[float, ...],
    factor: float,
    final_learning_rate: float,
    warmup: float,
    warmup_kind: str,
    warmup_learning_rate: float,
    total_steps: int,
    steps_per_epoch: float,
    cycles: int = 1,
) -> Callable:
    """Builds the schedule of section `schedule` of a config.

    Args:
      kind: 'constant'; 'step' (times `factor` at each boundary); 'cosine' or 'linear'
        (from the peak, at the end of the warm-up, to `final_learning_rate`).
      learning_rate: the peak, > 0.
      unit: of `boundaries` and `warmup`: 'steps', 'epochs' or 'fraction' of all steps.
      boundaries: increasing; for kind 'step'.
      factor: > 0; for kind 'step'.
      final_learning_rate: >= 0; for kinds 'cosine' and 'linear'.
      warmup: length of the warm-up; 0 for none.
      warmup_kind: 'linear' rises from `warmup_learning_rate`, 'constant' stays there
        (He et al. 2015, section 4.2: 0.01 for 400 steps of ResNet-110).
      warmup_learning_rate: >= 0.
      total_steps: steps of the run.
      steps_per_epoch: may be fractional.
      cycles: in how many equal parts of the run kinds 'cosine' and 'linear' fall, each
        time from the peak (Huang et al. 2017, arXiv 1704.00109, eq. 2).

    Returns:
      steps (a number or an array) -> learning rates, float64.

    Raises:
      UserError: an unknown name or a value out of range.
    """
    for key, given, allowed in (
        ("kind", kind, KINDS),
        ("unit", unit, UNITS),
        ("warmup_kind", warmup_kind, WARMUPS),
    ):
        if given not in allowed:
            raise unknown_name(
                f"schedule {key}", given, allowed, f"config.schedule.{key}"
            )
    infinity = float("inf")
    in_range("schedule.learning_rate", learning_rate, 1e-12, infinity)
    in_range("schedule.final_learning_rate", final_learning_rate, 0, infinity)
    in_range("schedule.warmup_learning_rate", warmup_learning_rate, 0, infinity)
    in_range("schedule.warmup", warmup, 0, infinity, unit)
    in_range("schedule.factor", factor, 1e-12, infinity)
    in_range("schedule.cycles", cycles, 1, max(total_steps, 1))
    if list(boundaries) != sorted(boundaries) or any(b < 0 for b in boundaries):
        raise UserError(
            f"config.schedule.boundaries {boundaries} must increase and be at least 0"
        )

    *edges, warm = in_steps((*boundaries, warmup), unit, total_steps, steps_per_epoch)
    length = total_steps / cycles
    if warm >= length and warm > 0:
        of, what = ("a run", "run") if cycles == 1 else ("a cycle", "cycle")
        raise UserError(
            f"config.schedule.warmup is {warm} steps of {of} of {length:g}: "
            f"the warm-up must be shorter than the {what}"
        )
    rest = max(total_steps - warm, 1)
    start, peak = warmup_learning_rate, float(learning_rate)
    final = final_learning_rate

    def schedule(step):
        step = np.asarray(step)
        done = np.clip((step - warm) / rest, 0.0, 1.0)  # share of the decay
        if cycles > 1:
            first = np.where(step < length, warm, 0.0)
            done = (step % length - first) / (length - first)
            done = np.where(step < total_steps, np.clip(done, 0.0, 1.0), 1.0)
        rate = np.full(step.shape, peak)
        if kind == "cosine":
            rate = final + (peak - final) * (1 + np.cos(np.pi * done)) / 2
        if kind == "linear":
            rate = peak + (final - peak) * done
        if kind == "step":
            # Boundaries count from the first step of the run, warm-up included.
            rate = peak * factor ** np.searchsorted(edges, step, side="right")
        if not warm:
            return rate
        slope = (peak - start) / warm if warmup_kind == "linear" else 0.0
        return np.where(step < warm, start + slope * step, rate)

    return schedule


def in_steps(
    values: Iterable[float], unit: str, total_steps: int, steps_per_epoch: float
) -> list[int]:
    """Whole steps of lengths in a unit of `UNITS`."""
    scale = {"steps": 1.0, "epochs": steps_per_epoch, "fraction": float(total_steps)}
    return [round(value * scale[unit]) for value in values]
