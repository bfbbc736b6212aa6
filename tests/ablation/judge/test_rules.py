"""What keeps a claim from a verdict, or gives it another one than a t test alone."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from cnnjax.ablation.define import (
    Gate,
    Published,
    below,
    higher,
    lower,
    not_higher,
)
from cnnjax.ablation.judge.collect import collect
from cnnjax.ablation.judge.stats import combine_by_seed
from cnnjax.ablation.judge.verdict import WORDS, slug
from cnnjax.ablation.judge.verdicts import judge, over_atlas, rule
from tests.ablation.small_degradation import get_ablation
from tests.ablation.synthetic_sweep import write_sweep

A, B = "plain-20", "residual-20"
SOURCE = "nobody 2020"
NEARLY = [10.1, 9.9, 10.0, 10.2, 9.8]
GATE = Gate(at_most=0.1, because="it can be fitted", control=B)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return collect(write_sweep(tmp_path_factory.mktemp("runs")))


def judged(sweep, *claims, losses=None, gate=None, published=(), **errors):
    """Verdicts on claims about A and B.

    Args:
      sweep: any.
      *claims: the claims.
      losses: arm -> training loss of every seed.
      gate: of the scale.
      published: numbers of sources.
      **errors: a and b -> test error of each seed.
    """
    scale = dataclasses.replace(sweep.ablation.scale("laptop"), gate=gate)
    ablation = dataclasses.replace(
        sweep.ablation, claims=claims, scales={"laptop": scale}, published=published
    )
    own = {A: errors["a"], B: errors["b"]}
    rows = []
    for row in sweep.rows:
        if row.arm in own:
            loss = (losses or {}).get(row.arm, 0.01)
            train = {"error": 0.5, "loss": loss, "count": 1000}
            test = {"error": own[row.arm][row.seed], "count": 1000}
            result = {**row.result, "final": {"train": train, "test": test}}
            rows.append(dataclasses.replace(row, result=result))
    return judge(dataclasses.replace(sweep, ablation=ablation, rows=rows))


HIGHER = higher("test_error", A, than=B, source=SOURCE, name="higher")
MATTERS = dataclasses.replace(HIGHER, matters=1.0, because="half of the effect there")
AT_MOST = not_higher("test_error", A, than=B, tolerance=1.0, source=SOURCE)


def test_no_difference_is_a_verdict_of_its_own(sweep):
    a = [10.0, 10.1, 9.9, 10.15, 9.85]
    (open_one,) = judged(sweep, HIGHER, a=a, b=NEARLY)
    (verdict,) = judged(sweep, MATTERS, a=a, b=NEARLY)
    assert open_one.verdict == "undecided"
    assert verdict.verdict == "no difference beyond the margin"
    assert verdict.p_equal < 0.05 < verdict.p_holm
    assert verdict.reason == (
        "A difference of 1 point is excluded, the smallest that matters (half of the "
        "effect there)."
    )
    assert slug(verdict.verdict) == "no-difference-beyond-the-margin"
    assert verdict.is_decided


def test_a_difference_too_small_to_matter_does_not_contradict(sweep):
    """As of two nets that differ by .00013 nats, in every seed."""
    a = [x - 0.02 - 0.001 * i for i, x in enumerate(NEARLY)]
    assert judged(sweep, HIGHER, a=a, b=NEARLY)[0].verdict == "contradicted"
    (verdict,) = judged(sweep, MATTERS, a=a, b=NEARLY)
    assert verdict.verdict == "no difference beyond the margin"
    assert verdict.direction == "0.022 points lower"


def test_few_seeds_leave_open_what_matters(sweep):
    a = [8.0, 13.0, 9.5, 11.0, 9.0]
    (verdict,) = judged(sweep, MATTERS, a=a, b=NEARLY)
    assert verdict.verdict == "undecided"
    assert verdict.seeds_needed > 5


@pytest.mark.parametrize(
    ("losses", "name"),
    [({B: 0.2}, "The control residual-20"), ({A: 0.3}, "Arm plain-20")],
)
def test_a_gate_that_an_arm_misses(sweep, losses, name):
    clear = [x + 5 + 0.01 * i for i, x in enumerate(NEARLY)]
    assert judged(sweep, HIGHER, gate=GATE, a=clear, b=NEARLY)[0].verdict == "supported"
    (verdict,) = judged(sweep, HIGHER, gate=GATE, losses=losses, a=clear, b=NEARLY)
    assert verdict.verdict == "no information"
    (loss,) = losses.values()
    assert verdict.reason == (
        f"{name} ends at a training loss of {loss}, above the 0.1 stated beforehand "
        "(it can be fitted)."
    )
    assert math.isnan(verdict.p_holm)


def test_what_a_gate_does_not_ask(sweep):
    """Training errors ask for the control alone, failures and costs for nothing."""
    train = higher("train_error", A, than=B, source=SOURCE, margin=5.0)
    failed = higher("failed", A, than=B, source=SOURCE)
    losses = {A: 0.3}
    found = judged(sweep, train, gate=GATE, losses=losses, a=NEARLY, b=NEARLY)
    assert found[0].verdict != "no information"
    found = judged(sweep, train, failed, gate=GATE, losses={B: 9.0}, a=NEARLY, b=NEARLY)
    assert [v.verdict for v in found] == ["no information", "undecided"]


@pytest.mark.parametrize(
    ("theirs", "words"),
    [
        ((), ", which the source does not say."),
        ((8.0, 7.5), ", against the source, where it is 0.5 points higher."),
        ((5.0, 9.0), None),
    ],
)
def test_a_tolerance_that_holds_by_a_reversal(sweep, theirs, words):
    """'At most 1 point higher: yes, it is 15.9 lower, against the source'."""
    values = dict(zip((A, B), theirs, strict=True)) if theirs else {}
    table = Published(source=SOURCE, metric="test_error", data="d", values=values)
    b = [x + 15.9 + 0.1 * i for i, x in enumerate(NEARLY)]
    (verdict,) = judged(sweep, AT_MOST, published=[table], a=NEARLY, b=b)
    assert verdict.verdict == "supported"
    start = "At most 1 point higher: yes, it is 16.1 points lower"
    assert verdict.reversal == (start + words if words else "")
    assert verdict.shown.value == pytest.approx(-16.1)


def test_a_tolerance_that_holds_as_it_is_meant(sweep):
    (verdict,) = judged(sweep, AT_MOST, a=NEARLY, b=[10.0, 9.9, 10.1, 10.3, 9.7])
    assert (verdict.verdict, verdict.reversal) == ("supported", "")


@pytest.mark.parametrize(
    ("claim", "value", "limit", "most"),
    [
        (higher("test_error", A, than=B, source=SOURCE, margin=2.0), -3.0, 2.0, False),
        (lower("test_error", A, than=B, source=SOURCE, margin=2.0), 3.0, 2.0, False),
        (AT_MOST, -3.0, 1.0, True),
    ],
)
def test_an_effect_has_the_sign_of_its_sentence(sweep, claim, value, limit, most):
    b = [x + 3 + 0.01 * i for i, x in enumerate(NEARLY)]
    (verdict,) = judged(sweep, claim, a=NEARLY, b=b)
    assert verdict.shown.value == pytest.approx(value, abs=0.05)
    assert (verdict.shown.limit, verdict.shown.most) == (limit, most)
    assert verdict.direction == "3.02 points lower"


def test_the_level_of_one_arm_has_its_own_unit(sweep):
    claim = below("test_error", A, bound=12.0, source=SOURCE)
    (verdict,) = judged(sweep, claim, a=NEARLY, b=NEARLY)
    assert verdict.verdict == "supported"
    assert verdict.reason == "plain-20 is at 10%; claimed is below 12%."
    assert verdict.shown.value == pytest.approx(10.0)


def test_borderline_by_one_seed(sweep):
    """Four seeds agree, and the fifth takes the verdict away or gives it."""
    steady = [x + 1 + 0.02 * i for i, x in enumerate(NEARLY)]
    assert judged(sweep, HIGHER, a=steady, b=NEARLY)[0].borderline == ""
    odd = [*steady[:4], NEARLY[4] + 4.5]
    (verdict,) = judged(sweep, HIGHER, a=odd, b=NEARLY)
    assert verdict.verdict == "undecided"
    assert "it changes if one seed (4) is left out" in verdict.borderline
    assert "within a factor of 2 of 0.05" in verdict.borderline


def test_borderline_where_any_seed_is_needed(sweep):
    """A test by signs with the fewest seeds that decide."""
    claim = dataclasses.replace(HIGHER, test="wilcoxon")
    six = [
        *[dataclasses.replace(row) for row in sweep.rows],
        *[dataclasses.replace(row, seed=5) for row in sweep.rows if row.seed == 4],
    ]
    more = dataclasses.replace(sweep, rows=six)
    a, b = ([x + d for x in [*NEARLY, 10.3]] for d in (1.0, 0.0))
    a = [x + 0.01 * i for i, x in enumerate(a)]
    (verdict,) = judged(more, claim, a=a, b=b)
    assert (verdict.verdict, verdict.contrast.p) == ("supported", 2 / 64)
    assert "it changes if any one seed is left out" in verdict.borderline


def test_an_atlas_is_corrected_as_a_whole(sweep):
    weak = [x + d for x, d in zip(NEARLY, [0.2, 1.7, 0.5, 1.6, 1.0], strict=True)]
    strong = [x + 5 + 0.01 * i for i, x in enumerate(NEARLY)]
    reports = [judged(sweep, HIGHER, a=weak, b=NEARLY)]
    reports += [judged(sweep, HIGHER, a=strong, b=NEARLY)] * 2
    for b in ([10.3, 9.6, 10.1, 9.9, 10.2], [9.6, 10.3, 9.9, 10.1, 9.9]):
        reports += [judged(sweep, HIGHER, a=NEARLY, b=b)]
    (first,), (second,), (third,), *others = over_atlas(reports)
    assert (first.verdict, first.in_atlas) == ("supported", "undecided")
    # The second and third are the same trainings and count once.
    assert second.p_atlas == third.p_atlas == pytest.approx(4 * second.contrast.p)
    assert first.p_atlas == pytest.approx(3 * first.contrast.p)
    assert second.in_atlas == "supported"
    assert {verdict.in_atlas for (verdict,) in others} == {"undecided"}


def test_the_rule_is_one_text_for_every_table(sweep):
    words = rule(sweep)
    for part in ("below 0.05", "Holm", *WORDS[2:], "paired t test", "infinite"):
        assert part.lower() in words.lower()
    robust = dataclasses.replace(
        sweep.ablation,
        claims=[dataclasses.replace(HIGHER, test="sign_flip")],
        failed_above=81.0,
    )
    words = rule(dataclasses.replace(sweep, ablation=robust))
    assert "sign-flip permutation test" in words
    assert "above 81%" in words


def test_seeds_on_a_fold_are_averaged():
    """Wrong in 5% of sets of 5 folds with 5 seeds, and in 20% without averages."""
    rng = np.random.default_rng(0)
    num_sets, keys = 400, [(fold, seed) for fold in range(5) for seed in range(5)]
    runs = rng.normal(0, 1, (num_sets, 5, 1)) + rng.normal(0, 0.5, (num_sets, 5, 5))
    folds = []
    for x in runs:
        values = {"a": dict(zip(keys, x.ravel().tolist(), strict=True))}
        folds.append(combine_by_seed(values, {"a": 1.0})[1])
    of_folds, of_runs = (
        np.mean(stats.ttest_1samp(x, 0.0, axis=1).pvalue < 0.05)
        for x in (np.array(folds), runs.reshape(num_sets, 25))
    )
    assert of_runs > 0.15
    # Two standard errors of a rate of 5%.
    assert of_folds <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / num_sets)


def test_a_definition_that_an_earlier_version_stored_is_judged():
    ablation = get_ablation()
    assert {claim.decided_by for claim in ablation.claims} == {"t"}
    assert ablation.failed_above is None
