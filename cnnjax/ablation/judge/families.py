"""Correction for the number of claims: of a report, and of an atlas.

One claim may be the headline: it answers the question, and is tested by itself at the
full level. The others share Holm's correction. So a wrong 'supported' or 'contradicted'
comes up in at most 5% of reports for the headline, and in at most 5% for all others
together. 'No difference beyond the margin' is corrected likewise, among the claims that
say what matters. Claims with the same numbers count once.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from cnnjax.ablation.judge.stats import EQUAL_WITHIN, holm


@dataclasses.dataclass(frozen=True)
class Evidence:
    """What the correction needs of a claim.

    Attributes:
      p: of the effect against the margin; nan if it was not tested.
      p_equal: of a difference that matters; nan if it was not tested.
      numbers: what was tested, to find claims with the same numbers: distances from the
        margin, one per seed.
      test: that decides.
      headline: whether it is tested by itself.
      supports: whether the effect is above the margin.
    """

    p: float
    p_equal: float = math.nan
    numbers: tuple[float, ...] = ()
    test: str = ""
    headline: bool = False
    supports: bool = False


def same_numbers(tested: Sequence[Evidence]) -> list[int | None]:
    """For each claim the place of the first one with the same numbers; None for new."""
    firsts: list[int] = []
    places: list[int | None] = []
    for place, claim in enumerate(tested):
        same = next((f for f in firsts if _alike(tested[f], claim)), None)
        places.append(same)
        if same is None and not math.isnan(claim.p):
            firsts.append(place)
    return places


def corrected(
    tested: Sequence[Evidence], firsts: Sequence[int | None]
) -> tuple[list[float], list[float]]:
    """Corrects the p-values of one report.

    Args:
      tested: its claims.
      firsts: of `same_numbers`.

    Returns:
      Of each claim p and p_equal; nan where it was not tested.
    """
    alone = {i for i, claim in enumerate(tested) if claim.headline}
    alone |= {i for i, first in enumerate(firsts) if first in alone}
    p = _holm_among([claim.p for claim in tested], firsts, alone)
    return p, _holm_among([claim.p_equal for claim in tested], firsts, alone)


def corrected_over_all(tested: Sequence[Evidence]) -> tuple[list[float], list[float]]:
    """As `corrected`, with no claim by itself: for those of many reports."""
    firsts = same_numbers(tested)
    p = _holm_among([claim.p for claim in tested], firsts, set())
    return p, _holm_among([claim.p_equal for claim in tested], firsts, set())


def num_tested(
    tested: Sequence[Evidence], firsts: Sequence[int | None], place: int
) -> int:
    """Claims that share the correction of one: those that were tested, each once."""
    own = firsts[place]
    if tested[place if own is None else own].headline:
        return 1
    known = zip(firsts, tested, strict=True)
    others = [c for first, c in known if first is None and not c.headline]
    return max(1, sum(not math.isnan(claim.p) for claim in others))


def _holm_among(
    p_values: Sequence[float], firsts: Sequence[int | None], alone: set[int]
) -> list[float]:
    """Corrects the claims that are not alone; those with one p and numbers once."""
    owns = [
        place if first is None or p_values[first] != p_values[place] else first
        for place, first in enumerate(firsts)
    ]
    counted = [i for i, own in enumerate(owns) if i == own and i not in alone]
    adjusted = dict(zip(counted, holm([p_values[i] for i in counted]), strict=True))
    return [adjusted.get(own, p_values[place]) for place, own in enumerate(owns)]


def _alike(first: Evidence, second: Evidence) -> bool:
    """Whether the numbers are the same up to a factor, so that p is the same."""
    if first.test != second.test or len(first.numbers) != len(second.numbers):
        return False
    a, b = np.array(first.numbers), np.array(second.numbers)
    if a.size < 2 or not a.any() or not b.any():
        return False
    a, b = a / np.linalg.norm(a), b / np.linalg.norm(b)
    return bool(min(np.abs(a - b).max(), np.abs(a + b).max()) <= EQUAL_WITHIN)
