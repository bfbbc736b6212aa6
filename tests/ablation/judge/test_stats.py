import itertools
import math

import numpy as np
import pytest
from scipy import stats as scipy_stats

from cnnjax.ablation.judge.power import smallest_detectable
from cnnjax.ablation.judge.stats import (
    combine_by_seed,
    holm,
    paired_contrast,
    sign_flip_test,
    summarize,
)


def _sample(seed: int, n: int, mean: float = 0.5) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1.0, n)


def test_summary_is_that_of_scipy():
    x = _sample(0, 7)
    summary = summarize(x)
    low, high = scipy_stats.t.interval(0.95, 6, x.mean(), scipy_stats.sem(x))
    assert (summary.n, summary.mean) == (7, pytest.approx(x.mean()))
    assert summary.sd == pytest.approx(np.std(x, ddof=1))
    assert (summary.low, summary.high) == (pytest.approx(low), pytest.approx(high))
    assert summary.half_width == pytest.approx((high - low) / 2)


def test_summary_of_too_few_seeds_has_no_interval():
    assert math.isnan(summarize([]).mean)
    one = summarize([3.0])
    assert one.mean == 3.0
    assert math.isnan(one.half_width)


def test_interval_covers_the_mean_in_95_of_100_samples():
    rng = np.random.default_rng(1)
    draws = rng.normal(2.0, 3.0, (4000, 5))
    found = [summarize(x) for x in draws]
    coverage = np.mean([s.low <= 2.0 <= s.high for s in found])
    # Four standard errors of a proportion of 0.95 over 4000 draws.
    assert coverage == pytest.approx(0.95, abs=0.014)


@pytest.mark.parametrize("margin", [0.0, -1.0, 0.7])
@pytest.mark.parametrize("n", [2, 5, 11])
def test_contrast_is_the_t_test_of_scipy(n, margin):
    x = _sample(n, n)
    ours = paired_contrast(x, margin)
    theirs = scipy_stats.ttest_1samp(x, margin)
    interval = theirs.confidence_interval(0.95)
    assert ours.p == pytest.approx(theirs.pvalue)
    assert (ours.low, ours.high) == (pytest.approx(interval.low), pytest.approx(interval.high))  # fmt: skip  # noqa: E501
    assert ours.effect_size == pytest.approx((x.mean() - margin) / np.std(x, ddof=1))
    assert (ours.n, ours.no_spread) == (n, False)


def test_pairing_by_seed_uses_the_seeds_that_all_arms_have():
    values = {"a": {0: 5.0, 1: 7.0, 2: 9.0}, "b": {2: 1.0, 1: 2.0, 3: 0.0}}
    seeds, differences = combine_by_seed(values, {"a": 1, "b": -2})
    assert seeds == (1, 2)
    np.testing.assert_array_equal(differences, [3.0, 7.0])
    assert combine_by_seed(values, {"a": 1, "absent": -1})[0] == ()


def test_sign_flip_is_exact_and_states_its_floor():
    x = _sample(3, 6)
    patterns = itertools.product((1, -1), repeat=6)
    expected = np.mean([abs(np.dot(s, x)) >= abs(x.sum()) - 1e-12 for s in patterns])
    assert sign_flip_test(x) == (pytest.approx(expected), 2 / 64)
    assert sign_flip_test([1.0, 2.0, 3.0, 4.0, 5.0]) == (0.0625, 0.0625)


def test_sign_flip_of_ties_and_zeros():
    assert sign_flip_test([0.1 + 0.2, 0.3, 0.3])[0] == 0.25
    assert sign_flip_test([0.0, 0.0, 0.0])[0] == 1.0


def test_sampled_sign_flip_agrees_with_the_t_test_on_normal_data():
    x = _sample(4, 30, mean=0.35)
    p, floor = sign_flip_test(x)
    assert floor < 0.001
    assert p == pytest.approx(scipy_stats.ttest_1samp(x, 0).pvalue, abs=0.02)
    assert sign_flip_test(x)[0] == p


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.5]) == [1.0, 1.0]
    adjusted = holm([0.02, math.nan, 0.01])
    assert adjusted[0] == pytest.approx(0.02)
    assert math.isnan(adjusted[1])
    assert adjusted[2] == pytest.approx(0.02)
    assert holm([]) == []


@pytest.mark.parametrize(("n", "alpha"), [(2, 0.05), (5, 0.05), (5, 0.05 / 6)])
def test_detectable_effect_is_found_in_80_of_100_samples(n, alpha):
    sd = 2.5
    effect = smallest_detectable(n, sd, alpha)
    draws = np.random.default_rng(5).normal(effect, sd, (40_000, n))
    p = scipy_stats.ttest_1samp(draws, 0, axis=1).pvalue
    assert np.mean(p < alpha) == pytest.approx(0.8, abs=0.01)


def test_equal_differences_are_judged_by_their_signs():
    """A spread that is made up would make p as small as one likes."""
    step = 100 / 1437
    ours = paired_contrast([0.0] * 5, margin=-1.0, resolution=step)
    error = step / math.sqrt(12) / math.sqrt(5)
    assert ours.no_spread
    assert ours.p == ours.permutation_p == 0.0625
    assert ours.low == pytest.approx(-scipy_stats.t.ppf(0.975, 4) * error)
    assert math.isnan(ours.effect_size)
    assert paired_contrast([0.0] * 6, margin=-1.0, resolution=step).p < 0.05


def test_equal_differences_without_a_resolution():
    apart = paired_contrast([0.3, 0.1 + 0.2], margin=0.0)
    assert apart.no_spread
    assert (apart.low, apart.high) == (pytest.approx(0.3), pytest.approx(0.3))
    assert apart.p == 0.5
    assert math.isnan(apart.detectable)
    assert paired_contrast([0.0, 0.0]).p == 1.0


def test_what_signs_cannot_show_with_few_seeds():
    x = _sample(1, 5)
    assert math.isfinite(paired_contrast(x).detectable)
    assert paired_contrast(x, test="wilcoxon").detectable == math.inf
    assert math.isfinite(paired_contrast(_sample(1, 6), test="wilcoxon").detectable)


def test_folds_take_the_t_test():
    """Whatever a claim asks for: folds are not independent."""
    x = _sample(2, 6)
    asked = paired_contrast(x, test="sign_flip", overlap=0.25)
    assert asked == paired_contrast(x, overlap=0.25)
    assert asked.test == "t"


def test_seeds_on_one_fold_count_once():
    values = {
        "a": {(0, 0): 1.0, (0, 1): 3.0, (1, 0): 4.0, (1, 1): 5.0},
        "b": {(0, 0): 0.0, (0, 1): 0.0, (1, 0): 1.0},
    }
    folds, differences = combine_by_seed(values, {"a": 1, "b": -1})
    assert folds == (0, 1)
    np.testing.assert_array_equal(differences, [2.0, 3.0])


@pytest.mark.parametrize("bad", [[], [1.0], [1.0, math.nan], [1.0, math.inf]])
def test_a_contrast_needs_two_finite_numbers(bad):
    with pytest.raises(ValueError, match="two or more finite"):
        paired_contrast(bad)
