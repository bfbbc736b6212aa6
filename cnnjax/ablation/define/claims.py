"""Claims: what a source says about the arms, one statement each.

    higher("train_error", "plain-56", than="plain-20", source=HE.at("Fig. 6"))

claims that arm 'plain-56' has a higher training error than arm 'plain-20'. Beside the
keywords of its own each function takes those of `Details`.
"""

from collections.abc import Callable, Sequence
from typing import TypedDict, Unpack

from cnnjax.ablation.define.checks import is_number
from cnnjax.ablation.define.claim import Claim
from cnnjax.ablation.define.metrics import METRICS
from cnnjax.errors import UserError, shown, unknown_name

# Of the functions below, beside those of `Details`.
KEYWORDS = ("than", "margin", "times", "tolerance", "bound")


class Details(TypedDict, total=False):
    """Keywords of every claim.

    Attributes:
      source: the paper and its table, figure or section, as from `Paper.at`; required.
      sentence: the claim in words, where the names of the arms do not speak for
        themselves; else it is worded from the statement.
      name: a short, unique name for plots; else made from the arms and the metric.
      published: what the source measured, in words; else the numbers of `Published`
        are quoted, if all arms of the claim have one.
      matters: smallest distance from the margin that matters, as in `Claim`; runs can
        then show that there is no difference beyond it.
      because: the reason for `matters`.
      headline: whether the claim answers the question of the ablation.
      test: that decides, as in `Claim`.
      failures: what becomes of runs that failed to train, as in `Claim`.
    """

    source: str
    sentence: str
    name: str
    published: str | None
    matters: float | None
    because: str
    headline: bool
    test: str
    failures: str


def higher(
    metric: str,
    arm: str,
    *,
    than: str,
    margin: float = 0.0,
    times: float = 1,
    **details: Unpack[Details],
) -> Claim:
    """The claim that one arm is higher in a metric than another.

    Args:
      metric: a key of `METRICS`.
      arm: the arm with the higher value.
      than: the arm that it is compared with.
      margin: by how much it is higher at least, >= 0, in the unit of the metric.
      times: factor by which it is higher at least, > 0.
      **details: see `Details`.

    Raises:
      UserError: the margin is negative, or what `Claim` refuses.
    """
    _check("margin", margin, lambda m: m >= 0, "at least 0; see not_higher")
    _check("times", times, lambda t: t > 0, "above 0")
    if times != 1:
        _check("margin", margin, lambda m: not m, "left out where `times` is given")
    title = _title(metric)
    text = f"{arm} has a higher {title} than {than}."
    if times != 1:
        text = f"The {title} of {arm} is more than {times:g} times that of {than}."
    if margin:
        more = _amount(margin, metric)
        text = f"The {title} of {arm} is more than {more} higher than that of {than}."
    name = f"{arm} / {than}, {title}"
    return _claim(name, text, metric, [(arm, 1), (than, -times)], margin, **details)


def lower(
    metric: str, arm: str, *, than: str, margin: float = 0.0, **details: Unpack[Details]
) -> Claim:
    """The claim that one arm is lower in a metric than another.

    Args:
      metric: a key of `METRICS`.
      arm: the arm with the lower value.
      than: the arm that it is compared with.
      margin: by how much it is lower at least, >= 0, in the unit of the metric.
      **details: see `Details`.

    Raises:
      UserError: the margin is negative, or what `Claim` refuses.
    """
    _check("margin", margin, lambda m: m >= 0, "at least 0; see not_higher")
    title = _title(metric)
    text = f"{arm} has a lower {title} than {than}."
    if margin:
        less = _amount(margin, metric)
        text = f"The {title} of {arm} is more than {less} lower than that of {than}."
    name = f"{than} / {arm}, {title}"
    return _claim(name, text, metric, [(arm, -1), (than, 1)], margin, **details)


def not_higher(
    metric: str, arm: str, *, than: str, tolerance: float, **details: Unpack[Details]
) -> Claim:
    """The claim that one arm is at most a little higher in a metric than another.

    Args:
      metric: a key of `METRICS`.
      arm: the arm that is not higher.
      than: the arm that it is compared with.
      tolerance: by how much `arm` may be higher, > 0, in the unit of the metric.
      **details: see `Details`.

    Raises:
      UserError: the tolerance is not positive, or what `Claim` refuses.
    """
    _check("tolerance", tolerance, lambda t: t > 0, "above 0; see lower")
    title, more = _title(metric), _amount(tolerance, metric)
    text = f"The {title} of {arm} is at most {more} higher than that of {than}."
    name = f"{than} / {arm}, {title}"
    return _claim(name, text, metric, [(arm, -1), (than, 1)], -tolerance, **details)


def rises_more(
    metric: str,
    change: tuple[str, str],
    *,
    than: tuple[str, str],
    **details: Unpack[Details],
) -> Claim:
    """The claim that a metric rises more from one arm to another than between two more.

    Args:
      metric: a key of `METRICS`.
      change: from which arm to which, for instance ('plain-20', 'plain-56').
      than: the change that it is compared with, ('residual-20', 'residual-56').
      **details: see `Details`.

    Raises:
      UserError: the two changes are the same, or what else `Claim` refuses.
    """
    return _changes_more("rises", metric, change, than, **details)


