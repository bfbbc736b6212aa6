"""Judges each claim of an ablation on the cells that were run."""

import math

import numpy as np

from cnnjax.ablation.define.claim import Claim
from cnnjax.ablation.define.metrics import METRICS
from cnnjax.ablation.judge.collect import Sweep
from cnnjax.ablation.judge.stats import (
    ALPHA,
    Contrast,
    combine_by_seed,
    holm,
    paired_contrast,
)
from cnnjax.ablation.judge.verdict import (
    CONTRADICTED,
    SUPPORTED,
    UNDECIDED,
    Verdict,
)


def judge(sweep: Sweep) -> list[Verdict]:
    """A verdict per claim that the scale poses, in the order of the definition."""
    claims = sweep.ablation.posed(sweep.scale_name)
    pairs = [combine_by_seed(sweep.values(c.metric), c.contrast) for c in claims]
    num_tested = sum(len(seeds) > 1 for seeds, _ in pairs)
    contrasts = [
        _contrast(sweep, claim, differences, num_tested)
        for claim, (_, differences) in zip(claims, pairs, strict=True)
    ]
    adjusted = holm([c.p if c else math.nan for c in contrasts])
    return [
        _verdict(sweep, claim, contrast, p_holm, seeds, num_tested)
        for claim, contrast, p_holm, (seeds, _) in zip(
            claims, contrasts, adjusted, pairs, strict=True
        )
    ]


def method(sweep: Sweep) -> str:
    """How p and the intervals come about, in sentences for the report."""
    if sweep.sequential:
        return (
            "Seeds were added while results were looked at, so p and the 95% intervals "
            "hold at every number of seeds at once: the evidence is a Bayes factor of "
            "the paired t statistic, with a standard normal prior on the standardised "
            "effect, and p is 1 over its largest value so far (Ville's inequality; "
            "Wang and Ramdas 2024, arXiv 2310.03722)."
        )
    if sweep.overlap:
        return (
            "The runs of an arm are folds of cross-validation, whose training sets "
            "have images in common: the variance of a mean over n runs is taken as "
            f"(1/n + {sweep.overlap:.3g}) times theirs, for {sweep.overlap:.3g} test "
            "images for each training image (Nadeau and Bengio 2003), in a two-sided "
            "paired t test."
        )
    return "A two-sided paired t test, with the number of seeds set beforehand."


def _contrast(
    sweep: Sweep, claim: Claim, differences: np.ndarray, num_tested: int
) -> Contrast | None:
    if differences.size < 2:
        return None
    # Holm asks this level of the smallest p-value: the careful choice for the effect
    # that this number of seeds could have shown.
    level = ALPHA / num_tested
    return paired_contrast(
        differences,
        claim.margin,
        _resolution(sweep, claim),
        level,
        anytime=sweep.sequential,
        overlap=sweep.overlap,
    )


def _resolution(sweep: Sweep, claim: Claim) -> float:
    """Step of the contrast: independent rounding of each arm, added as variances."""
    length = math.sqrt(sum(c * c for c in claim.contrast.values()))
    return sweep.resolution(claim.metric) * length


def _verdict(
    sweep: Sweep,
    claim: Claim,
    contrast: Contrast | None,
    p_holm: float,
    seeds: tuple[int, ...],
    num_tested: int,
) -> Verdict:
    caveat = _left_out(sweep, claim)
    if contrast is None:
        reason = f"Too few seeds: {len(seeds)} with all arms, 2 needed."
        return Verdict(claim, UNDECIDED, reason, seeds=seeds, caveat=caveat)
    verdict, reason = _decide(claim, contrast, p_holm, num_tested)
    return Verdict(claim, verdict, reason, contrast, p_holm, seeds, caveat)


def _decide(
    claim: Claim, contrast: Contrast, p_holm: float, num_tested: int
) -> tuple[str, str]:
    unit = METRICS[claim.metric].unit
    unit = {"%": "points", "": "units"}.get(unit, unit)
    if p_holm < ALPHA:
        supported = contrast.effect > claim.margin
        side = "above" if supported else "below"
        agree = " All seeds gave the same value." if contrast.no_spread else ""
        reason = f"The effect is {side} the margin of {claim.margin:g} {unit}.{agree}"
        return SUPPORTED if supported else CONTRADICTED, reason
    if math.isnan(p_holm):
        if METRICS[claim.metric].path[0] == "cost":
            return UNDECIDED, (
                "The seeds of an arm are one program, measured once: without a spread "
                "there is nothing to test."
            )
        return UNDECIDED, "All seeds gave the same value: there is no spread to test."
    seen = ""
    if contrast.detectable > 100 and unit == "points":
        seen = f" With this spread, {contrast.n} seeds cannot show any effect."
    elif math.isfinite(contrast.detectable):
        seen = (
            f" An effect {contrast.detectable:.3g} {unit} from the margin would have "
            f"been found with 80% power by these {contrast.n} seeds."
        )
    if contrast.low <= claim.margin <= contrast.high:
        reason = f"The interval contains the margin of {claim.margin:g} {unit}."
    else:
        reason = (
            "The interval leaves out the margin, but p does not hold after the "
            f"correction for {num_tested} claims."
        )
    return UNDECIDED, reason + seen


def _left_out(sweep: Sweep, claim: Claim) -> str:
    """Names the cells of the contrast that give no value, by status."""
    has = sweep.values(claim.metric)
    names = []
    for row in sweep.rows:
        if row.arm in claim.contrast and row.replicate not in has[row.arm]:
            why = "no value" if row.status == "done" else row.status
            names.append(f"{row.arm} {row.run} ({why})")
    if not names:
        return ""
    return f"Left out, with the same seeds of the other arms: {', '.join(names)}."
