"""Tests of where some differences lie, of which a definition chooses one beforehand.

Each gives a two-sided p for a bound, a p for lying between two bounds, and an interval
that has exactly the bounds whose p is not below its level: so p and interval agree.

  t          the mean, for normal differences.
  sign_flip  the mean, for differences that are symmetric about it: all 2^n patterns of
             signs. Its interval is made of means of subsets (Hartigan 1969, "Using
             subsample values as typical values").
  wilcoxon   the pseudo-median, for differences that are symmetric about it, by ranks:
             one odd seed counts as one seed, however far off. Its interval is made of
             Walsh averages (Hollander, Wolfe & Chicken 2014, section 3.3).

That something lies between two bounds is shown by two one-sided tests at the level of
one (Schuirmann 1987, "A comparison of the two one-sided tests procedure and the power
approach for assessing the equivalence of average bioavailability").

Two further tests hold at every number of seeds at once: see `sequential`.
"""

import dataclasses
import functools
import math
from typing import Protocol

import numpy as np
from scipy import stats

from cnnjax.ablation.judge.sequential import anytime_critical, evidence_of_signs
from cnnjax.ablation.judge.sequential import log_evidence as evidence_of_t

# 2^16 sign patterns take milliseconds; beyond that they are sampled.
MAX_EXACT_SEEDS = 16
NUM_SAMPLED_PATTERNS = 9999
# Relative difference below which values differ by rounding only.
EQUAL_WITHIN = 1e-9


class OneSample(Protocol):
    """What a test of some differences tells."""

    @property
    def center(self) -> float:
        """Where they lie, by the estimate that belongs to the test."""

    def p(self, bound: float) -> float:
        """Two-sided p of lying at the bound."""

    def p_inside(self, low: float, high: float) -> float:
        """p of not lying between two bounds: small where they do."""

    def interval(self, alpha: float) -> tuple[float, float]:
        """All bounds whose p is at least alpha; infinite where no bound is excluded."""


@dataclasses.dataclass(frozen=True)
class TTest:
    """Of the mean, with its standard error and the number of differences."""

    center: float
    error: float
    n: int

    def p(self, bound: float) -> float:
        return min(1.0, 2 * self._p_beyond(abs(self.center - bound)))

    def p_inside(self, low: float, high: float) -> float:
        return self._p_beyond(min(self.center - low, high - self.center))

    def interval(self, alpha: float) -> tuple[float, float]:
        half = float(stats.t.ppf(1 - alpha / 2, self.n - 1)) * self.error
        return self.center - half, self.center + half

    def _p_beyond(self, distance: float) -> float:
        if self.error > 0:
            return float(stats.t.sf(distance / self.error, self.n - 1))
        return 0.0 if distance > 0 else 0.5 if distance == 0 else 1.0


@dataclasses.dataclass(frozen=True)
class SignFlip:
    """Of the mean; exact up to `MAX_EXACT_SEEDS`, sampled beyond.

    Flipping the signs of a subset gives at least the observed mean where the mean of
    the subset is at most the bound: so counting subsets is counting patterns.
    """

    x: np.ndarray

    @property
    def center(self) -> float:
        return float(self.x.mean())

    @property
    def floor(self) -> float:
        """The smallest p that this number of differences can give."""
        return 2 / (self._means.size + 1)

    def p(self, bound: float) -> float:
        return min(1.0, 2 * min(self._p_above(bound), self._p_below(bound)))

    def p_inside(self, low: float, high: float) -> float:
        return max(self._p_above(low), self._p_below(high))

    def interval(self, alpha: float) -> tuple[float, float]:
        # So many means may lie beyond a bound before its p is at least alpha.
        least = math.ceil(alpha / 2 * (self._means.size + 1)) - 1
        if least <= 0:
            return -math.inf, math.inf
        return float(self._means[least - 1]), float(self._means[-least])

    def _p_above(self, bound: float) -> float:
        reached = np.searchsorted(self._means, bound + self._tie, side="right")
        return float(1 + reached) / (self._means.size + 1)

    def _p_below(self, bound: float) -> float:
        left = np.searchsorted(self._means, bound - self._tie, side="left")
        return float(1 + self._means.size - left) / (self._means.size + 1)

    @property
    def _tie(self) -> float:
        return EQUAL_WITHIN * max(float(np.abs(self.x).max()), 1e-300)

    @functools.cached_property
    def _means(self) -> np.ndarray:
        """Sorted means of the subsets that are not empty."""
        subsets = _subsets(self.x.size)
        return np.sort(subsets @ self.x / subsets.sum(axis=1))


