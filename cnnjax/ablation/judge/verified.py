"""What was verified by evaluating kept weights again, in words."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cnnjax.record_kinds import CLOSE, DIFFERENT, EXACT, UNVERIFIED, VERIFIED
from cnnjax.records import sift_record
from cnnjax.seal import result_digest


def verified_words(
    workdir: Path, results: Mapping[tuple[str, int], Mapping[str, Any]]
) -> tuple[str, list[str]]:
    """A sentence on `verified.json`, and warnings of what came out otherwise.

    Args:
      workdir: where the file is, if anything was verified.
      results: (cell, seed) -> the result of today; of another one nothing is known.
    """
    known, wrong = sift_record(workdir / "verified.json", VERIFIED)
    if known is None:
        return "", [f"verified.json {wrong}; nothing counts as verified."] * bool(wrong)
    rows = [
        row
        for row in known["runs"]
        if (result := results.get((row["cell"], row["seed"])))
        and result_digest(result) == row["digest"]
    ]
    count = Counter(row["outcome"] for row in rows)
    evaluated = len(rows) - count[UNVERIFIED]
    words = (
        f"{evaluated} of {len(results)} runs were evaluated again from their weights, "
        f"last on {known['created'][:10]}: {count[EXACT]} gave the reported numbers, "
        f"{count[CLOSE]} numbers within {known['points']:g} points of the errors and "
        f"{100 * known['share']:g}% of the loss (with other devices or versions), "
        f"{count[DIFFERENT]} others."
    )
    return words, [
        f"{row['cell']} seed {row['seed']}, evaluated again: {row['detail']}.".strip()
        for row in rows
        if row["outcome"] == DIFFERENT
    ]
