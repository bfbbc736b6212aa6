"""Many like records in few bytes: what all share once, curves as thin columns."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cnnjax.records import to_line

# Of the rows of `metrics.jsonl`, with the significant digits that figures need.
COLUMNS = {"step": 0, "epoch": 6, "loss": 4, "error": 4}
RUNNING = "running"  # rows of training itself, averaged since the row before


def common_part(values: Sequence[Any]) -> Any:
    """What some values share: nested objects with null where the values differ.

    `merge(common_part(values), rest(value, common_part(values)))` is each value again,
    with its keys in order.
    """
    first = values[0]
    if isinstance(first, dict) and all(_has_keys_of(value, first) for value in values):
        return {key: common_part([value[key] for value in values]) for key in first}
    return first if len({to_line(value) for value in values}) == 1 else None


def rest(value: Any, common: Any) -> Any:
    """What a value has besides the common part."""
    if not (isinstance(common, dict) and _has_keys_of(value, common)):
        return value
    return {
        key: rest(value[key], common[key])
        for key in common
        if to_line(value[key]) != to_line(common[key])
    }


def merge(common: Any, rest: Any) -> Any:
    """The value again; keys that the common part lacks are left out."""
    if not (isinstance(common, dict) and isinstance(rest, dict)):
        return rest
    return {
        key: merge(shared, rest[key]) if key in rest else shared
        for key, shared in common.items()
    }


def to_columns(
    rows: Iterable[Mapping[str, Any]], most: int
) -> dict[str, dict[str, list[Any]]]:
    """Rows of `metrics.jsonl` as columns.

    Args:
      rows: of one seed; the last of those with one step and split counts, because a
        resumed run repeats the steps after its checkpoint.
      most: rows that are kept: of each split the first, the last and some between them
        at even distances.

    Returns:
      Split, or `RUNNING`, -> name of `COLUMNS` -> values.
    """
    groups: dict[str, dict[int, Mapping[str, Any]]] = {}
    for row in rows:
        split = row.get("split") if row.get("kind") == "eval" else RUNNING
        if isinstance(row.get("step"), int) and isinstance(split, str):
            groups.setdefault(split, {})[row["step"]] = row
    total = sum(map(len, groups.values()))
    columns = {}
    for split, by_step in groups.items():
        steps = _spread(
            sorted(by_step), max(2, most * len(by_step) // max(total, most))
        )
        columns[split] = {
            name: [_rounded(by_step[step].get(name), digits) for step in steps]
            for name, digits in COLUMNS.items()
        }
    return columns


def to_rows(columns: Mapping[str, Mapping[str, Sequence[Any]]]) -> list[dict[str, Any]]:
    """The rows again, by step.

    Raises:
      ValueError: the columns of a split have different lengths.
    """
    rows = []
    for split, by_name in columns.items():
        kind = {"kind": "train"} if split == RUNNING else {"kind": "eval"}
        named = {} if split == RUNNING else {"split": split}
        values = [by_name[name] for name in COLUMNS]
        for row in zip(*values, strict=True):
            known = zip(COLUMNS, row, strict=True)
            rows.append(kind | {k: v for k, v in known if v is not None} | named)
    return sorted(rows, key=lambda row: row["step"])


def _has_keys_of(value: Any, other: Mapping[str, Any]) -> bool:
    return isinstance(value, dict) and list(value) == list(other)


def _spread(items: Sequence[int], most: int) -> list[int]:
    """At most so many of them, at even distances, with the first and the last."""
    if len(items) <= most:
        return list(items)
    gaps = most - 1
    return [items[(i * (len(items) - 1) + gaps // 2) // gaps] for i in range(most)]


def _rounded(value: Any, digits: int) -> Any:
    return float(f"{value:.{digits}g}") if isinstance(value, float) else value
