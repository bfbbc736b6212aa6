"""Rows of a suite as JSON and Markdown, and their comparison with committed rows."""

import dataclasses
import math
from collections import Counter
from typing import Any

from benchmarks.machine import MATMUL, matmul_peak
from benchmarks.measure import Times
from cnnjax.errors import UserError

# The ways of torch in training.
TORCH = ("torch eager", "torch channels last", "torch compiled")
# A ratio that is worse than the committed one by this factor, beyond its quartiles, is
# reported.
TOLERANCE = 1.15


@dataclasses.dataclass(frozen=True)
class Row:
    """One case of a suite.

    Args:
      case: the work, such as the name of a net.
      way: the implementation, such as 'cnnjax' or 'torch'.
      seconds: median time of one unit.
      unit: name of the unit, such as 'step'.
      ratio: time divided by that of the reference, median over rounds; None for the
        reference.
      spread: first and third quartile of the ratio.
      reference: the way that the ratio refers to.
      rate: images per second; None if there are no images.
      utilisation: fraction of the measured matmul peak; None if no FLOPs are counted.
      note: a remark about the numbers.
    """

    case: str
    way: str
    seconds: float
    unit: str
    ratio: float | None = None
    spread: tuple[float, float] | None = None
    reference: str = ""
    rate: float | None = None
    utilisation: float | None = None
    note: str = ""


def rows_of(
    case: str,
    times: dict[str, Times],
    reference: str,
    *,
    unit: str,
    units: dict[str, int] | int = 1,
    images: int = 0,
    flops: float = 0.0,
    notes: dict[str, str] | None = None,
) -> list[Row]:
    """Rows of one case, each compared with the reference.

    Args:
      case: name of the case.
      times: way -> times of one call; may include those of `matmul`.
      reference: one of the ways.
      unit: name of the unit.
      units: units in one call, for all ways or for each.
      images: images in one unit.
      flops: floating-point operations in one unit.
      notes: way -> note.
    """
    peak = matmul_peak(times[MATMUL]) if MATMUL in times else None
    times = {way: t for way, t in times.items() if way != MATMUL}
    per_call = units if isinstance(units, dict) else dict.fromkeys(times, units)
    per_unit = {
        way: Times(tuple(s / per_call[way] for s in t.seconds))
        for way, t in times.items()
    }
    rows = []
    for way, own in per_unit.items():
        ratio = spread = None
        if way != reference:
            ratio, *spread = own.ratio_to(per_unit[reference])
        rows.append(
            Row(
                case,
                way,
                own.median,
                unit,
                ratio,
                tuple(spread) if spread else None,
                reference,
                images / own.median if images else None,
                flops / own.median / peak if flops and peak else None,
                (notes or {}).get(way, ""),
            )
        )
    return rows


def to_json(suite: str, rows: list[Row], about: dict[str, Any]) -> dict[str, Any]:
    """The stored form: the machine, and every row."""
    return {"suite": suite, **about, "rows": [dataclasses.asdict(row) for row in rows]}


def merged(new: dict[str, Any], committed: dict[str, Any]) -> dict[str, Any]:
    """The new rows, and the committed ones of cases that were not measured again.

    Raises:
      UserError: these are of another machine, or of other versions or rounds.
    """
    for key in ("machine", "rounds"):
        if new[key] != committed[key]:
            raise UserError(
                f"--publish with --only keeps the other rows of {new['suite']}, which "
                f"were measured with another {key}: leave out --only, or remove "
                f"docs/benchmarks/{new['suite']}.json to start anew"
            )
    again = {row["case"] for row in new["rows"]}
    kept = [row for row in committed["rows"] if row["case"] not in again]
    earlier = committed.get("earlier", {})
    commits = {
        row["case"]: earlier.get(row["case"], committed.get("commit")) for row in kept
    }
    nets = committed.get("nets", {}) | new.get("nets", {})
    return new | {"rows": kept + new["rows"], "nets": nets, "earlier": commits}


def to_markdown(stored: dict[str, Any]) -> str:
    """The tables of a suite, with the machine on which it was measured."""
    rows = [Row(**row) for row in stored["rows"]]
    if any(row.way in TORCH for row in rows):
        return f"{_columns(rows)}\n\n{_listed(rows)}\n\n{_about(stored)}"
    return f"{_listed(rows)}\n\n{_about(stored)}"


