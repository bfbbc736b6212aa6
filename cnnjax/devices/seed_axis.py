"""How the seeds of a run share a device."""

from collections.abc import Callable

import jax
from jax import lax


def choose_seed_mode(mode: str) -> str:
    """'loop' (one after another) or 'vmap' (vectorised).

    On CPU vectorised convolutions become grouped ones and are slow.
    """
    if mode != "auto":
        return mode
    return "loop" if jax.default_backend() == "cpu" else "vmap"


def over_seeds(function: Callable, mapped: tuple[bool, ...], mode: str) -> Callable:
    """Runs a function of one seed for every entry of the leading axis.

    Args:
      function: takes len(mapped) arguments.
      mapped: which of them have a leading seed axis; others are shared.
      mode: 'auto', 'loop' or 'vmap'.

    Returns:
      The function of stacked arguments, with stacked results.
    """
    if choose_seed_mode(mode) == "vmap":
        return jax.vmap(function, in_axes=tuple(0 if m else None for m in mapped))

    def looped(*args):
        def of_one_seed(values):
            left = iter(values)
            pairs = zip(mapped, args, strict=True)
            return function(*(next(left) if m else arg for m, arg in pairs))

        return lax.map(of_one_seed, [a for m, a in zip(mapped, args, strict=True) if m])

    return looped
