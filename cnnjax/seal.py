"""A digest over a result and its metrics.

It tells that a file was edited, damaged or exchanged by accident. It is no signature:
whoever means to forge a result can compute it too.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from typing import Any

from cnnjax.files import read_regular
from cnnjax.records import MOST_BYTES, is_there, to_line, unreadable

SEAL, OF_METRICS = "digest", "metrics_digest"
# In a published result: the digest that it had where it was trained.
OF_RUN = "digest_of_run"


def sealed(result: Mapping[str, Any], metrics: str | os.PathLike) -> dict[str, Any]:
    """A result with its digest and that of its metrics.

    Args:
      result: for `result.json`.
      metrics: path of its `metrics.jsonl`.
    """
    return sealed_with(result, metrics_digest(metrics))


def sealed_with(result: Mapping[str, Any], metrics: str | None) -> dict[str, Any]:
    """Like `sealed`, with the digest of metrics that are not in a file yet."""
    known = {**result, OF_METRICS: metrics}
    return known | {SEAL: result_digest(known)}


def result_digest(result: Mapping[str, Any]) -> str:
    """SHA-256 of a result as JSON with sorted keys, without the digest in it."""
    body = {key: value for key, value in result.items() if key != SEAL}
    text = json.dumps(
        json.loads(to_line(body)), sort_keys=True, separators=(",", ":")
    )  # as plain JSON, where keys are strings and no number is NaN
    return hashlib.sha256(text.encode()).hexdigest()


def outcome_digest(result: Mapping[str, Any]) -> str:
    """SHA-256 of what a run came to: its last step, losses and errors.

    It is the same for two trainings with the same numbers, however long they took.
    """
    final = result.get("final") or {}
    numbers = {
        split: [(of or {}).get(key) for key in ("loss", "error", "count")]
        for split, of in final.items()
    }
    return result_digest({"step": result.get("step"), "final": numbers})


def metrics_digest(path: str | os.PathLike) -> str | None:
    """SHA-256 of the whole lines of a `metrics.jsonl`; None if there is no such file.

    Raises:
      UserError: it cannot be read.
    """
    if not is_there(path):
        return None
    try:
        content = read_regular(path, MOST_BYTES)
    except OSError as error:
        raise unreadable(path, error) from error
    return lines_digest(content)


def lines_digest(content: bytes) -> str:
    """SHA-256 of the whole lines of a `metrics.jsonl`."""
    return hashlib.sha256(content[: content.rfind(b"\n") + 1]).hexdigest()


def unlike(result: Mapping[str, Any], run: Mapping[str, Any]) -> str | None:
    """What a result says otherwise than its run; None where all that it says fits.

    Args:
      result: of `result.json`.
      run: what it must say where it says it, such as 'config_hash'.
    """
    for key, value in run.items():
        if (found := result.get(key, value)) != value:
            return f"{key} {found}, not {value}"
    return None


def broken(
    result: Mapping[str, Any], metrics: str | os.PathLike | None = None
) -> str | None:
    """What does not fit the digests of a result; None if all does.

    Results of earlier versions have none. Metrics that are missing break nothing.

    Args:
      result: of `result.json`.
      metrics: path of its `metrics.jsonl`; None where it is not at hand.

    Raises:
      UserError: the metrics cannot be read.
    """
    if SEAL not in result:
        return None
    try:
        is_whole = result[SEAL] == result_digest(result)
    except RecursionError:
        return "result.json is nested too deeply"
    if not is_whole:
        return "result.json was edited or damaged: its digest is not that of its text"
    found = None if metrics is None else metrics_digest(metrics)
    if found is not None and found != result.get(OF_METRICS):
        return "metrics.jsonl is not the file that its result was written with"
    return None
