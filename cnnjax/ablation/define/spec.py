"""What an ablation asks: axes, arms and scales, as frozen dataclasses.

A definition file, such as those of `configs/ablations/`, builds one `Ablation`.
Nothing here trains: `plan` turns the arms of one scale into configs, and the files
written beside them carry the whole definition (`stored`), so that a report needs no
definition file.
"""

import dataclasses
import itertools
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cnnjax.ablation.define.claims import Claim
from cnnjax.ablation.define.metrics import METRICS
from cnnjax.ablation.define.papers import (
    NOT_RECORDED,
    Published,
    PublishedNumber,
    matching_numbers,
    quote,
)
from cnnjax.errors import UserError, unknown_name


@dataclasses.dataclass(frozen=True)
class Axis:
    """One thing that varies.

    Attributes:
      name: used in arm names and tables, for instance 'depth'.
      values: label -> the config keys (dotted) that this label sets; a whole section,
        such as `model` for another net, is a key as well.
      title: axis title of plots, with the unit; the name if empty.
    """

    name: str
    values: Mapping[str, Mapping[str, Any]]
    title: str = ""

    @classmethod
    def over(
        cls,
        name: str,
        key: str,
        values: Iterable[Any] | Mapping[Any, Any],
        title: str = "",
    ) -> "Axis":
        """An axis that sets one config key.

        Args:
          name: of the axis.
          key: dotted config key.
          values: of the key, whose text is the label; or label -> value.
          title: of the axis.
        """
        labelled = values if isinstance(values, Mapping) else {v: v for v in values}
        return cls(name, {str(label): {key: v} for label, v in labelled.items()}, title)


@dataclasses.dataclass(frozen=True)
class Arm:
    """One setting of the axes: a config trained with every seed.

    Attributes:
      name: also the folder of its files.
      axes: axis name -> label.
      overrides: dotted config key -> value, of the scale and of the labels.
    """

    name: str
    axes: Mapping[str, str]
    overrides: Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Scale:
    """One size of the same question.

    Attributes:
      recipe: what the arms start from: a name of `configs/`, or a path ending in .py
        from the folder of the definition.
      seeds: runs of each arm, with seeds 0, 1, ...
      grids: what is run: each grid maps names of axes to labels (numbers stand for
        their text), and is their product; an axis that a grid leaves out runs all its
        labels, and an arm of two grids is run once.
      overrides: dotted config keys for all arms; the labels of the axes win over them.
      note: data and budget in words.
      jobs: arms at a time where --jobs does not say; 0 for one per core. 1 where the
        time of a step is compared.
      as_published: whether data, budget and evaluation are those of the source, so that
        its numbers can be compared with ours.
    """

    recipe: str
    seeds: int
    grids: Sequence[Mapping[str, Sequence[Any]]] = ({},)
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    note: str = ""
    jobs: int = 0
    as_published: bool = False

    def __post_init__(self) -> None:
        as_text = [
            {axis: [str(label) for label in labels] for axis, labels in grid.items()}
            for grid in self.grids or [{}]
        ]
        object.__setattr__(self, "grids", as_text)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ablation:
    """A question about an ingredient, with all that is needed to answer it.

    Attributes:
      name: that of its file, without .py, and of its folder in `runs/`.
      title: a headline.
      question: one sentence ending in a question mark.
      source: the paper, as a whole or with its section.
      axes: their product is the grid of arms.
      x_axis: name of the axis drawn horizontally.
      series_axis: name of the axis drawn as separate lines; None for a single line.
      arm_name: format string over the axis names, for instance '{net}-{depth}'.
      metrics: keys of `METRICS` for the tables; the first two are plotted.
      scales: name -> Scale.
      claims: what the source says of the arms, worded by `higher`, `not_higher`, ...
      published: numbers to print beside ours, and to quote in claims.
      background: what is known, in a few sentences.
      limits: what this set-up cannot show.
      diverged_error: percent that errors count as in runs whose loss became infinite,
        such as that of guessing; None leaves these runs out of averages and claims.

    Raises:
      UserError: if the parts do not fit together.
    """

    name: str
    title: str
    question: str
    source: str
    axes: Sequence[Axis]
    arm_name: str
    x_axis: str
    series_axis: str | None = None
    metrics: Sequence[str]
    scales: Mapping[str, Scale]
    claims: Sequence[Claim] = ()
    published: Sequence[Published] = ()
    background: str = ""
    limits: str = ""
    diverged_error: float | None = None

    def __post_init__(self) -> None:
        _check_axes(self)
        _check_scales(self)
        _check_metrics(self)
        _check_claims(self)
        _check_published(self)

    def scale(self, name: str) -> Scale:
        """The scale of that name; UserError with near matches if there is none."""
        if name not in self.scales:
            raise unknown_name(
                f"scale of ablation {self.name!r}", name, self.scales, "--scale"
            )
        return self.scales[name]

    def arms(self, scale_name: str) -> tuple[Arm, ...]:
        """The arms of one scale: the products of its labels, the last axis fastest."""
        scale = self.scale(scale_name)
        choices: dict[tuple[str, ...], None] = {}
        for grid in scale.grids:
            labels = [grid.get(axis.name, tuple(axis.values)) for axis in self.axes]
            choices |= dict.fromkeys(itertools.product(*labels))
        return tuple(self._arm(scale, choice) for choice in choices)

    def posed(self, scale_name: str) -> list[Claim]:
        """The claims all of whose arms this scale has."""
        names = {arm.name for arm in self.arms(scale_name)}
        return [claim for claim in self.claims if names >= set(claim.contrast)]

    @property
    def published_numbers(self) -> list[PublishedNumber]:
        """The published numbers, one entry per arm and metric."""
        return [number for table in self.published for number in table.numbers]

    def evidence(self, claim: Claim) -> str | None:
        """What the source measured for a claim: its own words, or its numbers.

        Numbers are quoted only if all arms of the claim have one for its metric, with
        the same data and protocol.
        """
        if claim.published is not None:
            return claim.published
        numbers = matching_numbers(claim.contrast, claim.metric, self.published)
        return quote(numbers) if numbers else None

    def _arm(self, scale: Scale, choice: Sequence[str]) -> Arm:
        axes = {axis.name: label for axis, label in zip(self.axes, choice, strict=True)}
        overrides = dict(scale.overrides)
        for axis in self.axes:
            overrides |= axis.values[axes[axis.name]]
        return Arm(self.arm_name.format(**axes), axes, overrides)


