"""Corrections for the number of claims, against an own Holm and by simulation."""

import math

import numpy as np
import pytest
from scipy import stats

from cnnjax.ablation.judge.families import (
    Evidence,
    corrected,
    corrected_over_all,
    num_tested,
    same_numbers,
)
from cnnjax.ablation.judge.stats import ALPHA, holm


def of(x, margin=0.0, matters=None, **fields):
    """A claim on some differences, tested by t."""
    x = np.asarray(x, dtype=float)
    p_equal = math.nan
    if matters is not None:
        above = stats.ttest_1samp(x, margin - matters, alternative="greater").pvalue
        below = stats.ttest_1samp(x, margin + matters, alternative="less").pvalue
        p_equal = max(above, below)
    p = stats.ttest_1samp(x, margin).pvalue
    numbers = tuple(x - margin)
    return Evidence(p, p_equal, numbers, "t", supports=x.mean() > margin, **fields)


def rows(seed, *shape, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 1.0, shape)


def test_claims_with_the_same_numbers_count_once():
    x = rows(0, 3, 6, mean=1.0)
    tested = [of(x[0]), of(x[1]), of(x[0]), of(-2 * x[1]), of(x[2]), of(x[0], 0.3)]
    firsts = same_numbers(tested)
    assert firsts == [None, None, 0, 1, None, None]
    p, p_equal = corrected(tested, firsts)
    different = holm([tested[i].p for i in (0, 1, 4, 5)])
    assert p == [*different[:2], different[0], different[1], *different[2:]]
    assert all(map(math.isnan, p_equal))
    assert {num_tested(tested, firsts, place) for place in range(6)} == {4}
    assert corrected_over_all(tested)[0] == p


def test_the_headline_is_tested_by_itself():
    x = rows(1, 4, 6, mean=1.0)
    tested = [of(x[0]), of(x[1], headline=True), of(x[2]), of(x[3])]
    firsts = same_numbers(tested)
    p, _ = corrected(tested, firsts)
    assert p[1] == tested[1].p
    assert [p[i] for i in (0, 2, 3)] == holm([tested[i].p for i in (0, 2, 3)])
    assert [num_tested(tested, firsts, place) for place in range(4)] == [3, 1, 3, 3]
    # Over an atlas there is none.
    assert corrected_over_all(tested)[0] == holm([claim.p for claim in tested])


def test_claims_that_are_not_tested_do_not_count():
    x = rows(2, 2, 6, mean=1.0)
    tested = [of(x[0]), Evidence(math.nan), of(x[1]), Evidence(math.nan)]
    firsts = same_numbers(tested)
    p, _ = corrected(tested, firsts)
    assert math.isnan(p[1])
    assert [p[0], p[2]] == holm([tested[0].p, tested[2].p])
    assert num_tested(tested, firsts, 0) == 2


def test_what_matters_is_corrected_among_the_claims_that_say_it():
    x = rows(3, 4, 8)
    tested = [of(x[0], matters=2.0), of(x[1]), of(x[2], matters=1.5), of(x[3])]
    _, p_equal = corrected(tested, same_numbers(tested))
    assert [p_equal[0], p_equal[2]] == holm([tested[0].p_equal, tested[2].p_equal])
    twins = [of(x[0], matters=2.0), of(x[0], matters=1.0)]
    p, p_equal = corrected(twins, same_numbers(twins))
    assert p == [twins[0].p] * 2
    assert p_equal == holm([twins[0].p_equal, twins[1].p_equal])


@pytest.mark.parametrize("edge", [0.0, 1.0])
def test_a_report_is_seldom_wrong(edge):
    """No effect at all, or one that just matters: a wrong word in 5% of reports."""
    num_reports, wrong = 400, 0
    x = np.random.default_rng(4).normal(edge, 0.5, (num_reports, 5, 6))
    above = stats.ttest_1samp(x, -1.0, axis=2, alternative="greater").pvalue
    below = stats.ttest_1samp(x, 1.0, axis=2, alternative="less").pvalue
    p_values = stats.ttest_1samp(x, 0.0, axis=2).pvalue, np.maximum(above, below)
    for numbers, *both in zip(x, *p_values, strict=True):
        rows_of = zip(*both, numbers, strict=True)
        tested = [Evidence(p, equal, tuple(row), "t") for p, equal, row in rows_of]
        p, p_equal = corrected(tested, same_numbers(tested))
        # At 1 'no difference' is wrong, at 0 any difference is.
        wrong += min(p_equal if edge else p) < ALPHA
    # Two standard errors of a rate of 5%.
    assert wrong / num_reports <= ALPHA + 2 * math.sqrt(0.05 * 0.95 / num_reports)
