"""How many seeds a claim needs, against simulation and SciPy."""

import math

import numpy as np
import pytest
from scipy import stats

from cnnjax.ablation.judge.one_sample import SignFlip, TTest, Wilcoxon
from cnnjax.ablation.judge.power import (
    FUTILE,
    POWER,
    chance_to_decide,
    least_seeds,
    pooled_spread,
    seeds_to_exclude,
    seeds_to_see,
    spread_of_pairs,
)
from cnnjax.ablation.judge.sequential import anytime_critical
from cnnjax.ablation.judge.stats import ALPHA
from tests.slow import slow


def power_of_t(n, share, alpha):
    """By the noncentral t distribution, which is exact where n is not small."""
    critical = stats.t.ppf(1 - alpha / 2, n - 1)
    shift = share * math.sqrt(n)
    above = stats.nct.sf(critical, n - 1, shift)
    return above + stats.nct.cdf(-critical, n - 1, shift)


@pytest.mark.parametrize("share", [0.2, 0.5, 1.0, 2.0])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 8])
def test_seeds_to_see_are_those_of_the_noncentral_t(share, alpha):
    n = seeds_to_see(share * 3.0, 3.0, alpha)
    assert power_of_t(n, share, alpha) >= POWER - 0.005
    assert power_of_t(n - 1, share, alpha) < POWER + 0.005


@pytest.mark.parametrize(
    ("share", "alpha", "theirs"),
    [
        (0.2, ALPHA, 198.150820955562),
        (0.5, ALPHA, 33.36713118431779),
        (0.5, ALPHA / 8, 54.91294326874402),
        (1.0, ALPHA, 9.93785094105438),
        (1.0, ALPHA / 8, 16.581082025173053),
        (2.0, ALPHA / 8, 6.919664046133244),
    ],
)
def test_seeds_to_see_are_those_of_statsmodels(share, alpha, theirs):
    """Recorded: TTestPower().solve_power(share, None, alpha, 0.8) of version 0.15.0."""
    assert seeds_to_see(share, 1.0, alpha) == math.ceil(theirs)


def test_seeds_that_nobody_has_are_none():
    assert seeds_to_see(0.001, 3.0, ALPHA) is None
    assert seeds_to_see(0.0, 0.0, ALPHA) is None
    assert seeds_to_exclude(1.0, 1.0, 3.0, ALPHA) is None


@pytest.mark.parametrize("test", ["t", "sign_flip", "wilcoxon"])
def test_so_many_seeds_do_find_the_effect(test):
    share = 1.1
    n = seeds_to_see(share, 1.0, ALPHA, test)
    draws = np.random.default_rng(n).normal(share, 1.0, (600, n))
    kind = {"sign_flip": SignFlip, "wilcoxon": Wilcoxon}.get(test)
    tests = [kind(x) if kind else t_of(x) for x in draws]
    found = np.mean([test.p(0.0) < ALPHA for test in tests])
    # Three standard errors of a rate of 80%; one seed moves it by 5 points.
    assert POWER - 0.05 < found < POWER + 0.1


def t_of(x):
    return TTest(float(x.mean()), float(x.std(ddof=1)) / math.sqrt(x.size), x.size)


@pytest.mark.parametrize("distance", [0.0, 0.4])
def test_so_many_seeds_do_exclude_what_matters(distance):
    n = seeds_to_exclude(1.5, distance, 1.0, ALPHA)
    draws = np.random.default_rng(n).normal(distance, 1.0, (6000, n))
    errors = draws.std(axis=1, ddof=1) / math.sqrt(n)
    half = stats.t.ppf(1 - ALPHA, n - 1) * errors
    found = np.mean(np.abs(draws.mean(axis=1)) + half < 1.5)
    assert POWER - 0.02 < found < POWER + 0.08


def test_the_fewest_seeds_that_can_decide():
    assert least_seeds(ALPHA) == 2
    # Sign patterns of 5 seeds give p = 0.0625 at the least.
    assert least_seeds(ALPHA, "sign_flip") == least_seeds(ALPHA, "wilcoxon") == 6
    assert least_seeds(ALPHA / 4, "sign_flip") == 8
    # All runs of one arm fail and none of the other: 2 / C(8, 4) = 0.029.
    assert (least_seeds(ALPHA, "fisher"), least_seeds(ALPHA, "mcnemar")) == (4, 6)
    for alpha in (ALPHA, ALPHA / 2, ALPHA / 16):
        n = least_seeds(alpha, anytime=True)
        assert math.isfinite(anytime_critical(n, alpha))
        assert math.isinf(anytime_critical(n - 1, alpha))
    # Five do for one claim: with more, the plan says how many do.
    assert [least_seeds(ALPHA / m, anytime=True) for m in (1, 2, 16)] == [5, 6, 7]


