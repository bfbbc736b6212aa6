"""Nets that fail to train now and then, and how often that misleads."""

import dataclasses

import numpy as np
import pytest
from scipy import stats

from cnnjax.ablation.define import higher, lower, not_higher
from cnnjax.ablation.judge.collect import collect
from cnnjax.ablation.judge.failures import bounds, exact_test
from cnnjax.ablation.judge.verdicts import judge
from tests.ablation.small_degradation import get_ablation
from tests.ablation.synthetic_sweep import write_sweep

SOURCE = "nobody 2020"
FEWER = {"a": "plain-20", "b": "residual-20"}
# At most 1 point higher, by the runs of `draw`: false at exactly 1 point.
CLAIM = not_higher(
    "test_error", FEWER["a"], than=FEWER["b"], tolerance=1.0, source=SOURCE
)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    ablation = dataclasses.replace(get_ablation(), failed_above=81.0, published=())
    folder = tmp_path_factory.mktemp("runs")
    found = collect(write_sweep(folder, ablation=ablation, seeds=tuple(range(5))))
    rows = [row for row in found.rows if row.arm in FEWER.values()]
    return dataclasses.replace(found, rows=rows)


def with_claims(sweep, *claims, **fields):
    ablation = dataclasses.replace(sweep.ablation, claims=claims, **fields)
    return dataclasses.replace(sweep, ablation=ablation)


def with_errors(sweep, errors, failed):
    """The sweep with other test errors; training errors are 90% where a run failed.

    Args:
      errors: arm -> test error of each seed.
      failed: arm -> whether each seed failed.
    """
    rows = []
    for row in sweep.rows:
        if row.arm in errors and row.seed < len(errors[row.arm]):
            test = {"error": float(errors[row.arm][row.seed]), "count": 1000}
            train = {"error": 90.0 if failed[row.arm][row.seed] else 0.5, "count": 1000}
            final = {"train": train, "test": test}
            result = {**row.result, "final": final}
            rows.append(dataclasses.replace(row, result=result))
    return dataclasses.replace(sweep, rows=rows)


def draw(rng, n=5):
    """As in the audit: one arm fails once in ten seeds, by 80 points.

    Where it trains, it is exactly 1 point worse: the edge of the claim.
    """
    a, b = FEWER.values()
    fails = rng.random(n) < 0.1
    base = 10 + rng.normal(0, 0.5, n)
    worse = 11 + rng.normal(0, 0.5, n) + 80 * fails
    return {a: worse, b: base}, {a: fails, b: np.zeros(n, bool)}


def share_supported(sweep, claim, num_sets, seed=0):
    """How often the claim is supported."""
    rng = np.random.default_rng(seed)
    ready = with_claims(sweep, claim)
    words = [judge(with_errors(ready, *draw(rng)))[0].verdict for _ in range(num_sets)]
    return words.count("supported") / num_sets


def test_one_failure_in_ten_seldom_misleads(sweep):
    """Where a mean with failures is wrong in half of the sets, see the next test."""
    assert share_supported(sweep, CLAIM, 120) < 0.05


@pytest.mark.slow
@pytest.mark.parametrize("test", ["t", "sign_flip", "wilcoxon"])
def test_one_failure_in_ten_seldom_misleads_in_a_thousand_sets(sweep, test):
    claim = dataclasses.replace(CLAIM, test=test)
    assert share_supported(sweep, claim, 1000, seed=1) < 0.05


def test_a_mean_over_all_runs_is_misled():
    """As in the audit: 'at most 1 point worse' in half of the sets; it is 8 worse."""
    rng = np.random.default_rng(2)
    worse = rng.normal(0, 0.3, (4000, 5)) + 80 * (rng.random((4000, 5)) < 0.1)
    p = stats.ttest_1samp(-worse, -1.0, axis=1).pvalue
    assert np.mean((p < 0.05) & (-worse.mean(axis=1) > -1.0)) > 0.5


