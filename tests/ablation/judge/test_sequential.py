"""The test that may be inspected after every seed."""

import math

import numpy as np
import pytest
from scipy import integrate, stats

from cnnjax.ablation.judge.one_sample import AnytimeT
from cnnjax.ablation.judge.sequential import (
    PRIOR_VARIANCE,
    anytime_critical,
    evidence_of_signs,
    log_evidence,
)
from cnnjax.ablation.judge.stats import ALPHA, paired_contrast


def evidence_on_the_way(x: np.ndarray) -> np.ndarray:
    """Logarithm of the evidence after 2, 3, ... of the seeds in each row."""
    n = np.arange(2, x.shape[1] + 1)
    mean = np.cumsum(x, axis=1)[:, 1:] / n
    square = np.cumsum(x**2, axis=1)[:, 1:] / n
    t = mean / np.sqrt((square - mean**2) / (n - 1))
    share, growth = t**2 / (n - 1), 1 + n * PRIOR_VARIANCE
    ratio = np.log1p(share) - np.log1p(share / growth)
    return (n * ratio - np.log(growth)) / 2


@pytest.mark.parametrize(("n", "t"), [(2, 0.3), (5, 2.5), (5, -7.0), (20, 1.0)])
def test_the_evidence_is_a_bayes_factor(n, t):
    """Against the integral over effects of SciPy's noncentral t density."""

    def weighted(effect):
        density = stats.nct.pdf(t, n - 1, effect * math.sqrt(n))
        return density * stats.norm.pdf(effect)

    alternative, _ = integrate.quad(weighted, -8, 8, limit=200)
    factor = alternative / stats.t.pdf(t, n - 1)
    assert math.exp(log_evidence(t, n)) == pytest.approx(factor, rel=1e-6)


def test_an_infinite_t_is_the_limit():
    assert log_evidence(math.inf, 6) == pytest.approx(log_evidence(1e9, 6), rel=1e-9)


@pytest.mark.parametrize("n", [4, 7, 30])
def test_the_critical_value_gives_the_evidence(n):
    t = anytime_critical(n, ALPHA)
    if math.isinf(t):
        assert log_evidence(t, n) < math.log(1 / ALPHA)
    else:
        assert log_evidence(t, n) == pytest.approx(math.log(1 / ALPHA))
        # Permission to look costs power.
        assert t > stats.t.ppf(1 - ALPHA / 2, n - 1)


def test_few_seeds_cannot_decide():
    n = next(n for n in range(2, 100) if math.isfinite(anytime_critical(n, ALPHA)))
    assert n > 2
    clear = 1.0 + 1e-6 * np.arange(n)
    p = [paired_contrast(clear[:k], anytime=True).p for k in (n - 1, n)]
    assert p[0] > ALPHA > p[1]


def test_looking_after_every_seed_keeps_the_level():
    """Without an effect, few sequences ever reject; with a plain t test, many do."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(4000, 60))
    evidence = evidence_on_the_way(x)
    assert np.mean((evidence > math.log(1 / ALPHA)).any(axis=1)) < ALPHA
    n = np.arange(2, 61)
    mean = np.cumsum(x, axis=1)[:, 1:] / n
    square = np.cumsum(x**2, axis=1)[:, 1:] / n
    sd = np.sqrt((square - mean**2) * n / (n - 1))
    p = 2 * stats.t.sf(np.abs(mean) / (sd / np.sqrt(n)), n - 1)
    assert np.mean(p.min(axis=1) < ALPHA) > 3 * ALPHA
    ours = paired_contrast(x[0, :9], anytime=True).p
    assert ours == pytest.approx(min(1.0, math.exp(-evidence[0, 7])))


def test_p_and_interval_agree_at_every_number_of_seeds():
    """On paths without effect p is below the level exactly where the margin is out."""
    rng = np.random.default_rng(3)
    decided = 0
    for x in rng.normal(0.4, size=(60, 25)):
        for n in range(2, 26):
            error = x[:n].std(ddof=1) / math.sqrt(n)
            found = AnytimeT(x[:n].mean(), error, n)
            low, high = found.interval(ALPHA)
            assert (found.p(0) < ALPHA) == (not low <= 0 <= high)
            decided += found.p(0) < ALPHA
    assert decided > 100


@pytest.mark.parametrize(("agreeing", "n"), [(5, 5), (7, 9), (30, 40)])
def test_the_evidence_of_signs_is_a_bayes_factor(agreeing, n):
    chance, _ = integrate.quad(lambda q: stats.binom.pmf(agreeing, n, q), 0, 1)
    factor = chance / stats.binom.pmf(agreeing, n, 0.5)
    assert math.exp(evidence_of_signs(agreeing, n)) == pytest.approx(factor)


def test_signs_keep_the_level_where_one_net_in_ten_fails():
    rng = np.random.default_rng(4)
    x = rng.standard_cauchy(size=(2000, 40))
    counts = range(41)
    most = np.array([[evidence_of_signs(min(k, n), n) for k in counts] for n in counts])
    above = np.cumsum(x > 0, axis=1)
    n = np.arange(1, 41)
    evidence = most[n, np.maximum(above, n - above)]
    assert np.mean((evidence > math.log(1 / ALPHA)).any(axis=1)) < ALPHA


def test_an_effect_is_found():
    x = 1.0 + np.random.default_rng(1).normal(size=40)
    assert paired_contrast(x, anytime=True).p < 0.001
    robust = paired_contrast(x, anytime=True, test="wilcoxon")
    assert robust.p < ALPHA
    assert robust.effect == pytest.approx(np.median(x))


def test_a_contrast_that_was_looked_at_is_more_careful():
    x = np.array([1.2, 0.8, 1.5, 0.9, 1.1, 1.4, 0.7])
    fixed, looked = paired_contrast(x), paired_contrast(x, anytime=True)
    assert looked.effect == fixed.effect
    assert looked.p > fixed.p
    assert looked.low < fixed.low < fixed.high < looked.high
    assert looked.detectable > fixed.detectable
    assert math.isnan(looked.permutation_p)


def test_folds_are_corrected_for_the_images_they_share():
    """Nadeau and Bengio 2003: variance (1 / n + test / train) s^2."""
    x = np.array([1.2, 0.8, 1.5, 0.9, 1.1])
    plain, folds = paired_contrast(x), paired_contrast(x, overlap=0.25)
    factor = math.sqrt((1 / 5 + 1 / 4) / (1 / 5))
    assert folds.high - folds.effect == pytest.approx(
        factor * (plain.high - plain.effect)
    )
    t = x.mean() / (x.std(ddof=1) * math.sqrt(1 / 5 + 1 / 4))
    assert folds.p == pytest.approx(2 * stats.t.sf(t, 4))
    assert math.isnan(folds.permutation_p)
