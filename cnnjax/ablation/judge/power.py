"""How many seeds a claim needs, and whether more could still decide it.

The noncentral t distribution is integrated here, over the quantiles of the sample
standard deviation, because SciPy's is inaccurate at few degrees of freedom.
"""

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, special, stats

from cnnjax.ablation.define.claim import OF_FAILURES, SIGN_FLIP, WILCOXON, T
from cnnjax.ablation.judge.sequential import (
    anytime_critical,
    evidence_of_signs,
)

POWER = 0.8
MOST_SEEDS = 10_000
# Of normal differences; Hodges & Lehmann 1956, "The efficiency of some nonparametric
# competitors of the t-test". That of permutation tests is 1, of signs 2 / pi.
EFFICIENCY = {T: 1.0, SIGN_FLIP: 1.0, WILCOXON: 3 / math.pi}
EFFICIENCY_OF_SIGNS = 2 / math.pi
NUM_QUANTILES = 2000  # of the integral over the sample spread
FEW_QUANTILES = 200  # where whole numbers of seeds are sought
# Futures that are drawn, and the chance to decide below which seeds are not worth it.
NUM_FUTURES, FUTILE = 1000, 0.1


def smallest_detectable(
    n: int, sd: float, alpha: float, power: float = POWER, anytime: bool = False
) -> float:
    """Effect that a two-sided paired t test detects with the given power.

    Args:
      n: number of seeds, at least two.
      sd: of the per-seed contrasts; their standard error is sd / sqrt(n).
      alpha: level of the test.
      power: probability of detecting the effect.
      anytime: whether the test is that of `sequential`.

    Returns:
      The effect, in the unit of sd; nan if sd is zero, inf if none is detectable.
    """
    critical = critical_t(n, alpha, anytime)
    if sd == 0 or math.isinf(critical):
        return math.inf if sd else math.nan
    thresholds = critical * _spreads(n, NUM_QUANTILES)

    def shortfall(shift: float) -> float:
        return _power(shift, thresholds) - power

    # The standardised sd has median near 1, so three critical values are always enough.
    shift = optimize.brentq(shortfall, 0.0, 10.0 + 3.0 * critical)
    return shift * sd / math.sqrt(n)


def critical_t(n: int, alpha: float, anytime: bool) -> float:
    """The t statistic beyond which a test of n seeds rejects."""
    if anytime:
        return anytime_critical(n, alpha)
    return float(stats.t.ppf(1 - alpha / 2, n - 1))


def least_seeds(alpha: float, test: str = T, anytime: bool = False) -> int:
    """The fewest seeds that can decide at this level, however clear they are.

    Args:
      alpha: level of one claim.
      test: that decides.
      anytime: whether results decide how many seeds there are.
    """

    def can(n: int) -> bool:
        if anytime and test == T:
            return math.isfinite(anytime_critical(n, alpha))
        if anytime:
            return evidence_of_signs(n, n) > -math.log(alpha)
        if test in OF_FAILURES:  # all runs of one arm fail, and none of the other
            fisher = 2 / math.comb(2 * n, n)
            return (fisher if test == OF_FAILURES[0] else 2.0 ** (1 - n)) < alpha
        return test == T or 2.0 ** (1 - n) < alpha

    return next(n for n in range(2, MOST_SEEDS) if can(n))


def seeds_to_see(
    distance: float, sd: float, alpha: float, test: str = T, anytime: bool = False
) -> int | None:
    """Seeds that find an effect at this distance from the margin with 80% power.

    Args:
      distance: in the unit of sd.
      sd: of the contrast of one seed.
      alpha: level of the claim, two-sided.
      test: one of numbers.
      anytime: whether results decide how many seeds there are; the number is then that
        at which the chance to have decided is at least 80%.

    Returns:
      None if it is more than `MOST_SEEDS`.
    """
    if sd == 0:  # signs decide then
        return least_seeds(alpha, SIGN_FLIP, anytime) if distance else None
    share = abs(distance) / sd * math.sqrt(_efficiency(test, anytime))

    def power(n: int) -> float:
        critical = critical_t(n, alpha, anytime)
        if math.isinf(critical):
            return 0.0
        thresholds = critical * _spreads(n, FEW_QUANTILES)
        return _power(share * math.sqrt(n), thresholds)

    return _fewest(power, least_seeds(alpha, test, anytime))


