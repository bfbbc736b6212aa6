"""Judges each claim of an ablation on the cells that were run."""

import dataclasses
import math
from collections.abc import Sequence

from cnnjax.ablation.define.metrics import FAILED
from cnnjax.ablation.judge import failures as failing
from cnnjax.ablation.judge import wording
from cnnjax.ablation.judge.collect import Sweep
from cnnjax.ablation.judge.families import (
    Evidence,
    corrected,
    corrected_over_all,
    num_tested,
    same_numbers,
)
from cnnjax.ablation.judge.looks import Look, look_at
from cnnjax.ablation.judge.power import seeds_to_exclude, seeds_to_see
from cnnjax.ablation.judge.stats import ALPHA, Contrast
from cnnjax.ablation.judge.verdict import (
    CONTRADICTED,
    NO_DIFFERENCE,
    NO_INFORMATION,
    SUPPORTED,
    UNDECIDED,
    Verdict,
)
from cnnjax.ablation.judge.wording import RULE, method, rule

__all__ = ["RULE", "judge", "method", "over_atlas", "rule"]

# A p within this factor of the level makes a verdict borderline.
NEAR = 2.0


def judge(sweep: Sweep) -> list[Verdict]:
    """A verdict per claim that the scale poses, in the order of the definition."""
    claims = sweep.ablation.posed(sweep.scale_name)
    looks = [look_at(sweep, claim) for claim in claims]
    report = _Report(looks)
    return [report.verdict(place) for place in range(len(looks))]


def over_atlas(reports: Sequence[Sequence[Verdict]]) -> list[list[Verdict]]:
    """The verdicts of many reports, with what they are over all claims together.

    Args:
      reports: the verdicts of each.

    Returns:
      The same, with `p_atlas` and `in_atlas`: Holm's correction over all claims that
      were tested, of which those with the same numbers count once.
    """
    flat = [verdict for report in reports for verdict in report]
    p, p_equal = corrected_over_all([_tested_of(verdict) for verdict in flat])
    judged = iter(
        dataclasses.replace(
            verdict, p_atlas=own, in_atlas=_word_again(verdict, own, own_equal)
        )
        for verdict, own, own_equal in zip(flat, p, p_equal, strict=True)
    )
    return [[next(judged) for _ in report] for report in reports]


class _Report:
    """The claims of one report, which share a correction."""

    def __init__(self, looks: Sequence[Look]):
        self.looks = looks
        self.tested = [look.tested() for look in looks]
        self.firsts = same_numbers(self.tested)
        self.p, self.p_equal = corrected(self.tested, self.firsts)

    def verdict(self, place: int) -> Verdict:
        """All that is said of one claim."""
        look, count = self.looks[place], num_tested(self.tested, self.firsts, place)
        contrast = look.contrast(ALPHA / count)
        word = self._word(place)
        needed = _seeds_needed(look, contrast, count) if word == UNDECIDED else None
        first = self.firsts[place]
        claim = look.claim
        return Verdict(
            claim=claim,
            verdict=word,
            reason=_reason(look, word, contrast, needed, count),
            contrast=contrast,
            p_holm=self.p[place],
            p_equal=self.p_equal[place],
            seeds=look.seeds,
            caveat=_caveat(look),
            shown=wording.shown(claim, contrast) if contrast else None,
            direction=wording.direction(claim, contrast.effect) if contrast else "",
            reversal=wording.reversal(claim, contrast, look.sweep.ablation.published)
            if contrast and word == SUPPORTED
            else "",
            failures=look.failures,
            borderline=self._borderline(place, word),
            same_as="" if first is None else self.looks[first].claim.name,
            seeds_needed=needed,
            tested=self.tested[place],
        )

    def _word(self, place: int) -> str:
        tested = self.tested[place]
        return _word(self.looks[place], tested, self.p[place], self.p_equal[place])

    def _borderline(self, place: int, word: str) -> str:
        """Why the verdict could easily be another."""
        look = self.looks[place]
        if not look.is_tested:
            return ""
        reasons = []
        p, p_equal = self.p[place], self.p_equal[place]
        p = p_equal if word == NO_DIFFERENCE else p
        p = min(p, 1.0 if math.isnan(p_equal) else p_equal) if word == UNDECIDED else p
        if ALPHA / NEAR < p < ALPHA * NEAR:
            reasons.append(f"p = {p:.2g} is within a factor of {NEAR:g} of {ALPHA:g}")
        turning = [
            str(look.seeds[seed])
            for seed in range(look.n)
            if self._word_without(place, seed) != word
        ]
        if turning:
            what = "any one seed" if len(turning) == look.n else "one seed"
            named = "" if len(turning) == look.n else f" ({', '.join(turning)})"
            reasons.append(f"it changes if {what}{named} is left out")
        return "; ".join(reasons)

    def _word_without(self, place: int, seed: int) -> str:
        """The verdict without one seed, the other claims as they are."""
        without = self.looks[place].tested(left_out=seed)
        firsts = [i if first is None else first for i, first in enumerate(self.firsts)]
        tested = [
            dataclasses.replace(without, headline=claim.headline)
            if first == firsts[place]
            else claim
            for first, claim in zip(firsts, self.tested, strict=True)
        ]
        p, p_equal = corrected(tested, self.firsts)
        return _word(self.looks[place], without, p[place], p_equal[place])


