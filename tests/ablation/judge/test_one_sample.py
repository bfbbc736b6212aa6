"""Tests of a location: against SciPy, and how often they are wrong."""

import math

import numpy as np
import pytest
from scipy import stats

from cnnjax.ablation.judge.one_sample import (
    AnytimeSigns,
    AnytimeT,
    SignFlip,
    TTest,
    Wilcoxon,
)

ALPHA = 0.05
KINDS = ("t", "sign_flip", "wilcoxon", "anytime_t", "anytime_signs")


def of(kind: str, x: np.ndarray):
    error = float(x.std(ddof=1)) / math.sqrt(x.size)
    return {
        "t": lambda: TTest(float(x.mean()), error, x.size),
        "sign_flip": lambda: SignFlip(x),
        "wilcoxon": lambda: Wilcoxon(x),
        "anytime_t": lambda: AnytimeT(float(x.mean()), error, x.size),
        "anytime_signs": lambda: AnytimeSigns(x),
    }[kind]()


def sample(seed: int, n: int, mean: float = 0.5) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1.0, n)


@pytest.mark.parametrize("n", [2, 5, 12])
def test_the_t_test_is_that_of_scipy(n):
    x = sample(n, n)
    ours, theirs = of("t", x), stats.ttest_1samp(x, 0.2)
    assert ours.p(0.2) == pytest.approx(theirs.pvalue)
    interval = theirs.confidence_interval(0.9)
    assert ours.interval(0.1) == (pytest.approx(interval.low), pytest.approx(interval.high))  # fmt: skip  # noqa: E501
    above = stats.ttest_1samp(x, -1.0, alternative="greater").pvalue
    below = stats.ttest_1samp(x, 1.0, alternative="less").pvalue
    assert ours.p_inside(-1.0, 1.0) == pytest.approx(max(above, below))


@pytest.mark.parametrize("n", [3, 8, 14])
@pytest.mark.parametrize("bound", [-0.3, 0.0, 0.9])
def test_wilcoxon_is_that_of_scipy(n, bound):
    x = sample(n, n)
    theirs = stats.wilcoxon(x - bound, method="exact").pvalue
    assert of("wilcoxon", x).p(bound) == pytest.approx(theirs)


@pytest.mark.parametrize("n", [3, 7, 10])
@pytest.mark.parametrize("side", ["two-sided", "greater", "less"])
def test_sign_flips_are_those_of_scipy(n, side):
    x = sample(n, n, mean=0.3)
    theirs = stats.permutation_test(
        (x,), np.mean, permutation_type="samples", alternative=side, n_resamples=np.inf
    ).pvalue
    ours = of("sign_flip", x)
    far = 1e6
    found = {
        "two-sided": ours.p(0.0),
        "greater": ours.p_inside(0.0, far),
        "less": ours.p_inside(-far, 0.0),
    }
    assert found[side] == pytest.approx(theirs)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [4, 6, 9, 20])
def test_the_interval_has_the_bounds_that_p_does_not_exclude(kind, n):
    x = sample(n, n)
    test = of(kind, x)
    low, high = test.interval(ALPHA)
    for bound in np.linspace(x.min() - 3, x.max() + 3, 41):
        assert (test.p(bound) >= ALPHA) == (low <= bound <= high), bound
    if math.isfinite(low):
        assert test.p(low + 1e-9) >= ALPHA > test.p(low - 1e-6)
        assert test.p(high - 1e-9) >= ALPHA > test.p(high + 1e-6)


@pytest.mark.parametrize("kind", ["t", "sign_flip", "wilcoxon"])
def test_lying_inside_is_the_interval_at_twice_the_level(kind):
    """Two one-sided tests at 5% are the 90% interval."""
    inside = 0
    for seed in range(60):
        test = of(kind, sample(seed, 9, mean=0.0))
        low, high = test.interval(2 * ALPHA)
        assert (test.p_inside(-0.7, 0.7) < ALPHA) == (low > -0.7 and high < 0.7)
        inside += low > -0.7 and high < 0.7
    assert 10 < inside < 50


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_at_the_edge_seldom_counts_as_inside(kind):
    """Of no difference beyond 1 where it is exactly 1: at most 5%, and some."""
    rng = np.random.default_rng(7)
    draws = rng.normal(1.0, 0.3, (1500, 8))
    wrong = np.mean([of(kind, x).p_inside(-1.0, 1.0) < ALPHA for x in draws])
    # Three standard errors of a rate of 5%.
    assert wrong <= ALPHA + 3 * math.sqrt(ALPHA * (1 - ALPHA) / 1500)
    centered = np.mean([of(kind, x).p_inside(-1.0, 1.0) < ALPHA for x in draws - 1.0])
    assert centered > 0.9


@pytest.mark.parametrize("kind", ["sign_flip", "wilcoxon", "anytime_signs"])
def test_a_heavy_tail_does_not_make_them_wrong(kind):
    rng = np.random.default_rng(8)
    draws = rng.standard_t(1.2, (1500, 9))
    assert np.mean([of(kind, x).p(0.0) < ALPHA for x in draws]) < 0.062


def test_one_odd_seed_does_not_hide_what_the_others_agree_on():
    """As of original-110 against full_pre-110: all ten seeds agree in sign."""
    x = np.array([3.4, 5.1, 14.2, 8.8, 6.0, 4.4, 9.7, 7.3, 11.0, 80.5])
    assert of("t", x).p(0.0) > ALPHA
    assert of("sign_flip", x).p(0.0) == of("wilcoxon", x).p(0.0) == 2 / 1024
    opposite = np.where(x > 80, -x, x)
    assert of("sign_flip", opposite).p(0.0) > 0.5
    assert of("wilcoxon", opposite).p(0.0) == pytest.approx(
        stats.wilcoxon(opposite, method="exact").pvalue
    )


def test_five_seeds_are_too_few_without_a_distribution():
    clear = 3 + 0.1 * sample(1, 5)
    for kind in ("sign_flip", "wilcoxon"):
        assert of(kind, clear).p(0.0) == 0.0625
        assert of(kind, clear).interval(ALPHA) == (-math.inf, math.inf)


def test_many_seeds_are_sampled():
    x = sample(4, 30, mean=0.35)
    ours = of("sign_flip", x)
    assert ours.floor < 0.001
    assert ours.p(0.0) == pytest.approx(stats.ttest_1samp(x, 0).pvalue, abs=0.02)
    assert of("wilcoxon", x).p(0.0) == pytest.approx(
        stats.wilcoxon(x, method="exact").pvalue
    )
