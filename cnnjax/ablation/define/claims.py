"""Claims that compare two arms, worded from the arms and the metric."""

from collections.abc import Mapping

from cnnjax.ablation.define.metrics import METRICS, Metric
from cnnjax.ablation.define.spec import Claim


def higher(
    first: str,
    second: str,
    metric: str,
    source: str,
    margin: float = 0.0,
    published: str | Mapping[str, float] | None = None,
) -> Claim:
    """The claim that one arm has more of a metric than another.

    Args:
      first: an arm.
      second: the arm that it is compared with.
      metric: a key of `METRICS`.
      source: paper and the table or figure.
      margin: by how much more, in the unit of the metric; where it is negative, the
        claim is that `second` has at most so much more than `first`.
      published: what the source measured, in words or as arm -> number; numbers are
        quoted where both arms have one.

    Returns:
      A claim named after the arms and the metric.
    """
    what = METRICS[metric]
    if margin < 0:
        text = f"{second} has at most {_amount(-margin, what)} more {what.title} than"
        text += f" {first}."
    else:
        by = f", by more than {_amount(margin, what)}" if margin else ""
        text = f"{first} has a higher {what.title} than {second}{by}."
    if isinstance(published, Mapping):
        numbers = [published.get(arm) for arm in (first, second)]
        words = [f"{number} {what.unit}".strip() for number in numbers]
        published = None if None in numbers else " against ".join(words)
    name = f"{first} / {second}, {what.title}"
    return Claim(
        name, text, source, metric, {first: 1, second: -1}, float(margin), published
    )


def _amount(margin: float, what: Metric) -> str:
    unit = "points" if what.unit == "%" else what.unit
    if margin == 1 and unit == "points":
        unit = "point"
    return f"{margin:g} {unit}".strip()
