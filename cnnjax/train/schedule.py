"""Learning rate as a function of the step."""

from collections.abc import Callable

import jax.numpy as jnp
import optax

from cnnjax.config import in_range
from cnnjax.errors import UserError, unknown_name

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

    Returns:
      step -> learning rate, traceable.

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
    if list(boundaries) != sorted(boundaries) or any(b < 0 for b in boundaries):
        raise UserError(
            f"config.schedule.boundaries {boundaries} must increase and be at least 0"
        )

    scale = {"steps": 1.0, "epochs": steps_per_epoch, "fraction": float(total_steps)}
    edges = [round(b * scale[unit]) for b in boundaries]
    warm = round(warmup * scale[unit])
    if warm >= total_steps and warm > 0:
        raise UserError(
            f"config.schedule.warmup is {warm} steps of a run of {total_steps}: "
            "the warm-up must be shorter than the run"
        )
    rest = max(total_steps - warm, 1)
    if kind == "cosine":
        alpha = final_learning_rate / learning_rate
        main = optax.cosine_decay_schedule(learning_rate, rest, alpha)
    elif kind == "linear":
        main = optax.linear_schedule(learning_rate, final_learning_rate, rest)
    else:
        main = optax.constant_schedule(learning_rate)

    def schedule(step):
        rate = main(step - warm)
        if kind == "step":
            # Boundaries count from the first step of the run, warm-up included.
            passed = sum(jnp.where(step >= edge, 1, 0) for edge in edges)
            rate = rate * jnp.power(factor, passed)
        if not warm:
            return rate
        start = warmup_learning_rate
        slope = (learning_rate - start) / warm if warmup_kind == "linear" else 0.0
        return jnp.where(step < warm, start + slope * step, rate)

    return schedule
