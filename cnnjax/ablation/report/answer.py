"""The answer of a report in words: its headline claim, and effects as they are said."""

import math
from collections.abc import Sequence

from cnnjax.ablation.define.metrics import METRICS
from cnnjax.ablation.judge.verdict import (
    CONTRADICTED,
    NO_DIFFERENCE,
    NO_INFORMATION,
    SUPPORTED,
    Verdict,
)
from cnnjax.ablation.report import tables


def headline(verdicts: Sequence[Verdict]) -> Verdict | None:
    """The verdict that answers the question: of the claim marked so, else the first."""
    marked = (verdict for verdict in verdicts if verdict.claim.headline)
    return next(marked, verdicts[0] if verdicts else None)


def answer(verdict: Verdict) -> str:
    """The verdict of a claim in one sentence, with its effect."""
    claim = verdict.claim.text.rstrip(". ")
    size = _size(verdict)
    if verdict.shown is None or verdict.verdict == NO_INFORMATION:
        return f"These runs do not tell whether “{claim}” holds: {verdict.reason}"
    if verdict.verdict == SUPPORTED:
        return f"{claim}: {size}."
    if verdict.verdict == CONTRADICTED:
        return f"The runs contradict “{claim}”: {size}, not {limit(verdict)}."
    if verdict.verdict == NO_DIFFERENCE:
        return f"No difference that matters in “{claim}”: {size}."
    return f"The seeds are too few to tell whether “{claim}” holds: {size}."


def flags(verdict: Verdict) -> list[str]:
    """Sentences that whoever reads the verdict must know."""
    borderline = f"Borderline: {verdict.borderline}." if verdict.borderline else ""
    in_atlas = ""
    if verdict.in_atlas not in ("", verdict.verdict):
        in_atlas = f"Corrected over the whole atlas: {verdict.in_atlas}."
    return [flag for flag in (verdict.reversal, borderline, in_atlas) if flag]


def limit(verdict: Verdict) -> str:
    """What a claim says of its effect: 'above 0 points', 'below 5 points'."""
    shown = verdict.shown
    if shown is None:
        return ""
    side = "below" if shown.most else "above"
    return f"{side} {_limit(shown.limit)}{_unit(shown.limit, verdict)}"


def sign_of_limit(verdict: Verdict) -> str:
    """As `limit`, for a column: '> 0', '< 5'; '' if the claim is not tested."""
    shown = verdict.shown
    return f"{'<' if shown.most else '>'} {_limit(shown.limit)}" if shown else ""


def _limit(amount: float) -> str:
    return minus(f"{amount + 0.0:g}")


def effect(verdict: Verdict) -> str:
    """The effect, with the sign of its sentence: '59.16 points'; a dash if untested."""
    shown = verdict.shown
    if shown is None:
        return "–"
    value = tables.value(shown.value, verdict.claim.metric)
    return f"{minus(value)}{_unit(math.nan, verdict)}"


def interval(verdict: Verdict) -> str:
    """'44.85 to 73.48'; '' if there is none, as of numbers of failures."""
    shown = verdict.shown
    if shown is None or math.isnan(shown.low + shown.high):
        return ""
    ends = (
        minus(tables.value(end, verdict.claim.metric))
        for end in (shown.low, shown.high)
    )
    return " to ".join(ends)


def _size(verdict: Verdict) -> str:
    n = verdict.contrast.n if verdict.contrast else 0
    if verdict.shown and math.isinf(verdict.shown.high - verdict.shown.low):
        return f"{effect(verdict)} (n = {n}, too few for an interval)"
    ends = f"95% interval {interval(verdict)}; " if interval(verdict) else ""
    return f"{effect(verdict)} ({ends}n = {n})"


def _unit(amount: float, verdict: Verdict) -> str:
    unit = METRICS[verdict.claim.metric].unit
    if unit in tables.RATES:
        unit = "point" if abs(amount) == 1 else "points"
    return f" {unit}".rstrip()


def minus(text: str) -> str:
    """A number with a minus sign in place of a hyphen, behind which lines break."""
    return text.replace("-", "\N{MINUS SIGN}")
