"""Which runs may be averaged with the others of their ablation."""

import dataclasses
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from cnnjax.ablation.define.claim import Claim
from cnnjax.ablation.define.metrics import METRICS
from cnnjax.ablation.judge.row import Row
from cnnjax.seal import outcome_digest, unlike


def exclude_others(rows: Sequence[Row], plan: Mapping[str, Any]) -> list[Row]:
    """Excludes, with the reason, runs that are not what the plan says.

    Args:
      rows: all of the plan.
      plan: the content of `plan.json`.
    """
    rows = _exclude_other_arms(rows)
    rows = _exclude_other_configs(rows, plan)
    return _exclude_other_data(rows, plan)


def exclude_other_run(row: Row, run: Mapping[str, Any]) -> Row:
    """Excludes the result of another training.

    Args:
      row: of the seed of a training.
      run: what its result must say, such as 'config_hash'.
    """
    wrong = unlike(row.result, run) if row.status in ("done", "failed") else None
    return excluded(row, f"holds the result of another run ({wrong})") if wrong else row


def lacking(rows: Sequence[Row]) -> list[str]:
    """Sentences on runs that count without a number that others of their arm have.

    They are missing from its means, and nobody would see that.
    """
    sentences = []
    for name, metric in METRICS.items():
        if metric.of_groups:
            continue
        known: dict[str, dict[bool, list[Row]]] = defaultdict(lambda: defaultdict(list))
        for row in rows:
            if row.status == "done" and metric.path[0] != "cost":
                known[row.arm][math.isnan(row.metric(name))].append(row)
        sentences += [
            f"{arm} {row.run} is done, and its result.json has no {metric.title}, as "
            "others have: it is missing there."
            for arm, of_arm in known.items()
            for row in of_arm[True]
            if of_arm[False]
        ]
    return sentences


def outdated(
    rows: Sequence[Row],
    plan: Mapping[str, Any],
    provenance: Mapping[str, Mapping[str, Any]],
    claims: Sequence[Claim],
) -> list[str]:
    """Sentences on cells whose start was trained anew since, and came out otherwise.

    Their runs count: they are what the plan says, but for the weights of another run.

    Args:
      rows: all of the plan.
      plan: the content of `plan.json`.
      provenance: cell -> the content of its `provenance.json`.
      claims: of the definition.
    """
    now = {
        (row.arm, row.fold, str(row.seed)): outcome_digest(row.result)
        for row in rows
        if row.result and not row.result.get("crashed")
    }
    changed: dict[str, tuple[str, str]] = {}
    for arm in plan["arms"]:
        for cell in arm["cells"] if (parent := arm.get("starts_from")) else ():
            start = provenance.get(cell["name"], {}).get("start", {})
            for seed, digest in start.get("outcomes", {}).items():
                if now.get((parent, cell["fold"], seed), digest) != digest:
                    changed[cell["name"]] = arm["name"], parent
    return [
        f"{cell} was trained from weights of {parent} that are others by now: move its "
        "folder away, and the same command trains it again. "
        + _resting(arm, plan, claims)
        for cell, (arm, parent) in changed.items()
    ]


def _resting(arm: str, plan: Mapping[str, Any], claims: Sequence[Claim]) -> str:
    """The claims on an arm, and on those that start from it at any distance."""
    parents = {known["name"]: known.get("starts_from", "") for known in plan["arms"]}
    behind = [arm]
    for name in behind:  # which grows
        behind += [child for child, parent in parents.items() if parent == name]
    names = [
        claim.name for claim in claims if not claim.contrast.keys().isdisjoint(behind)
    ]
    return f"On it rests: {'; '.join(names)}." if names else "No claim rests on it."


def _exclude_other_arms(rows: Sequence[Row]) -> list[Row]:
    """Excludes results that were copied from another arm; a result names its cell."""
    return [
        excluded(row, f"holds the result of {row.result['arm']}")
        if row.status in ("done", "failed")
        and row.result.get("arm", row.arm) not in (row.arm, row.cell)
        else row
        for row in rows
    ]


def _exclude_other_configs(rows: Sequence[Row], plan: Mapping[str, Any]) -> list[Row]:
    """Excludes the runs of cells whose config is not the planned one."""
    planned = _of_cells(plan, "config_hash")
    return [
        excluded(row, "ran with another config than the plan")
        if _is_unlike(row, "config_hash", planned[_cell(row)])
        else row
        for row in rows
    ]


def _exclude_other_data(rows: Sequence[Row], plan: Mapping[str, Any]) -> list[Row]:
    """Excludes runs whose data differ from those of most runs with the same config."""
    asked = _of_cells(plan, "data_hash")
    prints: dict[str, Counter[str | None]] = defaultdict(Counter)
    for row in rows:
        if row.status == "done" or row.diverged:
            prints[asked[_cell(row)]][row.result.get("data_fingerprint")] += 1
    usual = {key: count.most_common(1)[0][0] for key, count in prints.items()}
    return [
        excluded(
            row,
            "used other data than most runs, which have fingerprint "
            f"{usual[asked[_cell(row)]]}",
        )
        if asked[_cell(row)] in usual
        and _is_unlike(row, "data_fingerprint", usual[asked[_cell(row)]])
        else row
        for row in rows
    ]


def _is_unlike(row: Row, key: str, wanted: str | None) -> bool:
    """Whether a run that counts, or a crashed one, has another fact than wanted.

    One that diverged counts, and must have the fact like one that is done.
    """
    if row.status == "done" or row.diverged:
        return row.result.get(key) != wanted
    return row.status == "failed" and row.result.get(key, wanted) != wanted


def _cell(row: Row) -> tuple[str, int | None]:
    """The runs with this key share a config, except for their seeds."""
    return row.arm, row.fold


def _of_cells(plan: Mapping[str, Any], key: str) -> dict[tuple[str, int | None], Any]:
    return {
        (arm["name"], cell["fold"]): cell[key]
        for arm in plan["arms"]
        for cell in arm["cells"]
    }


def excluded(row: Row, reason: str) -> Row:
    """The row of a run that does not count."""
    return dataclasses.replace(row, status="excluded", reason=reason)
