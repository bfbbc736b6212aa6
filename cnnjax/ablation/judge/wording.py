"""Sentences on a verdict, with the sign and the arms of the sentence of its claim."""

import math
from collections.abc import Sequence

from cnnjax.ablation.define.claim import (
    FISHER,
    MCNEMAR,
    SIGN_FLIP,
    WILCOXON,
    Claim,
    T,
)
from cnnjax.ablation.define.metrics import METRICS
from cnnjax.ablation.define.papers import Published, matching_numbers
from cnnjax.ablation.judge.collect import Sweep
from cnnjax.ablation.judge.stats import ALPHA, Contrast
from cnnjax.ablation.judge.verdict import Shown

RULE = (
    f"Supported or contradicted: p is below {ALPHA:g} after Holm's correction over the "
    "claims of a report, but for a headline, which is tested by itself; no difference "
    "beyond the margin: two one-sided tests, corrected likewise, exclude a distance "
    "from the margin that the claim says matters; no information: the runs cannot "
    "tell, however many there are; undecided: too few seeds."
)
RULE_OF_ATLAS = (
    f"{RULE} Where Holm's correction over all claims of the atlas gives another "
    "verdict, that is named beside it."
)
TESTS = {
    T: "a two-sided paired t test",
    SIGN_FLIP: "a two-sided sign-flip permutation test of the mean",
    WILCOXON: "Wilcoxon's signed-rank test, two-sided; its effect is the pseudo-median",
    FISHER: "Fisher's exact test of the numbers of failed runs",
    MCNEMAR: "McNemar's exact test of the seeds on which one arm alone failed",
}


def rule(sweep: Sweep) -> str:
    """How the verdicts of a report come about, to be printed over its table."""
    return f"{RULE} {method(sweep)} {_failure_rule(sweep)}"


def method(sweep: Sweep) -> str:
    """How p and the intervals come about, in sentences for the report."""
    if sweep.sequential:
        return (
            "Seeds were added while results were looked at, so p and the 95% intervals "
            "hold at every number of seeds at once: the evidence is a Bayes factor of "
            "the paired t statistic, with a standard normal prior on the standardised "
            "effect, or of signs where the claim asks for another test, and p is 1 "
            "over it (Ville's inequality; Wang and Ramdas 2024, arXiv 2310.03722)."
        )
    if sweep.overlap:
        return (
            "The runs of an arm are folds of cross-validation, whose training sets "
            "have images in common: seeds on one fold are averaged, and the variance "
            f"of a mean over n folds is taken as (1/n + {sweep.overlap:.3g}) times "
            f"theirs, for {sweep.overlap:.3g} test images for each training image "
            "(Nadeau and Bengio 2003), in a two-sided paired t test."
        )
    posed = sweep.ablation.posed(sweep.scale_name)
    tests = list(dict.fromkeys(claim.decided_by for claim in posed)) or [T]
    words = [TESTS[test] for test in tests]
    said = words[0] if len(words) == 1 else f"each claim has {' or '.join(words)}"
    return f"{said[0].upper()}{said[1:]}, with the number of seeds set beforehand."


def _failure_rule(sweep: Sweep) -> str:
    ablation = sweep.ablation
    stuck = ""
    if ablation.failed_above is not None:
        stuck = f" or its training error ends above {ablation.failed_above:g}%"
    sentence = f"A run has failed to train if its loss becomes infinite{stuck}"
    if ablation.diverged_error is not None:
        return (
            f"{sentence}; its errors count as well, as {ablation.diverged_error:g}% if "
            "the loss is infinite, and all else is compared over the other runs."
        )
    return (
        f"{sentence}; claims compare the other runs, and an exact test the numbers of "
        "failures."
    )


def shown(claim: Claim, contrast: Contrast) -> Shown:
    """The effect with the sign of the sentence."""
    ends = sorted(claim.sign * end for end in (contrast.low, contrast.high))
    value, limit = claim.sign * contrast.effect, claim.sign * claim.margin
    return Shown(value, ends[0], ends[1], limit, most=claim.sign < 0)


def amount(number: float, metric: str) -> str:
    """'15.9 points', '1 point', '0.02'."""
    unit = {"%": "points"}.get(METRICS[metric].unit, METRICS[metric].unit)
    written = f"{number:.3g}"
    unit = "point" if unit == "points" and written == "1" else unit
    return f"{written} {unit}".rstrip()


