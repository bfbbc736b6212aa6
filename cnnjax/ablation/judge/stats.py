"""Statistics over seeds: intervals, paired contrasts, correction, power.

All functions take plain numbers. A contrast is paired: the runs of one seed share data
order and augmentation in all arms, so their values are combined first, and one number
per seed is tested.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special, stats

from cnnjax.ablation.judge.sequential import anytime_critical, anytime_p

ALPHA = 0.05  # two-sided, over the whole report
POWER = 0.8
# 2^16 sign patterns take milliseconds; beyond that they are sampled.
MAX_EXACT_SEEDS = 16
NUM_SAMPLED_PATTERNS = 9999
NUM_QUANTILES = 2000  # of the integral over the sample spread
# Relative difference below which values differ by rounding only.
EQUAL_WITHIN = 1e-9


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
      effect: mean of the per-seed contrasts, in the unit of the metric.
      sd: their sample standard deviation.
      low: lower end of the 95% interval of the effect, not corrected for the number
        of claims.
      high: upper end.
      p: two-sided p-value of the paired t test of effect = margin, or `anytime_p`.
      permutation_p: two-sided sign-flip p-value of the same; nan where n was chosen
        while looking at results, or the runs are folds.
      permutation_floor: the smallest value that permutation_p can take at this n.
      effect_size: d_z = (effect - margin) / sd; nan where sd is zero.
      detectable: distance from the margin that a test at level `alpha` detects with
        80% power, given this n and this sd.
      no_spread: whether all seeds agree, so that the sd is that of the resolution.
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


def summarize(values: Sequence[float], confidence: float = 1 - ALPHA) -> Summary:
    """Mean, standard deviation and t interval; nan for what n does not allow."""
    x = np.asarray(values, dtype=float)
    if x.size == 0:
        return Summary(0, math.nan, math.nan, math.nan, math.nan)
    mean = float(x.mean())
    if x.size == 1:
        return Summary(1, mean, math.nan, math.nan, math.nan)
    sd = 0.0 if _all_equal(x) else float(x.std(ddof=1))
    half = _t_quantile(x.size, 1 - confidence) * sd / math.sqrt(x.size)
    return Summary(x.size, mean, sd, mean - half, mean + half)


def combine_by_seed(
    values: Mapping[str, Mapping[Any, float]], coefficients: Mapping[str, float]
) -> tuple[tuple[Any, ...], np.ndarray]:
    """Computes the contrast of each seed.

    Args:
      values: arm -> seed, or (fold, seed) -> value.
      coefficients: arm -> coefficient.

    Returns:
      The seeds that every arm of the contrast has, in order, and one number per seed.
    """
    shared = set.intersection(*(set(values.get(arm, ())) for arm in coefficients))
    seeds = tuple(sorted(shared))
    sums = [sum(c * values[arm][s] for arm, c in coefficients.items()) for s in seeds]
    return seeds, np.asarray(sums, dtype=float)


def paired_contrast(
    differences: ArrayLike,
    margin: float = 0.0,
    resolution: float = 0.0,
    alpha: float = ALPHA,
    *,
    anytime: bool = False,
    overlap: float = 0.0,
) -> Contrast:
    """Tests whether the mean of per-seed contrasts differs from a margin.

    If all seeds agree, the sample standard deviation is zero and the t test is
    undefined. An error rate changes in steps of one example, so `resolution` then gives
    a standard deviation, that of rounding to such steps: resolution / sqrt(12). Without
    a resolution p, effect size and detectable effect are nan, except that p is 1 where
    all differences equal the margin. The sign-flip test needs no standard deviation.

    Args:
      differences: one number per seed, at least two.
      margin: the value tested against, in the unit of the differences.
      resolution: step of the differences, used only when they are all equal.
      alpha: level of the test for which the detectable effect is computed.
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
    n, effect = x.size, float(x.mean())
    no_spread = _all_equal(x)
    least_sd = resolution / math.sqrt(12)
    sd = least_sd if no_spread else float(x.std(ddof=1))
    error = sd * math.sqrt(1 / n + overlap)
    half = _critical(n, ALPHA, anytime) * error
    distance = effect - margin
    p = anytime_p(x - margin, least_sd) if anytime else _t_test(distance, error, n)
    permutation_p, floor = math.nan, math.nan
    if not anytime and not overlap:  # it assumes a fixed n and independent runs
        permutation_p, floor = sign_flip_test(x - margin)
    return Contrast(
        n=n,
        effect=effect,
        sd=sd,
        low=effect - half,
        high=effect + half,
        p=p,
        permutation_p=permutation_p,
        permutation_floor=floor,
        effect_size=math.nan if no_spread else distance / sd,
        detectable=_detectable(n, error, alpha, POWER, anytime),
        no_spread=no_spread,
    )


