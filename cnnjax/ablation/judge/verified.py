"""What was verified by evaluating kept weights again."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cnnjax.ablation.judge.comparable import excluded
from cnnjax.ablation.judge.row import Row
from cnnjax.record_kinds import CLOSE, DIFFERENT, EXACT, UNVERIFIED, VERIFIED
from cnnjax.records import sift_record
from cnnjax.seal import OF_RUN, result_digest

FILE = "verified.json"


def read_verified(
    workdir: Path, rows: Sequence[Row]
) -> tuple[dict[str, Any], list[str]]:
    """What `verified.json` has on the results of today; of others nothing is known.

    Args:
      workdir: where the file is, if anything was verified.
      rows: all of the plan.

    Returns:
      The content of the file, empty if there is none, and warnings.
    """
    known, wrong = sift_record(workdir / FILE, VERIFIED)
    if known is None:
        return {}, [f"{FILE} {wrong}; nothing counts as verified."] * bool(wrong)
    results = {(row.cell, row.seed): row.result for row in rows}
    runs = [
        run
        for run in known["runs"]
        if (result := results.get((run["cell"], run["seed"])))
        and run["digest"] in (result.get(OF_RUN), result_digest(result))
    ]
    return known | {"runs": runs}, []


def exclude_refuted(rows: Sequence[Row], verified: Mapping[str, Any]) -> list[Row]:
    """Excludes runs whose weights give something else than was reported.

    Args:
      rows: all of the plan.
      verified: of `read_verified`.
    """
    refuted = {
        (run["cell"], run["seed"]): run["detail"]
        for run in verified.get("runs", ())
        if run["outcome"] == DIFFERENT
    }
    words = "its weights, evaluated again, give another result"
    return [
        excluded(row, f"{words} ({refuted[row.cell, row.seed]})")
        if (row.cell, row.seed) in refuted and row.status == "done"
        else row
        for row in rows
    ]


def verified_words(verified: Mapping[str, Any], num_runs: int) -> str:
    """A sentence on what `read_verified` gave; '' for nothing.

    Args:
      verified: of `read_verified`.
      num_runs: of the plan.
    """
    if not verified:
        return ""
    count = Counter(run["outcome"] for run in verified["runs"])
    evaluated = len(verified["runs"]) - count[UNVERIFIED]
    return (
        f"{evaluated} of {num_runs} runs were evaluated again from their weights, "
        f"last on {verified['created'][:10]}: {count[EXACT]} gave the reported "
        f"numbers, {count[CLOSE]} numbers within {verified['points']:g} points of the "
        f"errors and {100 * verified['share']:g}% of the loss (as rounding "
        f"may make them), {count[DIFFERENT]} others, which do not count."
    )
