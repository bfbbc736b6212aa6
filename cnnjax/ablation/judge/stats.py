"""Statistics over seeds: intervals, paired contrasts, correction.

All functions take plain numbers. A contrast is paired: the runs of one seed share data
order and augmentation in all arms, so their values are combined first, and one number
per seed is tested.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from cnnjax.ablation.define.claim import SIGN_FLIP, WILCOXON, T
from cnnjax.ablation.judge.one_sample import (
    EQUAL_WITHIN,
    AnytimeSigns,
    AnytimeT,
    OneSample,
    SignFlip,
    TTest,
    Wilcoxon,
)
from cnnjax.ablation.judge.power import least_seeds, smallest_detectable

ALPHA = 0.05  # two-sided, over the claims of a report


@dataclasses.dataclass(frozen=True)
class Summary:
    """Mean over seeds; sd and interval are nan for fewer than two seeds.

    Attributes:
      n: number of seeds.
      mean: their mean.
      sd: sample standard deviation (divided by n - 1).
      low: lower end of the 95% t interval of the mean.
      high: upper end.
    """

    n: int
    mean: float
    sd: float
    low: float
    high: float

    @property
    def half_width(self) -> float:
        """Half the length of the interval."""
        return (self.high - self.low) / 2


@dataclasses.dataclass(frozen=True)
class Contrast:
    """One paired contrast against a margin.

    Attributes:
      n: number of seeds.
      effect: where the per-seed contrasts lie, in the unit of the metric: their mean,
        or what belongs to the test.
      sd: their sample standard deviation.
      low: lower end of the 95% interval of the effect, not corrected for the number
        of claims; it has the margins whose p is at least 0.05.
      high: upper end.
      p: two-sided p-value of effect = margin, by the test that decides.
      permutation_p: two-sided sign-flip p-value of the same; nan where n was chosen
        while looking at results, or the runs are folds.
      permutation_floor: the smallest value that permutation_p can take at this n.
      effect_size: d_z = (effect - margin) / sd; nan where sd is zero.
      detectable: distance from the margin that a test at level `alpha` detects with
        80% power, given this n and this sd.
      no_spread: whether all seeds agree: signs alone then decide.
      test: that decides.
      p_equal: p-value of an effect that matters, small where there is none; nan where
        it is not said what matters.
    """

    n: int
    effect: float
    sd: float
    low: float
    high: float
    p: float
    permutation_p: float
    permutation_floor: float
    effect_size: float
    detectable: float
    no_spread: bool
    test: str = T
    p_equal: float = math.nan


def summarize(values: Sequence[float], confidence: float = 1 - ALPHA) -> Summary:
    """Mean, standard deviation and t interval; nan for what n does not allow."""
    x = np.asarray(values, dtype=float)
    if x.size == 0:
        return Summary(0, math.nan, math.nan, math.nan, math.nan)
    mean = float(x.mean())
    if x.size == 1:
        return Summary(1, mean, math.nan, math.nan, math.nan)
    sd = 0.0 if all_equal(x) else float(x.std(ddof=1))
    low, high = TTest(mean, sd / math.sqrt(x.size), x.size).interval(1 - confidence)
    return Summary(x.size, mean, sd, low, high)


def combine_by_seed(
    values: Mapping[str, Mapping[Any, float]], coefficients: Mapping[str, float]
) -> tuple[tuple[Any, ...], np.ndarray]:
    """Computes the contrast of each seed, or of each fold.

    Seeds on one fold share its images, so they are averaged and count as one.

    Args:
      values: arm -> seed, or (fold, seed) -> value.
      coefficients: arm -> coefficient.

    Returns:
      The seeds or folds that every arm of the contrast has, in order, and one number
      for each.
    """
    shared = set.intersection(*(set(values.get(arm, ())) for arm in coefficients))
    groups: dict[Any, list[float]] = {}
    for key in sorted(shared):
        one = sum(c * values[arm][key] for arm, c in coefficients.items())
        groups.setdefault(key[0] if isinstance(key, tuple) else key, []).append(one)
    means = [sum(group) / len(group) for group in groups.values()]
    return tuple(groups), np.asarray(means, dtype=float)


def paired_contrast(
    differences: ArrayLike,
    margin: float = 0.0,
    resolution: float = 0.0,
    alpha: float = ALPHA,
    *,
    test: str = T,
    matters: float | None = None,
    anytime: bool = False,
    overlap: float = 0.0,
) -> Contrast:
    """Tests whether per-seed contrasts lie at a margin.

    If all seeds agree, the t test is undefined and no spread is made up for it: signs
    decide, by the sign-flip test or, while seeds are added, by `sequential`. An error
    rate changes in steps of one example; the interval then is that of rounding to such
    steps, with a standard deviation of resolution / sqrt(12).

    Args:
      differences: one finite number per seed or fold, two or more.
      margin: the value tested against, in the unit of the differences.
      resolution: step of the differences, used only when they are all equal.
      alpha: level of the test for which the detectable effect is computed.
      test: 't', 'sign_flip' or 'wilcoxon'; folds take 't' only.
      matters: smallest distance from the margin that matters; None if none is said.
      anytime: whether the number of seeds was chosen while looking at results; p and
        interval are then those of `sequential`.
      overlap: test images per training image in cross-validation. The training sets
        share images, so the differences are correlated: the variance of their mean is
        (1 / n + overlap) times their own, Nadeau and Bengio 2003, "Inference for the
        generalization error", section 3; for repeated folds Bouckaert and Frank 2004.
        0 for independent runs.

    Returns:
      The contrast.

    Raises:
      ValueError: for fewer than two or for non-finite differences.
    """
    x = np.asarray(differences, dtype=float)
    if x.size < 2 or not np.isfinite(x).all():
        raise ValueError(f"a contrast needs two or more finite differences, got {x}")
    n, no_spread = x.size, all_equal(x)
    sd = resolution / math.sqrt(12) if no_spread else float(x.std(ddof=1))
    error = sd * math.sqrt(1 / n + overlap)
    decides = chosen(x, test, error, anytime, bool(overlap))
    rounding = TTest(float(x.mean()), error, n)
    low, high = (rounding if no_spread else decides).interval(ALPHA)
    used = T if overlap else test
    flips = SignFlip(x) if not anytime and not overlap else None
    distance = decides.center - margin
    return Contrast(
        n=n,
        effect=decides.center,
        sd=sd,
        low=low,
        high=high,
        p=decides.p(margin),
        # It assumes a fixed n and independent runs.
        permutation_p=flips.p(margin) if flips else math.nan,
        permutation_floor=flips.floor if flips else math.nan,
        effect_size=math.nan if no_spread else distance / sd,
        detectable=_detectable(n, error, alpha, used, anytime, no_spread),
        no_spread=no_spread,
        test=used,
        p_equal=math.nan
        if matters is None
        else decides.p_inside(margin - matters, margin + matters),
    )


def _detectable(
    n: int, error: float, alpha: float, test: str, anytime: bool, no_spread: bool
) -> float:
    """By the t test, and none where so few seeds can never decide."""
    if not no_spread and n < least_seeds(alpha, test, anytime):
        return math.inf
    return smallest_detectable(n, error * math.sqrt(n), alpha, anytime=anytime)


def chosen(
    x: np.ndarray, test: str, error: float, anytime: bool, folds: bool
) -> OneSample:
    """The test that decides; where all seeds agree, that of their signs.

    Args:
      x: differences.
      test: 't', 'sign_flip' or 'wilcoxon'.
      error: standard error of their mean.
      anytime: whether results decided how many there are.
      folds: whether they are of folds.
    """
    no_spread = all_equal(x)
    if anytime:
        by_signs = no_spread or test != T
        return AnytimeSigns(x) if by_signs else AnytimeT(float(x.mean()), error, x.size)
    if no_spread or (test == SIGN_FLIP and not folds):
        return SignFlip(x)
    if test == WILCOXON and not folds:
        return Wilcoxon(x)
    return TTest(float(x.mean()), error, x.size)


def sign_flip_test(differences: ArrayLike) -> tuple[float, float]:
    """Two-sided sign-flip permutation test of a mean of zero.

    Returns:
      The p-value, and the smallest p-value possible at this n.
    """
    flips = SignFlip(np.asarray(differences, dtype=float))
    return flips.p(0.0), flips.floor


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrects p-values for their number by Holm's step-down method.

    A nan stays nan and does not count as a test.
    """
    p = np.asarray(p_values, dtype=float)
    adjusted = np.full(p.shape, math.nan)
    tested = np.flatnonzero(~np.isnan(p))
    largest = 0.0
    for rank, index in enumerate(tested[np.argsort(p[tested], kind="stable")]):
        largest = max(largest, min(1.0, (tested.size - rank) * p[index]))
        adjusted[index] = largest
    return adjusted.tolist()


def all_equal(x: np.ndarray) -> bool:
    """Whether numbers differ by rounding only."""
    return bool(np.ptp(x) <= EQUAL_WITHIN * max(float(np.abs(x).max()), 1.0))