def _word(look: Look, tested: Evidence, p: float, p_equal: float) -> str:
    if look.closed:
        return NO_INFORMATION
    word = _decide(tested, p, p_equal)
    if _hides_failures(look, word):
        return NO_INFORMATION
    return word


def _decide(tested: Evidence, p: float, p_equal: float) -> str:
    """The rule, see `wording.RULE`."""
    if p_equal < ALPHA:
        return NO_DIFFERENCE
    if p < ALPHA:
        return SUPPORTED if tested.supports else CONTRADICTED
    return UNDECIDED


def _hides_failures(look: Look, word: str) -> bool:
    """Whether a verdict on the runs that trained is against those that failed."""
    if look.counts_failures or look.failures is None or word == UNDECIDED:
        return False
    if word == NO_DIFFERENCE:
        return look.failures.p < ALPHA
    return failing.speak_against(look.claim, look.failures, word == SUPPORTED)


def _word_again(verdict: Verdict, p: float, p_equal: float) -> str:
    """The verdict with other corrected p-values."""
    if verdict.verdict == NO_INFORMATION:
        return NO_INFORMATION
    return _decide(_tested_of(verdict), p, p_equal)


def _tested_of(verdict: Verdict) -> Evidence:
    return verdict.tested or Evidence(math.nan)


def _reason(
    look: Look, word: str, contrast: Contrast | None, needed: int | None, count: int
) -> str:
    claim = look.claim
    if word == NO_INFORMATION:
        return look.closed or (
            "The runs that trained say one thing, and the numbers of those that failed "
            "another."
        )
    if contrast is None:
        return f"Too few seeds: {look.n} with all arms, 2 needed."
    if word == NO_DIFFERENCE:
        return wording.equal(claim)
    if word == UNDECIDED:
        return wording.unknown(claim, contrast, needed, count)
    found, said = wording.finding(claim, contrast.effect), wording.claimed(claim)
    agree = " All seeds gave the same value." if contrast.no_spread else ""
    if word == SUPPORTED and not claim.margin:
        return f"{found}.{agree}"
    return f"{found}; claimed is {said}.{agree}"


def _seeds_needed(look: Look, contrast: Contrast | None, count: int) -> int | None:
    """Seeds that decide with 80% power, if effect and spread are as found."""
    claim, sweep = look.claim, look.sweep
    if contrast is None or not contrast.sd or claim.metric == FAILED or sweep.overlap:
        return None
    distance = contrast.effect - claim.margin
    how = contrast.sd, ALPHA / count, claim.decided_by, sweep.sequential
    wanted = [seeds_to_see(distance, *how)]
    if claim.matters is not None:
        wanted.append(seeds_to_exclude(claim.matters, distance, *how))
    known = [seeds for seeds in wanted if seeds is not None]
    return max(min(known), look.n + 1) if known else None


def _caveat(look: Look) -> str:
    """Runs of the contrast that are left out, and those that failed to train."""
    sweep, claim = look.sweep, look.claim
    has, failed = sweep.values(claim.metric), sweep.failed
    names = []
    for row in sweep.rows:
        if row.arm not in claim.contrast or row.replicate in has[row.arm]:
            continue
        if look.failures is None or not failed[row.arm].get(row.replicate):
            why = "no value" if row.status == "done" else row.status
            names.append(f"{row.arm} {row.run} ({why})")
    words = []
    if names:
        others = ", with the same seeds of the other arms"
        words.append(f"Left out{others}: {', '.join(names)}.")
    if look.failures is not None:
        words.append(failing.in_words(look.failures, look.counts_failures))
    return " ".join(words)