def _where(ablation: Ablation) -> str:
    return f"{ablation.name}.py"


def _check_axes(ablation: Ablation) -> None:
    names = [axis.name for axis in ablation.axes]
    drawn = [ablation.x_axis] + ([ablation.series_axis] if ablation.series_axis else [])
    placeholders = [
        f for _, f, _, _ in string.Formatter().parse(ablation.arm_name) if f
    ]
    for name in drawn + placeholders:
        if name not in names:
            raise unknown_name("axis", name, names, _where(ablation))
    for first, second in itertools.combinations(ablation.axes, 2):
        keys = [
            {k for v in axis.values.values() for k in v} for axis in (first, second)
        ]
        for key in sorted(keys[0] & keys[1]):
            raise UserError(
                f"axes {first.name!r} and {second.name!r} both set {key!r}: one config "
                f"key belongs to one axis, in {_where(ablation)}"
            )


def _check_scales(ablation: Ablation) -> None:
    by_name = {axis.name: axis for axis in ablation.axes}
    for name, scale in ablation.scales.items():
        where = f"scale {name!r} in {_where(ablation)}"
        for own_name, labels in (pair for g in scale.grids for pair in g.items()):
            if own_name not in by_name:
                raise unknown_name("axis", own_name, by_name, where)
            allowed = by_name[own_name].values
            for label in labels:
                if label not in allowed:
                    raise unknown_name(f"label of {own_name!r}", label, allowed, where)
        if scale.seeds < 1:
            raise UserError(f"seeds={scale.seeds} must be at least 1, in {where}")
        counts = Counter(arm.name for arm in ablation.arms(name))
        for arm_name in [arm for arm, count in counts.items() if count > 1]:
            raise UserError(
                f"{counts[arm_name]} arms are named {arm_name!r}: arm_name must tell "
                f"all arms apart, in {where}"
            )


def _check_metrics(ablation: Ablation) -> None:
    if not ablation.metrics or isinstance(ablation.metrics, str):
        raise UserError(
            f"{_where(ablation)} has metrics={ablation.metrics!r}, which must be a "
            "list of at least one metric"
        )
    for metric in ablation.metrics:
        if metric not in METRICS:
            raise unknown_name("metric", metric, METRICS, _where(ablation))


def _check_claims(ablation: Ablation) -> None:
    arms = _all_arms(ablation)
    counts = Counter(claim.name for claim in ablation.claims)
    for claim in ablation.claims:
        where = f"claim {claim.name!r} in {_where(ablation)}"
        if counts[claim.name] > 1:
            raise UserError(f"two claims share a name: it must be unique, see {where}")
        for arm in claim.contrast:
            if arm not in arms:
                raise unknown_name("arm", arm, arms, where)


def _check_published(ablation: Ablation) -> None:
    arms = _all_arms(ablation)
    # Plans of earlier versions were checked less, and must still be read.
    numbers = [n for n in ablation.published_numbers if n.data != NOT_RECORDED]
    counts = Counter((number.arm, number.metric) for number in numbers)
    for number in numbers:
        where = f"the numbers of {number.source!r} in {_where(ablation)}"
        if number.arm not in arms:
            raise unknown_name("arm", number.arm, arms, where)
        if counts[number.arm, number.metric] > 1:
            raise UserError(
                f"arm {number.arm!r} has two published numbers for {number.metric!r}: "
                f"keep one, see {where}"
            )


def _all_arms(ablation: Ablation) -> set[str]:
    return {arm.name for name in ablation.scales for arm in ablation.arms(name)}