def direction(claim: Claim, effect: float) -> str:
    """The effect in words: '15.9 points lower', '59.4 points more', '3.4%'."""
    if len(claim.contrast) == 1:
        return _level(claim.sign * effect, claim.metric)
    size = amount(abs(effect), claim.metric)
    if not _compares_two(claim):
        return f"{size} {'more' if effect >= 0 else 'less'}"
    _, coefficient = _subject(claim)
    if effect == 0:
        return "equal"
    return f"{size} {'higher' if effect * coefficient > 0 else 'lower'}"


def finding(claim: Claim, effect: float) -> str:
    """What was found, with the arms: 'a is 15.9 points lower than b'."""
    words = direction(claim, effect)
    arm, _ = _subject(claim)
    if len(claim.contrast) == 1:
        return f"{arm} is at {words}"
    if not _compares_two(claim):
        return f"The effect is {words}"
    other = next(name for name in claim.contrast if name != arm)
    return f"{arm} is {words} {'to' if words == 'equal' else 'than'} {other}"


def claimed(claim: Claim) -> str:
    """What the claim says of it: 'at most 1 point higher', 'lower', 'below 5%'."""
    size = amount(abs(claim.margin), claim.metric)
    if len(claim.contrast) == 1:
        limit = _level(claim.sign * claim.margin, claim.metric)
        return f"{'above' if claim.sign > 0 else 'below'} {limit}"
    if claim.is_tolerance:
        return f"at most {size} {'lower' if _subject(claim)[1] > 0 else 'higher'}"
    if not _compares_two(claim):
        return f"more than {size}" if claim.margin else "more"
    side = "higher" if _subject(claim)[1] > 0 else "lower"
    return f"more than {size} {side}" if claim.margin else side


def reversal(claim: Claim, contrast: Contrast, published: Sequence[Published]) -> str:
    """A sentence where a tolerance holds because the opposite is true; else ''.

    Args:
      claim: that was supported.
      contrast: of its runs.
      published: numbers of the sources.
    """
    beyond = claim.is_tolerance and contrast.low > abs(claim.margin)
    if not beyond or not _compares_two(claim):
        return ""
    said = f"{claimed(claim)}: yes, it is {direction(claim, contrast.effect)}"
    said = f"{said[0].upper()}{said[1:]}"
    numbers = matching_numbers(claim.contrast, claim.metric, published)
    if not numbers:
        return f"{said}, which the source does not say."
    theirs = sum(claim.contrast[n.arm] * n.value for n in numbers)
    if theirs > abs(claim.margin):
        return ""
    return f"{said}, against the source, where it is {direction(claim, theirs)}."


def unknown(claim: Claim, contrast: Contrast, needed: int | None, tested: int) -> str:
    """Why a claim is undecided, and what would decide it."""
    where = "no difference" if not claim.margin else f"the limit ({claimed(claim)})"
    if contrast.no_spread:
        reason = (
            f"All {contrast.n} seeds gave the same value, so only signs can be tested, "
            f"and p cannot be below {contrast.p:.2g}."
        )
    elif contrast.p >= ALPHA or math.isnan(contrast.low):
        reason = f"{finding(claim, contrast.effect)}, which may be {where}."
    else:
        reason = (
            "The interval leaves out the margin, but p does not hold after the "
            f"correction for {tested} claims."
        )
    if needed is not None:
        reason += (
            f" About {needed:,} seeds decide it with 80% power, if effect and spread "
            "are as found."
        )
    return reason


def equal(claim: Claim) -> str:
    """Why there is no difference beyond the margin."""
    assert claim.matters is not None
    size = amount(claim.matters, claim.metric)
    where = "" if not claim.margin else f" from the limit ({claimed(claim)})"
    return (
        f"A difference{where} of {size} is excluded, the smallest that matters "
        f"({claim.because.rstrip('.')})."
    )


def _level(value: float, metric: str) -> str:
    """A value of a metric itself: '3.4%', '2 ms'."""
    if METRICS[metric].unit == "%":
        return f"{value:.3g}%"
    return amount(value, metric)


def _subject(claim: Claim) -> tuple[str, float]:
    """The arm that the sentence is about, which is named first."""
    return next(iter(claim.contrast.items()))


def _compares_two(claim: Claim) -> bool:
    """Whether it is a plain difference of two arms."""
    return sorted(claim.contrast.values()) == [-1, 1]
