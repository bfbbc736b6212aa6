"""The runs of one claim: whether they can tell anything, and the p-values they give.

Runs tell nothing, however many there are, where the control or an arm has not reached
what the definition asks of its training (`Gate`), and where all arms are at the floor.
"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from cnnjax.ablation.define.claim import COUNTED, Claim, T
from cnnjax.ablation.define.metrics import FAILED, METRICS, is_held_out, needs_training
from cnnjax.ablation.judge import failures as failing
from cnnjax.ablation.judge.collect import Sweep
from cnnjax.ablation.judge.families import Evidence
from cnnjax.ablation.judge.one_sample import OneSample
from cnnjax.ablation.judge.stats import (
    Contrast,
    all_equal,
    chosen,
    combine_by_seed,
    paired_contrast,
)
from cnnjax.ablation.judge.verdict import Failures

# Means at or below which training has nothing left to show: one image in a thousand,
# and a loss that gives the right class 95%.
FLOORS = {"train_error": 0.1, "train_loss": 0.05}


@dataclasses.dataclass(frozen=True)
class Look:
    """The runs of one claim.

    Attributes:
      sweep: all runs.
      claim: the claim.
      seeds: seeds or folds that all its arms have.
      differences: the contrast of each.
      failures: runs of its arms that failed to train; None for none.
      closed: why the runs can tell nothing; '' if they can.
    """

    sweep: Sweep
    claim: Claim
    seeds: tuple
    differences: np.ndarray
    failures: Failures | None
    closed: str

    @property
    def n(self) -> int:
        return len(self.seeds)

    @property
    def is_tested(self) -> bool:
        return self.n > 1 and not self.closed

    @property
    def counts_failures(self) -> bool:
        """Whether failed runs are part of the effect."""
        counted = failing.treatment(self.sweep, self.claim) == COUNTED
        return counted or self.claim.metric == FAILED

    def tested(self, left_out: int | None = None) -> Evidence:
        """The p-values.

        Args:
          left_out: place of a seed that is left out; None for none.
        """
        x = self.differences
        if left_out is not None:
            x = np.delete(x, left_out)
        if not self.is_tested or x.size < 2:
            return Evidence(math.nan, headline=self.claim.headline)
        if self.claim.metric == FAILED:
            p, p_equal = self._p_of_failures(left_out), math.nan
        else:
            p, p_equal = self._p_of_numbers(x)
        numbers = tuple((x - self.claim.margin).tolist())
        own = self.claim.decided_by, self.claim.headline
        return Evidence(p, p_equal, numbers, *own, supports=self._supports(x))

    def contrast(self, alpha: float) -> Contrast | None:
        """The statistics; None if there are too few runs.

        Args:
          alpha: level at which the detectable effect is computed.
        """
        if self.n < 2:
            return None
        claim, sweep = self.claim, self.sweep
        is_failed = claim.metric == FAILED
        found = paired_contrast(
            self.differences,
            claim.margin,
            _resolution(sweep, claim),
            alpha,
            test=T if is_failed else claim.decided_by,
            matters=claim.matters,
            anytime=sweep.sequential,
            overlap=sweep.overlap,
        )
        if not is_failed:
            return found
        return dataclasses.replace(
            found,
            test=claim.decided_by,
            p=self._p_of_failures(None),
            low=math.nan,
            high=math.nan,
            detectable=math.nan,
            effect_size=math.nan,
        )

    def _p_of_numbers(self, x: np.ndarray) -> tuple[float, float]:
        decides, margin = self._chosen(x), self.claim.margin
        matters = self.claim.matters
        if matters is None:
            return decides.p(margin), math.nan
        return decides.p(margin), decides.p_inside(margin - matters, margin + matters)

    def _chosen(self, x: np.ndarray) -> OneSample:
        error = float(x.std(ddof=1)) * math.sqrt(1 / x.size + self.sweep.overlap)
        folds = bool(self.sweep.overlap)
        return chosen(x, self.claim.decided_by, error, self.sweep.sequential, folds)

    def _supports(self, x: np.ndarray) -> bool:
        if self.claim.metric == FAILED:
            return bool(x.mean() > 0)
        return self._chosen(x).center > self.claim.margin

    def _p_of_failures(self, left_out: int | None) -> float:
        seed = None if left_out is None else self.seeds[left_out]
        more, less = sorted(
            self.claim.contrast, key=lambda arm: -self.claim.contrast[arm]
        )
        table = self.sweep.failed
        first, second = (
            {key: failed for key, failed in table[arm].items() if key != seed}
            for arm in (more, less)
        )
        anytime = self.sweep.sequential or bool(self.sweep.overlap)
        return failing.exact_test(first, second, self.claim.decided_by, anytime)[0]


def look_at(sweep: Sweep, claim: Claim) -> Look:
    """Collects what one claim is judged by."""
    values = failing.values_of(sweep, claim)
    seeds, differences = combine_by_seed(values, claim.contrast)
    failures = failing.failures_of(sweep, claim)
    look = Look(sweep, claim, seeds, differences, failures, "")
    return dataclasses.replace(look, closed=_closed(look))


def _closed(look: Look) -> str:
    """Why the runs can tell nothing, however many there are; '' if they can."""
    claim, arms = look.claim, failing.all_failed(look.failures)
    if METRICS[claim.metric].path[0] == "cost" and look.n > 1:
        if all_equal(look.differences):
            return (
                "The seeds of an arm are one program, measured once: without a spread "
                "there is nothing to test."
            )
        return ""
    if needs_training(claim.metric) and arms:
        if len(arms) == len(claim.contrast):
            return f"No run of {' or '.join(arms)} trained."
        if not look.counts_failures:
            return (
                f"No run of {', '.join(arms)} trained, so there is nothing to compare: "
                "only a claim on the share of failed runs can tell."
            )
    return _closed_gate(look.sweep, claim)


def _closed_gate(sweep: Sweep, claim: Claim) -> str:
    """Why a claim gets no verdict; '' if nothing speaks against one.

    Arms without any run yet close no gate: seeds are missing there.
    """
    if not needs_training(claim.metric):
        return ""
    return _not_trained(sweep, claim) or _at_the_floor(sweep, claim)


def _not_trained(sweep: Sweep, claim: Claim) -> str:
    gate = sweep.ablation.scale(sweep.scale_name).gate
    if gate is None:
        return ""
    title = METRICS[gate.metric].title
    asked = [gate.control] if gate.control else []
    asked += claim.contrast if is_held_out(claim.metric) else []
    for arm in dict.fromkeys(asked):
        found = _mean(sweep, arm, gate.metric)
        if found > gate.at_most:
            which = "The control" if arm == gate.control else "Arm"
            return (
                f"{which} {arm} ends at a {title} of {found:.3g}, above the "
                f"{gate.at_most:g} stated beforehand ({gate.because.rstrip('.')})."
            )
    return ""


def _at_the_floor(sweep: Sweep, claim: Claim) -> str:
    """A claim that compares arms which all have nothing left to learn."""
    floor = FLOORS.get(claim.metric)
    if floor is None or len(claim.contrast) < 2:
        return ""
    means = [_mean(sweep, arm, claim.metric) for arm in claim.contrast]
    if not all(mean <= floor for mean in means):
        return ""
    title, unit = METRICS[claim.metric].title, METRICS[claim.metric].unit
    return (
        f"All its arms are at the floor: a {title} of at most {floor:g}{unit} leaves "
        "nothing to compare."
    )


def _mean(sweep: Sweep, arm: str, metric: str) -> float:
    """Over the runs that did not fail; nan if there are none."""
    failed = sweep.failed[arm]
    values = [x for key, x in sweep.values(metric)[arm].items() if not failed.get(key)]
    return _known_mean(values)


def _known_mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if values else math.nan


def _resolution(sweep: Sweep, claim: Claim) -> float:
    """Step of the contrast: independent rounding of each arm, added as variances."""
    length = math.sqrt(sum(c * c for c in claim.contrast.values()))
    return sweep.resolution(claim.metric) * length
