"""Interleaved timing: every round runs each case once, so that slow drift cancels."""

import dataclasses
import sys
import time
from collections.abc import Callable, Mapping

import numpy as np


@dataclasses.dataclass(frozen=True)
class Times:
    """Seconds of each round of one case, after the warm-up."""

    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return float(np.median(self.seconds))

    def ratio_to(self, other: "Times") -> tuple[float, float, float]:
        """The ratio of times to `other`: median, first and third quartile.

        Rounds are paired, because both ran within about a second.
        """
        ratios = np.divide(self.seconds, other.seconds)
        low, middle, high = np.percentile(ratios, (25, 50, 75))
        return float(middle), float(low), float(high)


def interleave(
    cases: Mapping[str, Callable[[], object]], *, rounds: int, warm_up: int = 1
) -> dict[str, Times]:
    """Times callables that wait for their own results.

    Args:
      cases: name -> function to run once per round.
      rounds: measured rounds.
      warm_up: unmeasured rounds before them, which compile and fill caches.
    """
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    print(f"measuring {', '.join(cases)}", file=sys.stderr, flush=True)
    for _ in range(warm_up):
        for run in cases.values():
            run()
    for _ in range(rounds):
        for name, run in cases.items():
            start = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - start)
    return {name: Times(tuple(values)) for name, values in seconds.items()}