@functools.lru_cache(maxsize=4)
def _subsets(n: int) -> np.ndarray:
    """All subsets of n that are not empty, or a sample of them: [subsets, n]."""
    if n <= MAX_EXACT_SEEDS:
        codes = np.arange(1, 2**n)[:, None]
        return (codes >> np.arange(n) & 1).astype(float)
    drawn = np.random.default_rng(0).integers(0, 2, (NUM_SAMPLED_PATTERNS, n))
    return drawn[drawn.any(axis=1)].astype(float)


@dataclasses.dataclass(frozen=True)
class Wilcoxon:
    """Of the pseudo-median; exact, and ties with the bound count against it."""

    x: np.ndarray

    @property
    def center(self) -> float:
        """The estimate of Hodges and Lehmann: the median of the Walsh averages."""
        return float(np.median(self._walsh))

    def p(self, bound: float) -> float:
        return min(1.0, 2 * min(self._p_above(bound), self._p_below(bound)))

    def p_inside(self, low: float, high: float) -> float:
        return max(self._p_above(low), self._p_below(high))

    def interval(self, alpha: float) -> tuple[float, float]:
        # So many averages may lie beyond a bound without making p too small.
        most = int(np.flatnonzero(self._tail >= alpha / 2)[-1])
        if most >= self._walsh.size:
            return -math.inf, math.inf
        return float(self._walsh[-most - 1]), float(self._walsh[most])

    def _p_above(self, bound: float) -> float:
        return float(self._tail[np.count_nonzero(self._walsh > bound + self._tie)])

    def _p_below(self, bound: float) -> float:
        return float(self._tail[np.count_nonzero(self._walsh < bound - self._tie)])

    @property
    def _tie(self) -> float:
        return EQUAL_WITHIN * max(float(np.abs(self.x).max()), 1e-300)

    @functools.cached_property
    def _walsh(self) -> np.ndarray:
        first, second = np.triu_indices(self.x.size)
        return np.sort((self.x[first] + self.x[second]) / 2)

    @property
    def _tail(self) -> np.ndarray:
        return _signed_rank_tail(self.x.size)


@functools.lru_cache(maxsize=64)
def _signed_rank_tail(n: int) -> np.ndarray:
    """Probability that the sum of the positive ranks of n is at least k, for each k."""
    chance = np.ones(1)
    for rank in range(1, n + 1):
        padded = np.zeros(chance.size + rank)
        padded[: chance.size] += chance / 2
        padded[rank:] += chance / 2
        chance = padded
    return np.minimum(np.cumsum(chance[::-1])[::-1], 1.0)


@dataclasses.dataclass(frozen=True)
class AnytimeT:
    """Of the mean, valid at every number of differences at once."""

    center: float
    error: float
    n: int

    def p(self, bound: float) -> float:
        distance = abs(self.center - bound)
        if self.error == 0:
            return 0.0 if distance else 1.0
        return min(1.0, math.exp(-evidence_of_t(distance / self.error, self.n)))

    def p_inside(self, low: float, high: float) -> float:
        inside = low < self.center < high
        return max(self.p(low), self.p(high)) if inside else 1.0

    def interval(self, alpha: float) -> tuple[float, float]:
        half = anytime_critical(self.n, alpha) * self.error
        return self.center - half, self.center + half


@dataclasses.dataclass(frozen=True)
class AnytimeSigns:
    """Of the median, by signs alone, valid at every number of differences at once."""

    x: np.ndarray

    @property
    def center(self) -> float:
        return float(np.median(self.x))

    def p(self, bound: float) -> float:
        above = int(np.count_nonzero(self.x > bound + self._tie))
        below = int(np.count_nonzero(self.x < bound - self._tie))
        return min(1.0, math.exp(-evidence_of_signs(max(above, below), self.x.size)))

    def p_inside(self, low: float, high: float) -> float:
        inside = low < self.center < high
        return max(self.p(low), self.p(high)) if inside else 1.0

    def interval(self, alpha: float) -> tuple[float, float]:
        n, ordered = self.x.size, np.sort(self.x)
        enough = -math.log(alpha)
        decisive = [k for k in range(n + 1) if evidence_of_signs(k, n) > enough]
        if not decisive:
            return -math.inf, math.inf
        return float(ordered[n - decisive[0]]), float(ordered[decisive[0] - 1])

    @property
    def _tie(self) -> float:
        return EQUAL_WITHIN * max(float(np.abs(self.x).max()), 1e-300)
