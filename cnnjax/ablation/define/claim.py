"""One claim, with all that decides its verdict; `claims` words them."""

import dataclasses
from collections.abc import Mapping

from cnnjax.ablation.define.checks import (
    check_mapping,
    check_number,
    check_text,
    is_number,
)
from cnnjax.ablation.define.metrics import FAILED, METRICS
from cnnjax.errors import UserError, shown, unknown_name

# Of numbers: a t test, a sign-flip permutation test, Wilcoxon's signed-rank test.
T, SIGN_FLIP, WILCOXON = "t", "sign_flip", "wilcoxon"
# Of the share of runs that failed: Fisher's test, and McNemar's of pairs.
FISHER, MCNEMAR = "fisher", "mcnemar"
OF_NUMBERS, OF_FAILURES = (T, SIGN_FLIP, WILCOXON), (FISHER, MCNEMAR)
# What becomes of runs that failed: compared apart, or part of the mean.
APART, COUNTED = "apart", "counted"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Claim:
    """A statement that the runs can support or contradict; see `claims`.

    It says that the sum of coefficient * metric(arm) is above `margin`: 'at most 1
    point higher than b' is that b minus a is above -1.

    Attributes:
      name: short, unique.
      text: the statement in words.
      source: paper and the table or figure.
      metric: a key of `METRICS`.
      contrast: arm name -> coefficient.
      margin: in the unit of the metric.
      published: what the source measured, in words; None to quote its numbers, if any.
      matters: smallest distance from the margin that matters, in the unit of the
        metric; None if this is not said, and then nothing shows that there is none.
      because: reason for `matters`.
      headline: whether it is the one that answers the question of the ablation, and is
        tested by itself.
      test: one of `OF_NUMBERS`, or of `OF_FAILURES` for the metric 'failed'; '' for the
        usual one of its metric.
      failures: what becomes of failed runs: 'apart' or 'counted'; '' for the usual: an
        error is counted where the definition has a `diverged_error`, all else is apart.

    Raises:
      UserError: there is no source, the metric is unknown, a coefficient is zero, or
        two fields do not fit.
    """

    name: str
    text: str
    source: str
    metric: str
    contrast: Mapping[str, float]
    margin: float = 0.0
    published: str | None = None
    matters: float | None = None
    because: str = ""
    headline: bool = False
    test: str = ""
    failures: str = ""

    def __post_init__(self) -> None:
        where = f"claim {shown(self.name)}"
        texts = ("name", "text", "source", "metric", "because", "test", "failures")
        for field in texts:
            check_text(getattr(self, field), field, where)
        if self.published is not None:
            check_text(self.published, "published", where)
        check_number(self.margin, "margin", where)
        check_mapping(self.contrast, "contrast", where)
        if self.metric not in METRICS:
            raise unknown_name("metric", self.metric, METRICS, where)
        if not self.source:
            raise UserError(f"{where} has no source: give the paper and its table")
        coefficients = self.contrast.values()
        if not self.contrast or not all(is_number(c) and c for c in coefficients):
            raise UserError(
                f"{where} has the coefficients {dict(self.contrast)}, which must be "
                "finite and not zero: compare arms that differ"
            )
        if not isinstance(self.headline, bool):
            raise UserError(
                f"{where}: headline is {shown(self.headline)}, but must be True or "
                "False"
            )
        _check_what_matters(self, where)
        _check_test(self, where)

    @property
    def decided_by(self) -> str:
        """The test that decides."""
        return self.test or (FISHER if self.metric == FAILED else T)

    @property
    def sign(self) -> int:
        """From the effect, which is above the margin, to that of the sentence.

        'a is at most 1 point higher than b' and 'a is below 5%' are about a, which has
        a negative coefficient.
        """
        if len(self.contrast) == 1:
            return 1 if next(iter(self.contrast.values())) > 0 else -1
        return -1 if self.is_tolerance else 1

    @property
    def is_tolerance(self) -> bool:
        """Whether it says that a difference is not above a tolerance."""
        return len(self.contrast) > 1 and self.margin < 0


def _check_what_matters(claim: Claim, where: str) -> None:
    if (claim.matters is None) != (not claim.because):
        raise UserError(
            f"{where} has matters={claim.matters} and because={shown(claim.because)}: "
            "give both, the smallest difference that matters and the reason, or neither"
        )
    if claim.matters is None:
        return
    check_number(claim.matters, "matters", where)
    if claim.matters <= 0:
        raise UserError(f"{where}: matters={claim.matters:g} must be above 0")
    if claim.is_tolerance:
        raise UserError(
            f"{where} has a tolerance, which says what matters already: leave out "
            "matters and because"
        )
    if claim.metric == FAILED:
        raise UserError(
            f"{where} is about runs that failed, whose exact test knows no margin: "
            "leave out matters and because"
        )


def _check_test(claim: Claim, where: str) -> None:
    is_failed = claim.metric == FAILED
    allowed = OF_FAILURES if is_failed else OF_NUMBERS
    if claim.test not in ("", *allowed):
        raise UserError(
            f"{where} has test={shown(claim.test)}: one on {claim.metric} takes "
            f"{', '.join(allowed[:-1])} or {allowed[-1]}"
        )
    if claim.failures not in ("", APART, COUNTED):
        raise UserError(
            f"{where} has failures={shown(claim.failures)}: give 'apart' or 'counted', "
            "or leave it out"
        )
    if claim.failures == COUNTED and not claim.metric.endswith("_error"):
        raise UserError(
            f"{where} has failures='counted', but {claim.metric} of a failed run is no "
            "number: leave it out, or choose an error"
        )
    if is_failed and (claim.margin or sorted(claim.contrast.values()) != [-1, 1]):
        raise UserError(
            f"{where} is about runs that failed, whose exact test compares two arms "
            "without a margin: use higher() or lower() with neither margin nor times"
        )