def seeds_to_exclude(
    matters: float,
    distance: float,
    sd: float,
    alpha: float,
    test: str = T,
    anytime: bool = False,
) -> int | None:
    """Seeds that show with 80% power that no difference matters.

    Args:
      matters: smallest distance from the margin that matters, in the unit of sd.
      distance: of the true effect from the margin.
      sd: of the contrast of one seed.
      alpha: level of each of the two one-sided tests.
      test: one of numbers.
      anytime: whether results decide how many seeds there are.

    Returns:
      None if it is more than `MOST_SEEDS`, or the effect matters.
    """
    if abs(distance) >= matters:
        return None
    level = alpha if anytime else 2 * alpha  # two one-sided tests: the 90% interval
    if sd == 0:  # signs decide then
        return least_seeds(level, SIGN_FLIP, anytime)
    scale = math.sqrt(_efficiency(test, anytime)) / sd

    def power(n: int) -> float:
        critical = critical_t(n, level, anytime)
        if math.isinf(critical):
            return 0.0
        thresholds = critical * _spreads(n, FEW_QUANTILES)
        room = scale * math.sqrt(n)
        above = special.ndtr((matters - distance) * room - thresholds)
        below = special.ndtr((matters + distance) * room - thresholds)
        return float(np.maximum(above + below - 1, 0).mean())

    return _fewest(power, least_seeds(level, test, anytime))


def chance_to_decide(
    distances: ArrayLike,
    matters: float | None,
    most: int,
    alpha: float,
    test: str = T,
) -> float:
    """Chance that seeds up to a limit would still decide a claim.

    The predictive power of Spiegelhalter, Freedman & Blackburn 1986, "Monitoring
    clinical trials: conditional or predictive power?": futures are drawn from what the
    seeds so far say of mean and spread (normal, flat prior), and judged as they would
    be, after each of their seeds. Stopping where it is small is *non-binding*: the test
    holds for every way of stopping, so no error becomes more frequent (Snapinn et al.
    2006, "Assessment of futility in clinical trials"; Ramdas et al. 2023,
    "Game-theoretic statistics and safe anytime-valid inference").

    Args:
      distances: from the margin, of the seeds so far.
      matters: smallest distance from the margin that matters, or None.
      most: seeds that there may be in all.
      alpha: level at which the claim is decided.
      test: that decides.
    """
    x = np.asarray(distances, dtype=float)
    n, more = x.size, most - x.size
    if more <= 0:
        return 0.0
    if n < 2 or np.ptp(x) == 0:  # nothing is known of the spread
        return float(n < 2 or x.any() or matters is not None)
    rng = np.random.default_rng(0)
    sds = x.std(ddof=1) * np.sqrt((n - 1) / rng.chisquare(n - 1, NUM_FUTURES))
    means = rng.normal(x.mean(), sds / math.sqrt(n))
    drawn = rng.normal(means[:, None], sds[:, None], (NUM_FUTURES, more))
    counts = np.arange(n + 1, most + 1)
    if test != T:
        above = (x > 0).sum() + np.cumsum(drawn > 0, axis=1)
        enough = _enough_signs(n + 1, most, alpha)
        return float((np.maximum(above, counts - above) >= enough).any(axis=1).mean())
    centers = (x.sum() + np.cumsum(drawn, axis=1)) / counts
    squares = (x**2).sum() + np.cumsum(drawn**2, axis=1)
    variances = np.maximum(squares / counts - centers**2, 0) / (counts - 1)
    halves = _criticals(n + 1, most, alpha) * np.sqrt(variances)
    decided = np.abs(centers) > halves
    if matters is not None:
        decided |= np.abs(centers) + halves < matters
    return float(decided.any(axis=1).mean())


