"""Runs that failed to train: what becomes of them in a claim, and whether arms differ.

A mean says little of a net that fails once in ten seeds: five seeds see no failure in
59 of 100 cases, and then a t test compares something else than the mean. So a claim is
about the runs that trained, how many did not is counted beside it and compared by an
exact test, and an arm that fails more often against the claim leaves it without
information. A definition may count failures in the mean where they are the point.
"""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import stats

from cnnjax.ablation.define.claim import APART, COUNTED, MCNEMAR, Claim
from cnnjax.ablation.define.metrics import FAILED, METRICS, needs_training
from cnnjax.ablation.judge.collect import Sweep
from cnnjax.ablation.judge.row import Replicate
from cnnjax.ablation.judge.sequential import evidence_of_signs
from cnnjax.ablation.judge.stats import ALPHA
from cnnjax.ablation.judge.verdict import ArmFailures, Failures

Values = Mapping[str, Mapping[Replicate, float]]


def treatment(sweep: Sweep, claim: Claim) -> str:
    """What becomes of failed runs in a claim: 'apart' or 'counted'."""
    counts = sweep.ablation.diverged_error is not None
    usual = COUNTED if counts and claim.metric.endswith("_error") else APART
    return claim.failures or usual


def values_of(sweep: Sweep, claim: Claim) -> Values:
    """Arm -> seed, or (fold, seed) -> value, of the runs that a claim compares."""
    values = sweep.values(claim.metric)
    if not needs_training(claim.metric) or treatment(sweep, claim) == COUNTED:
        return values
    failed = sweep.failed
    return {
        arm: {key: x for key, x in own.items() if not failed[arm].get(key)}
        for arm, own in values.items()
    }


def failures_of(sweep: Sweep, claim: Claim) -> Failures | None:
    """Failures in the arms of a claim; None without any, or where none matters."""
    if claim.metric != FAILED and not needs_training(claim.metric):
        return None
    failed = {arm: sweep.failed[arm] for arm in claim.contrast}
    arms = tuple(
        ArmFailures(arm, sum(own.values()), len(own)) for arm, own in failed.items()
    )
    test = claim.test if claim.metric == FAILED else ""
    found = Failures(arms, test or sweep.ablation.failure_test)
    if not found.count and claim.metric != FAILED:
        return None
    if sorted(claim.contrast.values()) != [-1, 1]:
        return found
    more, less = sorted(claim.contrast, key=lambda arm: -claim.contrast[arm])
    p, p_against = exact_test(
        failed[more], failed[less], found.test, sweep.sequential or bool(sweep.overlap)
    )
    return dataclasses.replace(found, p=p, p_against=p_against)


def exact_test(
    first: Mapping[Replicate, bool],
    second: Mapping[Replicate, bool],
    test: str,
    anytime: bool = False,
) -> tuple[float, float]:
    """Whether two arms fail equally often.

    Args:
      first: seed -> whether the run failed.
      second: likewise.
      test: 'fisher', of the two shares, or 'mcnemar', of the seeds on which one arm
        alone failed.
      anytime: whether results decided how many seeds there are: then the signs of
        those seeds are judged, by `sequential`.

    Returns:
      The two-sided p, and the one-sided p of the second failing more often.
    """
    pairs = [(first[key], second[key]) for key in first.keys() & second.keys()]
    alone = sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)
    if anytime:
        evidence = evidence_of_signs(max(alone), sum(alone))
        p = min(1.0, math.exp(-evidence))
        return p, p if alone[1] > alone[0] else 1.0
    if test == MCNEMAR:
        if not sum(alone):
            return 1.0, 1.0
        two = stats.binomtest(alone[0], sum(alone)).pvalue
        one = stats.binomtest(alone[1], sum(alone), alternative="greater").pvalue
        return float(two), float(one)
    table = np.array([_counts(first), _counts(second)])
    two = stats.fisher_exact(table).pvalue
    return float(two), float(stats.fisher_exact(table, alternative="less").pvalue)


def bounds(failed: int, total: int) -> tuple[float, float]:
    """95% interval of a share, in percent, by Clopper and Pearson 1934."""
    interval = stats.binomtest(failed, total).proportion_ci(1 - ALPHA)
    return 100 * float(interval.low), 100 * float(interval.high)


def speak_against(claim: Claim, failures: Failures, supported: bool) -> bool:
    """Whether failures differ in a way that a mean over the other runs hides.

    A failure is an error, or a loss, that is as high as can be. Where the metric has no
    such direction any difference counts.
    """
    if not failures.p < ALPHA:
        return False
    title = METRICS[claim.metric].title
    if not title.endswith(("error", "loss")):
        return True
    return (failures.p_against < ALPHA) == supported


def in_words(failures: Failures, counted: bool) -> str:
    """'Failed to train: a 1 of 5, b 0 of 5 (Fisher, p = 1).'"""
    arms = ", ".join(f"{a.arm} {a.failed} of {a.total}" for a in failures.arms)
    name = {"fisher": "Fisher's exact test", "mcnemar": "McNemar's exact test"}
    tested = "" if math.isnan(failures.p) else f" ({name[failures.test]}, "
    tested += f"p = {failures.p:.2g})" if tested else ""
    what = "these count" if counted else "compared are the others"
    return f"Failed to train: {arms}{tested}; {what}."


def all_failed(failures: Failures | None) -> Sequence[str]:
    """The arms of which no run trained; one run alone says too little."""
    arms = failures.arms if failures else ()
    return [arm.arm for arm in arms if arm.total > 1 and arm.failed == arm.total]


def _counts(failed: Mapping[Replicate, bool]) -> tuple[int, int]:
    return sum(failed.values()), len(failed) - sum(failed.values())
