"""What is said of a claim: one of five words, the reason, and numbers in words."""

import dataclasses
import math

from cnnjax.ablation.define.claim import Claim
from cnnjax.ablation.judge.families import Evidence
from cnnjax.ablation.judge.stats import Contrast

SUPPORTED, CONTRADICTED = "supported", "contradicted"
NO_DIFFERENCE = "no difference beyond the margin"
UNDECIDED = "undecided"
NO_INFORMATION = "no information"
# In the order of tables.
WORDS = (SUPPORTED, CONTRADICTED, NO_DIFFERENCE, UNDECIDED, NO_INFORMATION)
# What is left open: the share of these is the share of open claims.
OPEN = (UNDECIDED, NO_INFORMATION)


@dataclasses.dataclass(frozen=True)
class Shown:
    """An effect with the sign of its sentence.

    'Costs less than 5 points' has the cost as its value, and 5 as its limit.

    Attributes:
      value: the effect.
      low: lower end of its 95% interval.
      high: upper end.
      limit: what the claim compares it with.
      most: whether the claim says that it is below the limit, not above.
    """

    value: float
    low: float
    high: float
    limit: float
    most: bool


@dataclasses.dataclass(frozen=True)
class ArmFailures:
    """Runs of an arm that failed to train, by the rule of the definition."""

    arm: str
    failed: int
    total: int


@dataclasses.dataclass(frozen=True)
class Failures:
    """Failures in the arms of a claim, and whether they differ.

    Attributes:
      arms: those of the claim, in its order.
      test: 'fisher' or 'mcnemar'.
      p: two-sided p of the exact test; nan if there are not two arms.
      p_against: one-sided p of failures that speak against the claim; nan likewise.
    """

    arms: tuple[ArmFailures, ...]
    test: str
    p: float = math.nan
    p_against: float = math.nan

    @property
    def count(self) -> int:
        return sum(arm.failed for arm in self.arms)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the runs say about a claim.

    Attributes:
      claim: the claim.
      verdict: one of `WORDS`; `verdicts.rule` says how it comes about.
      reason: one sentence, why.
      contrast: the statistics; None if the claim could not be tested.
      p_holm: p of the effect against the margin, corrected for the claims of this
        report that were tested; nan if none.
      p_equal: p of a difference that matters, corrected likewise: small where there is
        none; nan where the claim does not say what matters.
      seeds: the seeds used.
      caveat: runs of the contrast that are left out, else ''.
      shown: the effect with the sign of the sentence; None without a contrast.
      direction: the effect in words, such as '15.9 points lower'; '' without one.
      reversal: a sentence where the claim holds, but against its source; else ''.
      failures: of the arms of the claim; None if no run failed.
      borderline: why the verdict could easily be another; '' if it could not.
      same_as: name of an earlier claim with the same numbers, which both count as one
        in the correction; else ''.
      seeds_needed: seeds that decide with 80% power, if the effect and the spread are
        as they were found; None if unknown, or if it is decided.
      p_atlas: p as in `p_holm`, corrected for all claims of an atlas; nan outside one.
      in_atlas: the verdict with that correction; '' outside an atlas.
      tested: what the correction needs of the claim.
    """

    claim: Claim
    verdict: str
    reason: str
    contrast: Contrast | None = None
    p_holm: float = math.nan
    seeds: tuple = ()
    caveat: str = ""
    p_equal: float = math.nan
    shown: Shown | None = None
    direction: str = ""
    reversal: str = ""
    failures: Failures | None = None
    borderline: str = ""
    same_as: str = ""
    seeds_needed: int | None = None
    p_atlas: float = math.nan
    in_atlas: str = ""
    tested: Evidence | None = None

    @property
    def is_decided(self) -> bool:
        return self.verdict not in OPEN


def slug(word: str) -> str:
    """A verdict as a class of CSS: 'no-information'."""
    return word.replace(" ", "-")