def _columns(rows: list[Row]) -> str:
    """A line per case: the time of each way, and ours over the best of torch."""
    cases: dict[str, dict[str, Row]] = {}
    for row in rows:
        cases.setdefault(row.case, {})[row.way] = row
    ways = ("cnnjax", *TORCH)
    lines = [
        "| case | " + " | ".join(ways) + " | cnnjax / best of torch (quartiles) |",
        "|---|" + "--:|" * (len(ways) + 1),
    ]
    for case, by_way in cases.items():
        times = [
            _time(by_way[way].seconds) if way in by_way else "not measured"
            for way in ways
        ]
        lines.append("| " + " | ".join([case, *times, _ratio(by_way["cnnjax"])]) + " |")
    return "\n".join(lines)


def _ratio(row: Row) -> str:
    if row.ratio is None or row.spread is None:
        return "1 (reference)"
    low, high = row.spread
    return f"{row.ratio:.2f} ({low:.2f} to {high:.2f})"


def _listed(rows: list[Row]) -> str:
    """A line per case and way."""
    lines = [
        "| case | way | time | ratio (quartiles) | images/s | of matmul peak | note |",
        "|---|---|--:|--:|--:|--:|---|",
    ]
    for row in rows:
        is_measured = not math.isnan(row.seconds)
        cells = (
            row.case,
            row.way,
            f"{_time(row.seconds)}/{row.unit}" if is_measured else "",
            _ratio(row) if is_measured else "",
            "" if row.rate is None else f"{row.rate:,.0f}",
            "" if row.utilisation is None else f"{100 * row.utilisation:.0f}%",
            row.note,
        )
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines)


def summary(stored: dict[str, Any]) -> str:
    """A sentence for the README about the suite of training steps."""
    nets: dict[str, dict[str, float]] = {}
    for row in stored["rows"]:
        nets.setdefault(row["case"], {})[row["way"]] = row["seconds"]
    against_torch = [
        ways["cnnjax"] / min(of_torch)
        for ways in nets.values()
        if (of_torch := [s for way, s in ways.items() if way.startswith("torch")])
    ]
    # How often our step fits into one of plain Linen.
    linen = "plain Linen"
    in_linen = [w[linen] / w["cnnjax"] for w in nets.values() if linen in w]
    machine = stored["machine"]
    parts = [
        f"{min(ratios):.2f} to {max(ratios):.2f} times {words}"
        for ratios, words in (
            (against_torch, "as long as in torch's fastest way"),
            (in_linen, "less than with plain Linen"),
        )
        if ratios
    ]
    return (
        f"For {len(nets)} nets, a training step takes {', and '.join(parts)} "
        f"({machine['processor']}, {machine['cores']} cores, {stored['date']})."
    )


def regressions(new: dict[str, Any], committed: dict[str, Any]) -> list[str]:
    """Sentences about ratios that are worse than the committed ones.

    Times differ between machines, ratios much less. Rows that only one side has, and
    rows of torch, are skipped.
    """
    known = {(row["case"], row["way"]): row for row in committed["rows"]}
    found = []
    for row in new["rows"]:
        old = known.get((row["case"], row["way"]))
        if not old or row["ratio"] is None or old["ratio"] is None:
            continue
        if row["reference"] != old["reference"] or row["way"].startswith("torch"):
            continue
        if row["spread"][0] > TOLERANCE * old["ratio"]:
            found.append(
                f"{new['suite']}, {row['case']}, {row['way']}: "
                f"{row['ratio']:.2f} times {row['reference']}, "
                f"committed {old['ratio']:.2f}"
            )
    return found


def _time(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def _counted(devices: list[str]) -> str:
    """'cpu:cpu', or '8 x cpu:cpu'."""
    counts = Counter(devices).items()
    return ", ".join(name if num == 1 else f"{num} x {name}" for name, num in counts)


def _about(stored: dict[str, Any]) -> str:
    return (
        f"{measured(stored)} Medians of {stored['rounds']} interleaved rounds; the "
        "matmul peak is the best of as many products of 2048 x 2048 matrices, in the "
        "same rounds."
    )


def measured(stored: dict[str, Any]) -> str:
    """When, by which command, and where a record was measured, in a sentence."""
    machine = stored["machine"]
    versions = ", ".join(f"{k} {v}" for k, v in machine["versions"].items() if v)
    commit = f" of commit {stored['commit'][:10]}" if stored.get("commit") else ""
    older = sorted({c[:10] for c in stored.get("earlier", {}).values() if c})
    if older and older != [stored["commit"][:10]]:
        commit += f" (some cases of {', '.join(older)})"
    return (
        f"Measured {stored['date']} by `{stored['command']}`{commit} on "
        f"{machine['processor']}"
        f" ({machine['cores']} cores; {_counted(machine['devices'])}), Python "
        f"{machine['python']}, {versions}."
    )