def test_failures_are_counted_beside_the_mean_of_the_others(sweep):
    a, b = FEWER.values()
    errors = {a: [10.1, 90.0, 10.0, 9.9, 10.2], b: [10.0, 10.1, 9.9, 10.3, 10.2]}
    failed = {a: [False, True, False, False, False], b: [False] * 5}
    (verdict,) = judge(with_errors(with_claims(sweep, CLAIM), errors, failed))
    assert verdict.verdict == "supported"
    assert verdict.seeds == (0, 2, 3, 4)
    assert [(f.failed, f.total) for f in verdict.failures.arms] == [(1, 5), (0, 5)]
    assert verdict.caveat == (
        "Failed to train: plain-20 1 of 5, residual-20 0 of 5 (Fisher's exact test, "
        "p = 1); compared are the others."
    )


@pytest.mark.parametrize(
    ("worse", "verdict"), [("plain-20", "no information"), ("residual-20", "supported")]
)
def test_an_arm_that_fails_more_often_leaves_no_information(sweep, worse, verdict):
    """Four of six against none: the two that trained say little of the arm."""
    a, b = FEWER.values()
    errors = {arm: [10.1, 9.9, 10.0, 90.0, 90.0] for arm in FEWER.values()}
    errors[a] = [10.1, 10.0, 10.05, 90.0, 90.0]
    failed = {arm: [False] * 2 + [arm == worse] * 3 for arm in (a, b)}
    extra = with_errors(with_claims(sweep, CLAIM), errors, failed)
    many = [
        dataclasses.replace(row, seed=row.seed + 5 * copy)
        for copy in range(3)
        for row in extra.rows
    ]
    (found,) = judge(dataclasses.replace(extra, rows=many))
    assert found.failures.p < 0.05
    assert found.verdict == verdict


def test_no_run_that_trained_leaves_no_information(sweep):
    a, b = FEWER.values()
    errors = {a: [90.0] * 5, b: [10.0, 9.0, 11.0, 10.5, 10.2]}
    failed = {a: [True] * 5, b: [False] * 5}
    claims = [CLAIM, higher("failed", a, than=b, source=SOURCE)]
    apart, of_failures = judge(with_errors(with_claims(sweep, *claims), errors, failed))
    assert apart.verdict == "no information"
    assert "No run of plain-20 trained" in apart.reason
    assert of_failures.verdict == "supported"
    assert of_failures.contrast.p == pytest.approx(2 / 252)
    assert of_failures.direction == "100 points higher"
    counted = dataclasses.replace(CLAIM, failures="counted")
    ready = with_claims(sweep, counted, diverged_error=90.0)
    (verdict,) = judge(with_errors(ready, errors, failed))
    assert verdict.verdict == "contradicted"
    assert verdict.caveat.endswith("these count.")


def test_a_loss_that_became_infinite_is_not_dropped_silently(sweep):
    """A loss has no value to count; the numbers of failures are tested instead."""
    a, b = FEWER.values()
    rows = [
        dataclasses.replace(row, status="failed", reason="diverged", result={})
        if row.arm == a and row.seed > 0
        else row
        for row in sweep.rows
    ]
    claim = lower("test_loss", a, than=b, source=SOURCE)
    ready = with_claims(sweep, claim, diverged_error=90.0)
    (verdict,) = judge(dataclasses.replace(ready, rows=rows))
    assert "plain-20 4 of 5" in verdict.caveat
    assert verdict.failures.p == pytest.approx(stats.fisher_exact([[4, 1], [0, 5]])[1])


@pytest.mark.parametrize(("first", "second"), [(4, 0), (2, 1), (0, 3), (0, 0)])
def test_exact_tests_are_those_of_scipy(first, second):
    n = 7
    a = {seed: seed < first for seed in range(n)}
    b = {seed: seed >= n - second for seed in range(n)}
    table = [[first, n - first], [second, n - second]]
    two, one = exact_test(a, b, "fisher")
    assert two == pytest.approx(stats.fisher_exact(table).pvalue)
    assert one == pytest.approx(stats.fisher_exact(table, alternative="less").pvalue)
    two, one = exact_test(a, b, "mcnemar")
    if first + second:
        assert two == pytest.approx(stats.binomtest(first, first + second).pvalue)
        against = stats.binomtest(second, first + second, alternative="greater")
        assert one == pytest.approx(against.pvalue)
    else:
        assert (one, two) == (1.0, 1.0)


def test_no_failure_in_five_seeds_excludes_little():
    low, high = bounds(0, 5)
    assert low == 0
    assert high == pytest.approx(100 * (1 - 0.025 ** (1 / 5)))