def sign_flip_test(differences: ArrayLike) -> tuple[float, float]:
    """Two-sided sign-flip permutation test of a mean of zero.

    Exact over all 2^n sign patterns up to n = 16, sampled beyond.

    Returns:
      The p-value, and the smallest p-value possible at this n.
    """
    x = np.asarray(differences, dtype=float)
    if x.size > MAX_EXACT_SEEDS:
        result = stats.permutation_test(
            (x, -x),
            lambda a, b, axis: np.mean(a - b, axis=axis),
            permutation_type="samples",
            vectorized=True,
            n_resamples=NUM_SAMPLED_PATTERNS,
            rng=np.random.default_rng(0),
        )
        return float(result.pvalue), 2 / (NUM_SAMPLED_PATTERNS + 1)
    signs = np.array(list(itertools.product((1.0, -1.0), repeat=x.size)))  # [2^n, n]
    sums = np.abs(signs @ x)
    # The tolerance counts patterns that tie with the observed one up to rounding.
    reached = sums >= abs(x.sum()) - EQUAL_WITHIN * max(np.abs(x).sum(), 1e-300)
    return float(reached.mean()), 2.0 ** (1 - x.size)


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


def smallest_detectable(
    n: int, sd: float, alpha: float = ALPHA, power: float = POWER
) -> float:
    """Effect that a two-sided paired t test detects with the given power.

    The noncentral t distribution is integrated here, over the quantiles of the sample
    standard deviation, because SciPy's is inaccurate at few degrees of freedom.

    Args:
      n: number of seeds, at least two.
      sd: standard deviation of the per-seed contrasts, above zero.
      alpha: level of the test.
      power: probability of detecting the effect.

    Returns:
      The effect, in the unit of sd.
    """
    return _detectable(n, sd / math.sqrt(n), alpha, power, anytime=False)


def _detectable(
    n: int, error: float, alpha: float, power: float, anytime: bool
) -> float:
    """As `smallest_detectable`; nan if sd is zero, inf if no effect is detectable."""
    critical = _critical(n, alpha, anytime)
    if error == 0 or math.isinf(critical):
        return math.inf if error else math.nan
    quantiles = (np.arange(NUM_QUANTILES) + 0.5) / NUM_QUANTILES
    thresholds = critical * np.sqrt(stats.chi2.ppf(quantiles, n - 1) / (n - 1))

    def shortfall(shift: float) -> float:
        found = special.ndtr(shift - thresholds) + special.ndtr(-shift - thresholds)
        return float(found.mean()) - power

    # The standardised sd has median near 1, so three critical values are always enough.
    shift = optimize.brentq(shortfall, 0.0, 10.0 + 3.0 * critical)
    return shift * error


def _all_equal(x: np.ndarray) -> bool:
    return bool(np.ptp(x) <= EQUAL_WITHIN * max(float(np.abs(x).max()), 1.0))


def _critical(n: int, alpha: float, anytime: bool) -> float:
    return anytime_critical(n, alpha) if anytime else _t_quantile(n, alpha)


def _t_quantile(n: int, alpha: float) -> float:
    return float(stats.t.ppf(1 - alpha / 2, n - 1))


def _t_test(distance: float, error: float, n: int) -> float:
    if error > 0:
        return float(2 * stats.t.sf(abs(distance) / error, n - 1))
    return 1.0 if abs(distance) <= EQUAL_WITHIN else math.nan
