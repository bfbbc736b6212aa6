"""Adds seeds until each claim is decided, or more are futile, or the budget is spent.

The verdicts use `judge.sequential`, so they may be inspected after every round, and the
rounds may stop for any reason: no error becomes more frequent. A claim that further
seeds would decide with a chance below 10% gets no more (`power.chance_to_decide` has
the method and its sources).
"""

import dataclasses
import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence

from cnnjax.ablation.define.claim import Claim
from cnnjax.ablation.define.metrics import FAILED
from cnnjax.ablation.execute.needs import needs, sentences
from cnnjax.ablation.judge.collect import Sweep, collect
from cnnjax.ablation.judge.power import FUTILE, chance_to_decide
from cnnjax.ablation.judge.stats import ALPHA
from cnnjax.ablation.judge.verdict import NO_INFORMATION, UNDECIDED, Verdict
from cnnjax.ablation.judge.verdicts import judge
from cnnjax.ablation.plan import Plan
from cnnjax.devices.distributed import num_processes
from cnnjax.errors import UserError
from cnnjax.records import is_writer
from cnnjax.screen import say

AUTO = "auto"  # --seeds
CRASHED = 1  # exit code where cells crashed, of which the others say enough to go on


@dataclasses.dataclass(frozen=True)
class Budget:
    """The limits of a sequential run.

    Attributes:
      seeds: the most seeds of any arm.
      minutes: the most minutes of this command; 0 for no limit. A round starts only if
        it should fit, estimated from the seeds so far.
    """

    seeds: int
    minutes: float

    def __post_init__(self) -> None:
        if self.seeds < 2 or self.minutes < 0:
            raise UserError(
                f"--max_seeds={self.seeds} and --budget_minutes={self.minutes:g}: "
                "give at least 2 seeds, and at least 0 minutes (0 for no limit)"
            )


def train_seeds(
    make: Callable[..., Plan],
    train: Callable[[Plan], int],
    seeds: str,
    budget: Budget,
    say: Callable[[str], None] = say,
) -> tuple[int, Plan]:
    """Trains the number of seeds given by --seeds.

    Args:
      make: `make_plan` without its arguments `num_seeds` and `sequential`.
      train: trains the cells of a plan that are not done; returns an exit code.
      seeds: a number, 'auto', or '' for the number planned before or of the scale.
      budget: of 'auto'.
      say: prints one sentence.

    Returns:
      The exit code, and the last plan.

    Raises:
      UserError: `seeds` is none of these.
    """
    if seeds == AUTO:
        if num_processes() > 1:
            raise UserError(
                "--seeds=auto works in a single process only: give a number of seeds, "
                "or leave out the flags of the coordinator"
            )
        rounds = functools.partial(make, sequential=True)
        return train_until_decided(rounds, train, budget, say)
    plan = make(num_seeds=parse_seeds(seeds))
    say_needs(plan, say)
    return train(plan), plan


def say_needs(plan: Plan, say: Callable[[str], None], most: int = 0) -> None:
    """Prints how many seeds the claims need, before anything runs; see `needs`."""
    if is_writer():
        for sentence in sentences(*needs(plan, most)):
            say(sentence)


def parse_seeds(seeds: str) -> int | None:
    """The number in --seeds; None for '' and 'auto'.

    Raises:
      UserError: it is none of these.
    """
    if seeds in ("", AUTO):
        return None
    if not seeds.isdecimal() or int(seeds) < 1:
        raise UserError(f"--seeds={seeds}: give a positive integer, or auto")
    return int(seeds)


