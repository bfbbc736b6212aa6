"""The test that may be inspected after every seed."""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, stats

from cnnjax.ablation.judge.sequential import anytime_critical, anytime_p, log_evidence
from cnnjax.ablation.judge.stats import ALPHA, paired_contrast


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
    assert anytime_p([1.0] * (n - 1)) > ALPHA > anytime_p([1.0] * n)


def test_looking_after_every_seed_keeps_the_level():
    """Without an effect, few sequences ever reject; with a plain t test, many do."""
    rng = np.random.default_rng(0)
    num_sets, most = 1000, 60
    x = rng.normal(size=(num_sets, most))
    anytime = np.array([anytime_p(row) for row in x])
    assert np.mean(anytime < ALPHA) < ALPHA
    n = np.arange(2, most + 1)
    mean = np.cumsum(x, axis=1)[:, 1:] / n
    square = np.cumsum(x**2, axis=1)[:, 1:] / n
    sd = np.sqrt((square - mean**2) * n / (n - 1))
    p = 2 * stats.t.sf(np.abs(mean) / (sd / np.sqrt(n)), n - 1)
    assert np.mean(p.min(axis=1) < ALPHA) > 3 * ALPHA


def test_an_effect_is_found_and_what_was_found_stays():
    rng = np.random.default_rng(1)
    x = 1.0 + rng.normal(size=40)
    values = [anytime_p(x[:n]) for n in range(2, 41)]
    assert values[-1] < 0.001
    assert all(a >= b for a, b in itertools.pairwise(values))


def test_a_contrast_that_was_looked_at_is_more_careful():
    x = np.array([1.2, 0.8, 1.5, 0.9, 1.1, 1.4, 0.7])
    fixed, looked = paired_contrast(x), paired_contrast(x, anytime=True)
    assert looked.effect == fixed.effect
    assert looked.p > fixed.p
    assert looked.low < fixed.low < fixed.high < looked.high
    assert looked.detectable > fixed.detectable
    assert math.isnan(looked.permutation_p)
    assert looked.p == anytime_p(x)


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
