"""The moving average of weights: what it averages, and how it is evaluated.

Averaged weights need statistics of their own: those of the raw weights describe other
activations. So all collections of the net are averaged along with its parameters.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

# From this share of the initial weights on, the average is worth a warning. On
# the digits, averaged statistics are as good as re-estimated ones up to about here.
LARGE_SHARE = 0.05
FITTING_SHARE = 0.01


def start_average(params: Any, model_state: Any) -> dict[str, Any]:
    """The moving averages before the first step: copies of the initial values."""
    return jax.tree.map(np.copy, {"params": params, "model_state": model_state})


def move_average(average: Any, new: Any, decay: jax.Array) -> Any:
    """decay * average + (1 - decay) * new, leaf by leaf.

    Leaves that are not floating point, such as counters, take the new value.

    Source: torch's `AveragedModel(use_buffers=True)` and timm's `ModelEmaV3`.
    """

    def moved(old, new):
        if not jnp.issubdtype(new.dtype, jnp.inexact):
            return new
        return optax.incremental_update(new, old, 1 - decay)

    return jax.tree.map(moved, average, new)


def long_decay(decay: float, num_steps: int, statistics: str | None) -> str | None:
    """A sentence if the average still holds much of the initial weights at the end.

    Args:
      decay: `config.train.ema_decay`; 0 for no average.
      num_steps: of the whole training.
      statistics: of `statistics_used` at its end; None where the net keeps none.
    """
    share = decay**num_steps
    if share <= LARGE_SHARE:
        return None
    fitting = FITTING_SHARE ** (1 / num_steps)
    sentence = (
        f"config.train.ema_decay={decay:g} is long for {num_steps:,} steps: at the end "
        f"{100 * share:.0f}% of the moving average are the initial weights; up to "
        f"{_rounded_down(fitting)} would leave at most {100 * FITTING_SHARE:.0f}%"
    )
    if statistics == "averaged":
        sentence += ", and config.eval.statistics=precise evaluates such a one better"
    return sentence


def _rounded_down(decay: float) -> str:
    """Rounded so that 1 minus it has two digits."""
    missing = 1 - decay
    digits = 1 - int(np.floor(np.log10(missing)))
    return f"{1 - np.ceil(missing * 10**digits) / 10**digits:.{max(digits, 1)}f}"


def statistics_used(statistics: str, weights: str, *, final: bool) -> str:
    """By which statistics of batch norm an evaluation normalizes.

    Args:
      statistics: of section `eval`: 'running', 'precise' or 'batch'.
      weights: 'raw' or 'ema'.
      final: at the end of training; or during it, when the best weights are chosen.

    Returns:
      'running', 'averaged' (the moving average of the running ones), 'precise' or
      'batch'. Averaged weights are judged by precise statistics while training as well,
      if these are asked for: they differ most from the averaged ones when few steps
      were taken.
    """
    if statistics == "precise" and (final or weights == "ema"):
        return "precise"
    if statistics == "batch" and final:
        return "batch"
    return "averaged" if weights == "ema" else "running"