def train_until_decided(
    make: Callable[..., Plan],
    train: Callable[[Plan], int],
    budget: Budget,
    say: Callable[[str], None],
) -> tuple[int, Plan]:
    """Trains rounds of seeds, each for the arms of the claims that are undecided.

    Args:
      make: plans `num_seeds` seeds per arm; None for those planned before.
      train: trains the cells of a plan that are not done; returns an exit code.
      budget: the limits.
      say: prints one sentence.

    Returns:
      The exit code, and the last plan.
    """
    start = time.monotonic()
    counts: dict[str, int] | None = None
    while True:
        plan = make(num_seeds=counts)
        if plan.cells[0].fold is not None:
            raise UserError(
                "--seeds=auto needs independent runs, and those of --folds share "
                "images: give a number of seeds"
            )
        if counts is None:
            say_needs(plan, say, budget.seeds)
        trained = time.monotonic()
        code = train(plan)
        if code > CRASHED:
            return code, plan
        sweep = collect(plan.workdir)
        if any(row.status in ("missing", "running") for row in sweep.rows):
            say("some runs have not ended; run the same command when they have")
            return code, plan
        verdicts = judge(sweep)
        undecided = [v for v in verdicts if v.verdict == UNDECIDED]
        if not undecided:
            say(_ending(verdicts))
            return code, plan
        open_claims = worth_seeds(undecided, budget.seeds)
        if not open_claims:
            names = ", ".join(v.claim.name for v in undecided)
            say(
                f"{len(undecided)} claims stay undecided, and more seeds are futile: "
                f"up to --max_seeds={budget.seeds} they decide with a chance below "
                f"{FUTILE:.0%} ({names})"
            )
            return code, plan
        counts = next_counts(plan, sweep, open_claims, budget.seeds)
        added = {a: n - sum(_seeds(plan, a)) for a, n in counts.items()}
        if not any(added.values()):
            limit = f"--max_seeds={budget.seeds}"
            say(f"{len(open_claims)} claims stay undecided at {limit}")
            return code, plan
        now = time.monotonic()
        needed = _estimate(sweep, added, now - trained)
        if budget.minutes and (now - start + needed) > 60 * budget.minutes:
            say(
                f"{len(open_claims)} claims stay undecided: another round takes about "
                f"{needed / 60:.1f} min, more than is left of --budget_minutes"
            )
            return code, plan
        arms = [arm for arm, more in added.items() if more]
        say(
            f"{len(open_claims)} claims are undecided: more seeds for {', '.join(arms)}"
        )


def worth_seeds(undecided: Sequence[Verdict], most: int) -> list[Verdict]:
    """The claims that seeds up to a limit have a chance to decide.

    Args:
      undecided: claims; by Holm's method each is decided at a level that they share,
        but for the headline.
      most: seeds of an arm in all.
    """
    sharing = sum(not verdict.claim.headline for verdict in undecided)
    found = []
    for verdict in undecided:
        claim = verdict.claim
        alpha = ALPHA if claim.headline else ALPHA / sharing
        numbers = verdict.tested.numbers if verdict.tested else ()
        many = len(numbers) < 2 or claim.metric == FAILED
        if many or _chance(claim, numbers, most, alpha) >= FUTILE:
            found.append(verdict)
    return found


def _chance(claim: Claim, numbers: Sequence[float], most: int, alpha: float) -> float:
    return chance_to_decide(numbers, claim.matters, most, alpha, claim.decided_by)


def _ending(verdicts: Sequence[Verdict]) -> str:
    silent = sum(v.verdict == NO_INFORMATION for v in verdicts)
    if not silent:
        return f"all {len(verdicts)} claims are decided"
    return (
        f"{len(verdicts) - silent} of {len(verdicts)} claims are decided, and seeds do "
        "not help the others: the report says why"
    )


def next_counts(
    plan: Plan, sweep: Sweep, open_claims: Sequence[Verdict], limit: int
) -> dict[str, int]:
    """Seeds of every arm after the next round; as before if an arm needs no more.

    A round has as many seeds as the scale, so that all rounds share one program.
    """
    counts = {arm.name: sum(_seeds(plan, arm.name)) for arm in plan.arms}
    step = plan.ablation.scale(plan.scale).seeds
    wanted = dict(counts)
    for verdict in open_claims:
        arms = verdict.claim.contrast
        target = min(min(counts[arm] for arm in arms) + step, limit)
        for arm in arms:
            wanted[arm] = max(wanted[arm], target)
    return wanted


def _seeds(plan: Plan, arm: str) -> list[int]:
    return [len(cell.seeds) for cell in plan.cells if cell.arm.name == arm]


def _estimate(sweep: Sweep, added: Mapping[str, int], last_round: float) -> float:
    """Seconds of a round, from the cost of its arms so far, or of the last round."""
    seconds = 0.0
    for arm, more in added.items():
        costs = [row.cost("run_seconds") for row in sweep.rows if row.arm == arm]
        known = [cost for cost in costs if math.isfinite(cost)]
        seconds += more * sum(known) / len(known) if known else last_round
    return seconds