def pooled_spread(groups: Sequence[ArrayLike]) -> tuple[list[float], bool]:
    """Standard deviations of some arms, pooled where they agree.

    They agree unless Levene's test with medians (Brown & Forsythe 1974, "Robust tests
    for the equality of variances") says otherwise at the 5% level.

    Args:
      groups: the runs of each arm, at least two each.

    Returns:
      One standard deviation per arm, and whether they are pooled.
    """
    arms = [np.asarray(group, dtype=float) for group in groups]
    variances = np.array([arm.var(ddof=1) for arm in arms])
    if len(arms) < 2 or not (variances > 0).any():
        return np.sqrt(variances).tolist(), len(arms) > 1
    p = stats.levene(*arms, center="median").pvalue if (variances > 0).all() else 0.0
    if p < 0.05:
        return np.sqrt(variances).tolist(), False
    weights = np.array([arm.size - 1 for arm in arms])
    pooled = math.sqrt(float(weights @ variances / weights.sum()))
    return [pooled] * len(arms), True


def spread_of_pairs(pairs: ArrayLike, sd: float) -> float | None:
    """Standard deviation of contrasts of the same seeds, if it is another than `sd`.

    If arms were independent, the variance of n contrasts would be that of `sd` times a
    chi-squared number of n - 1 degrees of freedom, over these.

    Args:
      pairs: the contrast of each seed.
      sd: of the contrast, if the arms are independent.

    Returns:
      None where independence is not refuted at the 5% level, or with fewer than 3.
    """
    x = np.asarray(pairs, dtype=float)
    if x.size < 3 or sd == 0:
        return None
    own = float(x.std(ddof=1))
    p = stats.chi2.cdf((x.size - 1) * (own / sd) ** 2, x.size - 1)
    return own if min(p, 1 - p) < 0.025 else None


def _fewest(power: Callable[[int], float], least: int) -> int | None:
    """The smallest number of seeds with enough power, which grows with them."""
    high = least
    while power(high) < POWER:
        if high >= MOST_SEEDS:
            return None
        least, high = high + 1, min(2 * high, MOST_SEEDS)
    while least < high:
        middle = (least + high) // 2
        least, high = (least, middle) if power(middle) >= POWER else (middle + 1, high)
    return high


def _efficiency(test: str, anytime: bool) -> float:
    if anytime and test != T:
        return EFFICIENCY_OF_SIGNS
    return EFFICIENCY[test]


def _power(shift: float, thresholds: np.ndarray) -> float:
    found = special.ndtr(shift - thresholds) + special.ndtr(-shift - thresholds)
    return float(found.mean())


@functools.lru_cache(maxsize=256)
def _spreads(n: int, count: int) -> np.ndarray:
    """Quantiles of the sample standard deviation of n normal numbers of spread 1."""
    quantiles = (np.arange(count) + 0.5) / count
    return np.sqrt(stats.chi2.ppf(quantiles, n - 1) / (n - 1))


@functools.lru_cache(maxsize=64)
def _criticals(first: int, last: int, alpha: float) -> np.ndarray:
    return np.array([anytime_critical(n, alpha) for n in range(first, last + 1)])


@functools.lru_cache(maxsize=64)
def _enough_signs(first: int, last: int, alpha: float) -> np.ndarray:
    """How many signs must agree, of each number of seeds; more than it if none do."""
    enough = -math.log(alpha)
    return np.array(
        [
            next((k for k in range(n + 1) if evidence_of_signs(k, n) > enough), n + 1)
            for n in range(first, last + 1)
        ]
    )