def falls_more(
    metric: str,
    change: tuple[str, str],
    *,
    than: tuple[str, str],
    **details: Unpack[Details],
) -> Claim:
    """The claim that a metric falls more from one arm to another than between two more.

    Args:
      metric: a key of `METRICS`.
      change: from which arm to which, for instance ('images-64', 'images-256').
      than: the change that it is compared with, ('images-256', 'images-1024').
      **details: see `Details`.

    Raises:
      UserError: the two changes are the same, or what else `Claim` refuses.
    """
    return _changes_more("falls", metric, change, than, **details)


def _changes_more(
    verb: str,
    metric: str,
    change: tuple[str, str],
    than: tuple[str, str],
    /,
    **details: Unpack[Details],
) -> Claim:
    """`verb` is 'rises' or 'falls'."""
    (start, end), (other_start, other_end) = map(_pair, (change, than))
    first, second = f"{start} to {end}", f"{other_start} to {other_end}"
    title = _title(metric)
    text = f"The {title} {verb} more from {first} than from {second}."
    if verb == "falls":
        terms = [(start, 1), (end, -1), (other_start, -1), (other_end, 1)]
    else:
        terms = [(end, 1), (start, -1), (other_end, -1), (other_start, 1)]
    return _claim(f"{first} / {second}, {title}", text, metric, terms, 0, **details)


def above(metric: str, arm: str, *, bound: float, **details: Unpack[Details]) -> Claim:
    """The claim that a metric of one arm is above a bound.

    Args:
      metric: a key of `METRICS`.
      arm: name of the arm.
      bound: any number, in the unit of the metric.
      **details: see `Details`.

    Raises:
      UserError: what `Claim` refuses.
    """
    title, amount = _title(metric), _level(bound, metric)
    text = f"The {title} of {arm} is above {amount}."
    name = f"{arm} above {amount}, {title}"
    return _claim(name, text, metric, [(arm, 1)], bound, **details)


def below(metric: str, arm: str, *, bound: float, **details: Unpack[Details]) -> Claim:
    """The claim that a metric of one arm is below a bound.

    Args:
      metric: a key of `METRICS`.
      arm: name of the arm.
      bound: any number, in the unit of the metric.
      **details: see `Details`.

    Raises:
      UserError: what `Claim` refuses.
    """
    title, amount = _title(metric), _level(bound, metric)
    text = f"The {title} of {arm} is below {amount}."
    name = f"{arm} below {amount}, {title}"
    return _claim(name, text, metric, [(arm, -1)], -bound, **details)


def _claim(
    usual_name: str,
    text: str,
    metric: str,
    terms: Sequence[tuple[str, float]],
    margin: float,
    /,
    **details: Unpack[Details],
) -> Claim:
    """Adds up the coefficients of an arm that stands in several terms."""
    for keyword in details:
        if keyword not in Details.__annotations__:
            known = {*Details.__annotations__, *KEYWORDS} - {keyword}
            raise unknown_name("keyword", keyword, known, f"claim {usual_name!r}")
    contrast: dict[str, float] = {}
    for arm, coefficient in terms:
        contrast[arm] = contrast.get(arm, 0) + coefficient
    return Claim(
        name=details.get("name") or usual_name,
        text=details.get("sentence") or text,
        source=details.get("source", ""),
        metric=metric,
        contrast=contrast,
        margin=float(margin),
        published=details.get("published"),
        matters=details.get("matters"),
        because=details.get("because", ""),
        headline=details.get("headline", False),
        test=details.get("test", ""),
        failures=details.get("failures", ""),
    )


def _check(
    keyword: str, value: float, is_legal: Callable[[float], bool], allowed: str
) -> None:
    if not is_number(value) or not is_legal(value):
        raise UserError(f"{keyword}={shown(value)} of a claim must be {allowed}")


def _pair(change: tuple[str, str]) -> tuple[str, str]:
    if not isinstance(change, tuple | list) or len(change) != 2:
        raise UserError(
            f"{shown(change)} of a claim must be two arms, from which to which, such "
            "as ('plain-20', 'plain-56')"
        )
    return change[0], change[1]


def _title(metric: str) -> str:
    if not isinstance(metric, str) or metric not in METRICS:
        raise unknown_name("metric", metric, METRICS, "the first argument of a claim")
    return METRICS[metric].title


def _amount(number: float, metric: str) -> str:
    """'5 points', '1 point', '2 ms' or '0.5'."""
    unit = METRICS[metric].unit
    if unit in ("%", "points"):
        unit = "point" if number == 1 else "points"
    return f"{number:g} {unit}".rstrip()


def _level(bound: float, metric: str) -> str:
    """A value of a metric itself, for instance '20%' or '5 points'."""
    _check("bound", bound, is_number, "a finite number")
    if METRICS[metric].unit == "%":
        return f"{bound:g}%"
    return _amount(bound, metric)
