"""How many seeds each claim needs, said before anything runs.

The spread is that of earlier runs: of the folder, as after a pilot with few seeds, or
of the published report of the same ablation and scale. Arms are taken as independent,
as they nearly are where each trains by itself, and their spreads are pooled where they
agree (`pooled_spread`). Where differences of the same seed spread otherwise, as of arms
that evaluate the same nets, their own spread counts (`spread_of_pairs`).
"""

import csv
import dataclasses
import io
import math
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cnnjax.ablation.define.claim import Claim
from cnnjax.ablation.define.metrics import FAILED
from cnnjax.ablation.judge.collect import Sweep, collect
from cnnjax.ablation.judge.power import (
    POWER,
    least_seeds,
    pooled_spread,
    seeds_to_exclude,
    seeds_to_see,
    spread_of_pairs,
)
from cnnjax.ablation.judge.published import RECORDS_FILE, read_published, unpack
from cnnjax.ablation.judge.stats import ALPHA
from cnnjax.ablation.judge.wording import amount
from cnnjax.ablation.plan import Plan
from cnnjax.errors import UserError
from cnnjax.files import read_regular

# Of published reports, where the project is a folder with its docs.
RESULTS = Path(__file__).parents[3] / "docs" / "results"
MOST_READ = 16 * 2**20  # bytes of a table

# Arm -> which run (seed) -> its value, of those that trained.
Values = Mapping[str, Mapping[Any, float]]


@dataclasses.dataclass(frozen=True)
class Need:
    """What one claim needs.

    Attributes:
      claim: the claim.
      planned: seeds that all its arms will have.
      is_limit: whether results decide how many of these are run.
      least: the fewest seeds that can decide it, however clear it is.
      distance: from the margin, that is to be seen; nan if none is known.
      to_see: seeds that see it with 80% power; None if unknown, or too many.
      to_exclude: seeds that show that there is none that matters, if so; likewise.
      sd: of the contrast of one seed; nan if there are no earlier runs.
      is_pooled: whether the arms share one spread.
      is_paired: whether it is that of differences of the same seeds.
      num_runs: earlier runs that it is from.
    """

    claim: Claim
    planned: int
    is_limit: bool
    least: int
    distance: float = math.nan
    to_see: int | None = None
    to_exclude: int | None = None
    sd: float = math.nan
    is_pooled: bool = False
    is_paired: bool = False
    num_runs: int = 0

    @property
    def wanted(self) -> int:
        """Seeds that are enough for all that is known to be needed."""
        return max(self.least, self.to_see or 0, self.to_exclude or 0)

    @property
    def is_short(self) -> bool:
        """Whether fewer are planned than it needs, or no number is enough."""
        hopeless = self.distance > 0 and self.sd > 0 and self.to_see is None
        return hopeless or self.planned < self.wanted


def needs(plan: Plan, most: int = 0) -> tuple[list[Need], str]:
    """What the claims of a plan need, and where their spreads are from.

    Args:
      plan: of `make_plan`.
      most: seeds of an arm that --seeds=auto may go up to; 0 where it is not given.

    Returns:
      An entry per claim that the scale poses, and the source in words, '' without one.
      No entries with folds, whose number is fixed.
    """
    if any(cell.fold is not None for cell in plan.cells):
        return [], ""
    posed = plan.ablation.posed(plan.scale)
    sharing = sum(not claim.headline for claim in posed)
    sequential = bool(most) or plan.sequential
    source, values_of = _earlier(plan)
    found = []
    for claim in posed:
        alpha = ALPHA if claim.headline else ALPHA / sharing
        counts = [
            sum(len(cell.seeds) for cell in plan.cells if cell.arm.name == arm)
            for arm in claim.contrast
        ]
        least = least_seeds(alpha, claim.decided_by, sequential)
        need = Need(claim, most or min(counts), bool(most), least)
        values = {} if claim.metric == FAILED else values_of(claim.metric)
        found.append(_with_spread(need, values, alpha, sequential))
    return found, source if any(need.num_runs for need in found) else ""


def sentences(found: Sequence[Need], source: str) -> list[str]:
    """One line per claim, and one on where the spreads are from."""
    if not found:
        return []
    known = sum(need.num_runs > 0 for need in found)
    first = f"seeds for {POWER:.0%} power"
    if not known:
        first += ": no earlier runs say how far seeds spread, so run a few as a pilot"
    else:
        first += f", with the spread of {source}"
        first += f" ({len(found) - known} claims have none)" * (known < len(found))
    return [first, *map(_sentence, found)]


