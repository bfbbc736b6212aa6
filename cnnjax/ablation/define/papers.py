"""Papers, and the numbers that they printed."""

import dataclasses
import re
from collections.abc import Iterable, Mapping

from cnnjax.ablation.define.checks import check_mapping, check_number, check_text
from cnnjax.ablation.define.metrics import METRICS
from cnnjax.errors import UserError, shown, unknown_name

# Data of a number in a plan of an earlier version, which did not record them.
NOT_RECORDED = "not recorded"


class Paper(str):
    """A citation with authors and year, such as 'He et al. 2015, arXiv 1512.03385'.

    Raises:
      UserError: the citation has no year.
    """

    def __new__(cls, citation: str) -> "Paper":
        if not re.search(r"\b(19|20)\d\d\b", citation):
            raise UserError(f"Paper({citation!r}) has no year: cite authors and year")
        return super().__new__(cls, citation)

    def at(self, place: str) -> str:
        """The citation with a table, figure or section behind it."""
        return f"{self}, {place}"


@dataclasses.dataclass(frozen=True)
class PublishedNumber:
    """One number that a source printed for an arm; see `Published`."""

    arm: str
    metric: str
    value: float
    source: str
    data: str
    protocol: str

    @property
    def setting(self) -> tuple[str, str]:
        """What two numbers must share to be compared."""
        return self.data, self.protocol

    @property
    def note(self) -> str:
        """Data and protocol in words."""
        known = (self.data if self.data != NOT_RECORDED else "", self.protocol)
        return ", ".join(filter(None, known))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published:
    """Numbers of one table or figure, all obtained in the same way.

    Attributes:
      source: the paper and its table or figure, as from `Paper.at`.
      metric: a key of `METRICS`.
      data: the data set of the source, for instance 'CIFAR-10'.
      values: arm name -> number, in the unit of the metric.
      protocol: how it was evaluated or read, where this matters to a comparison, for
        instance '10 crops', or 'approximate, read off the curves'.

    Raises:
      UserError: the metric is unknown, or source or data are missing.
    """

    source: str
    metric: str
    data: str
    values: Mapping[str, float]
    protocol: str = ""

    def __post_init__(self) -> None:
        where = f"Published(source={shown(self.source)})"
        for field in ("source", "metric", "data", "protocol"):
            check_text(getattr(self, field), field, where)
        check_mapping(self.values, "values", where)
        for arm, value in self.values.items():
            check_text(arm, "an arm", where)
            check_number(value, f"the value of {arm!r}", where)
        if self.metric not in METRICS:
            raise unknown_name("metric", self.metric, METRICS, where)
        if not self.source or not self.data:
            raise UserError(
                f"{where} has no {'data' if self.source else 'source'}: a published "
                "number needs the paper and the data set"
            )

    @property
    def numbers(self) -> list[PublishedNumber]:
        """One entry per arm."""
        return [
            PublishedNumber(
                arm, self.metric, value, self.source, self.data, self.protocol
            )
            for arm, value in self.values.items()
        ]

    def quote(self, *arms: str) -> str:
        """Numbers of some arms in words, for the evidence of a claim on other arms.

        Raises:
          UserError: there is no number for an arm.
        """
        for arm in arms:
            if arm not in self.values:
                raise unknown_name("arm", arm, self.values, f"quote() of {self.source}")
        return quote([n for arm in arms for n in self.numbers if n.arm == arm])


def quote(numbers: Iterable[PublishedNumber]) -> str:
    """'27.94 % (plain-18), 28.54 % (plain-34); ImageNet, 10 crops', of one setting."""
    numbers = list(numbers)
    decimals = max(len(str(n.value).partition(".")[2]) for n in numbers)
    unit = METRICS[numbers[0].metric].unit
    words = [f"{f'{n.value:.{decimals}f} {unit}'.rstrip()} ({n.arm})" for n in numbers]
    return f"{', '.join(words)}; {numbers[0].note}"


def matching_numbers(
    arms: Iterable[str], metric: str, published: Iterable[Published]
) -> list[PublishedNumber]:
    """The numbers of all arms, if each has one, of the same data and protocol; or [].

    Args:
      arms: in the order of the result.
      metric: a key of `METRICS`.
      published: where to look.
    """
    numbers = [n for table in published for n in table.numbers if n.metric == metric]
    by_arm = {n.arm: n for n in numbers if n.data != NOT_RECORDED}
    found = [by_arm[arm] for arm in arms if arm in by_arm]
    complete = len(found) == len(list(arms))
    return found if complete and len({n.setting for n in found}) == 1 else []