def test_spreads_that_agree_are_pooled():
    rng = np.random.default_rng(0)
    alike = [rng.normal(mean, 2.0, 6) for mean in (0, 10, 20)]
    sds, is_pooled = pooled_spread(alike)
    assert is_pooled
    assert sds[0] == pytest.approx(math.sqrt(np.mean([x.var(ddof=1) for x in alike])))
    assert sds == [sds[0]] * 3
    unlike = [alike[0], 30 * alike[1]]
    assert stats.levene(*unlike, center="median").pvalue < 0.05
    sds, is_pooled = pooled_spread(unlike)
    assert not is_pooled
    assert sds == pytest.approx([np.std(x, ddof=1) for x in unlike])
    # An arm without spread is like no other.
    assert pooled_spread([np.zeros(5), alike[0]])[0][0] == 0.0


def test_a_clear_claim_is_worth_seeds_and_none_is_not():
    rng = np.random.default_rng(1)
    clear = 1.5 + rng.normal(size=5)
    nothing = rng.normal(size=30) - 0.1
    nothing -= nothing.mean()
    assert chance_to_decide(clear, None, 20, ALPHA) > 0.8
    assert chance_to_decide(nothing, None, 50, ALPHA) < FUTILE
    # What matters can be excluded soon.
    assert chance_to_decide(nothing, 1.0, 50, ALPHA) > 0.9
    assert chance_to_decide(nothing, None, 50, ALPHA, "wilcoxon") < FUTILE
    assert chance_to_decide(clear, None, 30, ALPHA, "sign_flip") > 0.5
    assert chance_to_decide(clear, None, 5, ALPHA) == 0.0
    assert chance_to_decide([0.0, 0.0, 0.0], None, 50, ALPHA) == 0.0


def adaptively(x, step, futility):
    """Words and numbers of seeds where rounds of seeds stop as `--seeds=auto` does."""
    n, most = 0, x.size
    while n < most:
        n = min(n + step, most)
        seen = x[:n]
        t = abs(seen.mean()) / (seen.std(ddof=1) / math.sqrt(n))
        if t > anytime_critical(n, ALPHA):
            return ("supported" if seen.mean() > 0 else "contradicted"), n
        if futility and chance_to_decide(seen, None, most, ALPHA) < FUTILE:
            return "futile", n
    return "undecided", most


@pytest.mark.parametrize("num_sets", [30, slow(1000)])
def test_futility_costs_little_and_makes_no_error(num_sets):
    """Null sets and sets with an effect of 0.8 standard deviations, up to 30 seeds."""
    rng = np.random.default_rng(2)
    null = [adaptively(x, 5, True) for x in rng.normal(0, 1, (num_sets, 30))]
    wrong = sum(word in ("supported", "contradicted") for word, _ in null) / num_sets
    assert wrong <= ALPHA
    seeds = np.mean([n for _, n in null])
    assert seeds < 25  # of the 30 that they take without it
    draws = rng.normal(0.8, 1, (num_sets, 30))
    found, plain = (
        np.mean([adaptively(x, 5, futility)[0] == "supported" for x in draws])
        for futility in (True, False)
    )
    assert found >= plain - 0.1
    assert plain > 0.8


def test_pairs_count_where_arms_are_not_independent():
    rng = np.random.default_rng(0)
    nets = rng.normal(0, 2.0, (200, 6))  # what the seeds of both arms have in common
    noise = rng.normal(0, 0.2, (2, 200, 6))
    alike = (nets + noise[0]) - (nets + noise[1])
    sd = math.sqrt(2) * 2.0
    for pairs in alike:
        assert spread_of_pairs(pairs, sd) == pytest.approx(pairs.std(ddof=1))
    independent = rng.normal(0, sd, (2000, 6))
    taken = [spread_of_pairs(pairs, sd) is not None for pairs in independent]
    assert 0.035 < np.mean(taken) < 0.065
    assert spread_of_pairs(alike[0][:2], sd) is None
    assert spread_of_pairs([1.0, 1.0, 1.0], 0.0) is None