def _sentence(need: Need) -> str:
    metric = need.claim.metric
    words = []
    if need.planned < need.least:
        words.append(f"no fewer than {need.least} can decide it")
    if need.distance > 0 and need.sd >= 0:
        many = f"{need.to_see:,}" if need.to_see else "more than 10,000"
        words.append(f"{many} to see {amount(need.distance, metric)}")
    if need.to_exclude:
        words.append(f"{need.to_exclude:,} to show that there is none")
    if need.num_runs:
        how = ", pooled" if need.is_pooled else ""
        how = " of pairs" if need.is_paired else how
        words.append(f"spread {amount(need.sd, metric)}{how}")
    words = words or [f"at least {need.least}"]
    mark = " (too few)" if need.is_short else ""
    planned = f"{'at most' if need.is_limit else 'planned'} {need.planned}"
    return f"  {need.claim.name}: {'; '.join(words)}; {planned}{mark}"


def _with_spread(need: Need, values: Values, alpha: float, sequential: bool) -> Need:
    """The need, with what earlier runs say."""
    claim = need.claim
    runs = [values.get(arm, {}) for arm in claim.contrast]
    groups = [list(own.values()) for own in runs]
    if any(len(group) < 2 for group in groups):
        return need
    sds, is_pooled = pooled_spread(groups)
    weights = list(claim.contrast.values())
    sd = math.hypot(*(weight * own for weight, own in zip(weights, sds, strict=True)))
    shared = set(runs[0]).intersection(*runs[1:])
    pairs = [
        sum(weight * own[key] for weight, own in zip(weights, runs, strict=True))
        for key in shared
    ]
    of_pairs = spread_of_pairs(pairs, sd)
    means = [float(np.mean(group)) for group in groups]
    effect = sum(weight * mean for weight, mean in zip(weights, means, strict=True))
    distance = _distance(claim, effect)
    sd = sd if of_pairs is None else of_pairs
    how = sd, alpha, claim.decided_by, sequential
    return dataclasses.replace(
        need,
        distance=distance,
        to_see=seeds_to_see(distance, *how),
        to_exclude=None
        if claim.matters is None
        else seeds_to_exclude(claim.matters, 0.0, *how),
        sd=sd,
        is_pooled=is_pooled,
        is_paired=of_pairs is not None,
        num_runs=sum(map(len, groups)),
    )


def _distance(claim: Claim, effect: float) -> float:
    """What is to be seen: what matters, a tolerance from no difference, or the effect.

    Only the last is from results; it is what earlier runs showed.
    """
    if claim.matters is not None:
        return claim.matters
    return abs(claim.margin) if claim.is_tolerance else abs(effect - claim.margin)


def _earlier(plan: Plan) -> tuple[str, Callable[[str], Values]]:
    """Where earlier runs are, and a function: metric -> their values."""
    name = f"{plan.ablation.name}-{plan.scale}"
    for source, read in (
        (str(plan.workdir), lambda: _of_folder(plan.workdir)),
        (f"docs/results/{name}", lambda: _of_published(RESULTS / name, plan)),
    ):
        try:
            values_of = read()
        except (
            UserError,
            OSError,
        ):  # what cannot be read says nothing; running it tells why
            continue
        if values_of is not None:
            return source, values_of
    return "", lambda metric: {}


def _of_folder(folder: Path) -> Callable[[str], Values] | None:
    if not (folder / "plan.json").is_file():
        return None
    sweep = collect(folder)
    if not any(row.status == "done" for row in sweep.rows):
        return None
    return lambda metric: _of_sweep(sweep, metric)


def _of_published(folder: Path, plan: Plan) -> Callable[[str], Values] | None:
    """From records, or from the table of a report of before they were kept."""
    if (folder / RECORDS_FILE).is_file():
        with tempfile.TemporaryDirectory() as scratch:
            unpack(read_published(folder), Path(scratch))
            sweep = collect(scratch)
        return lambda metric: _of_sweep(sweep, metric)
    path = folder / "results.csv"
    if not path.is_file():
        return None
    text = read_regular(path, MOST_READ).decode("utf-8", errors="replace")
    rows = list(csv.DictReader(io.StringIO(text)))
    return lambda metric: _of_table(rows, metric, plan.ablation.failed_above)


def _of_sweep(sweep: Sweep, metric: str) -> Values:
    failed = sweep.failed
    return {
        arm: {key: value for key, value in own.items() if not failed[arm].get(key)}
        for arm, own in sweep.values(metric).items()
    }


def _of_table(
    rows: Sequence[Mapping[str, str]], metric: str, failed_above: float | None
) -> Values:
    values: dict[str, dict[Any, float]] = {}
    for row in rows:
        value, train = _number(row.get(metric)), _number(row.get("train_error"))
        failed = failed_above is not None and train > failed_above
        if row.get("status") == "done" and math.isfinite(value) and not failed:
            key = row.get("seed"), row.get("fold")
            values.setdefault(row.get("arm", ""), {})[key] = value
    return values


def _number(text: str | None) -> float:
    try:
        return float(text or "nan")
    except ValueError:
        return math.nan
