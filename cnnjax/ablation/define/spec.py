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

from cnnjax.ablation.define import checks
from cnnjax.ablation.define.claims import Claim
from cnnjax.ablation.define.metrics import METRICS
from cnnjax.ablation.define.papers import (
    NOT_RECORDED,
    Published,
    PublishedNumber,
    matching_numbers,
    quote,
)
from cnnjax.errors import UserError, shown, unknown_name
from cnnjax.names import check_name, check_names

SEEDS_KEY = "seeds.count"  # which the seeds of a scale set


@dataclasses.dataclass(frozen=True)
class Axis:
    """One thing that varies.

    Attributes:
      name: used in arm names and tables, for instance 'depth'.
      values: label -> the config keys (dotted) that this label sets; a whole section,
        such as `model` for another net, is a key as well.
      title: axis title of plots, with the unit; the name if empty. Mathematics stand
        between dollars, as in '$\\sigma$ of the weights'.
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
        _check_grids(self.grids)
        as_text = [
            {axis: [str(label) for label in labels] for axis, labels in grid.items()}
            for grid in self.grids
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
        _check_kinds(self)
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
        return Arm(_filled_in(self, axes), axes, overrides)


def _where(ablation: Ablation) -> str:
    return f"{ablation.name}.py"


def _check_kinds(ablation: Ablation) -> None:
    """Refuses parts of the wrong type, which would fail in the middle of something."""
    where = _where(ablation)
    check_name("ablation", ablation.name, where)
    texts = ("title", "question", "source", "arm_name", "background", "limits")
    for field in texts:
        checks.check_text(getattr(ablation, field), field, where)
    checks.check_instances(ablation.axes, Axis, "axes", where)
    checks.check_instances(ablation.claims, Claim, "claims", where)
    checks.check_instances(ablation.published, Published, "published", where)
    checks.check_mapping(ablation.scales, "scales", where)
    checks.check_instances(list(ablation.scales.values()), Scale, "scales", where)
    checks.check_list(ablation.metrics, "metrics", where)
    if ablation.diverged_error is not None:
        checks.check_number(ablation.diverged_error, "diverged_error", where)


def _filled_in(ablation: Ablation, axes: Mapping[str, str]) -> str:
    try:
        return ablation.arm_name.format(**axes)
    except (AttributeError, IndexError, KeyError, ValueError) as error:
        raise _wrong_arm_name(ablation, error) from error


def _wrong_arm_name(ablation: Ablation, error: Exception) -> UserError:
    return UserError(
        f"{_where(ablation)}: arm_name={shown(ablation.arm_name)} cannot be filled in "
        f"({error}): write names of axes in braces, such as '{{net}}-{{depth}}'"
    )


def _check_axes(ablation: Ablation) -> None:
    where = _where(ablation)
    names = [axis.name for axis in ablation.axes]
    check_names("axis", names, where)
    if len(set(names)) < len(names):
        raise UserError(f"{where}: two axes share a name, in {', '.join(names)}")
    for axis in ablation.axes:
        _check_axis(axis, f"axis {axis.name!r} in {where}")
    drawn = [ablation.x_axis]
    if ablation.series_axis is not None:
        drawn.append(ablation.series_axis)
    for name in drawn + _placeholders(ablation):
        if name not in names:
            raise unknown_name("axis", name, names, where)
    for first, second in itertools.combinations(ablation.axes, 2):
        keys = [
            {k for v in axis.values.values() for k in v} for axis in (first, second)
        ]
        for key in sorted(keys[0] & keys[1]):
            raise UserError(
                f"axes {first.name!r} and {second.name!r} both set {key!r}: one config "
                f"key belongs to one axis, in {_where(ablation)}"
            )


def _placeholders(ablation: Ablation) -> list[str]:
    """The names in braces in the format of the names of arms."""
    try:
        parts = list(string.Formatter().parse(ablation.arm_name))
    except ValueError as error:
        raise _wrong_arm_name(ablation, error) from error
    return [field for _, field, _, _ in parts if field]


def _check_axis(axis: Axis, where: str) -> None:
    checks.check_mapping(axis.values, "values", where)
    if not axis.values:
        raise UserError(f"{where} has no labels: give at least one")
    check_names("label", axis.values, where)
    for label, keys in axis.values.items():
        checks.check_mapping(keys, f"label {label!r}", where)
        _check_overrides(keys, where)
    checks.check_text(axis.title, "title", where)
    checks.check_title(axis.title, where)


def _check_overrides(keys: Mapping[str, Any], where: str) -> None:
    for key in keys:
        checks.check_text(key, "a config key", where)
    if SEEDS_KEY in keys:
        raise UserError(
            f"{where} sets {SEEDS_KEY!r}, which does nothing: give seeds= of the scale"
        )


def _check_grids(grids: Any) -> None:
    checks.check_list(grids, "grids", "Scale")
    if not grids:
        raise UserError("Scale: grids is empty: leave it out to run all arms")
    for grid in grids:
        checks.check_mapping(grid, "one of grids", "Scale")
        for axis, labels in grid.items():
            checks.check_list(labels, f"{axis!r} of a grid", "Scale")
            if not labels:
                raise UserError(
                    f"Scale: a grid has no label of {axis!r}: leave the axis out to "
                    "run all its labels"
                )


def _check_scales(ablation: Ablation) -> None:
    check_names("scale", ablation.scales, _where(ablation))
    by_name = {axis.name: axis for axis in ablation.axes}
    for name, scale in ablation.scales.items():
        where = f"scale {name!r} in {_where(ablation)}"
        _check_scale(scale, where)
        for own_name, labels in (pair for g in scale.grids for pair in g.items()):
            if own_name not in by_name:
                raise unknown_name("axis", own_name, by_name, where)
            allowed = by_name[own_name].values
            for label in labels:
                if label not in allowed:
                    raise unknown_name(f"label of {own_name!r}", label, allowed, where)
        counts = Counter(arm.name for arm in ablation.arms(name))
        check_names("arm", counts, where)
        for arm_name in [arm for arm, count in counts.items() if count > 1]:
            raise UserError(
                f"{counts[arm_name]} arms are named {arm_name!r}: arm_name must tell "
                f"all arms apart, in {where}"
            )


def _check_scale(scale: Scale, where: str) -> None:
    checks.check_text(scale.recipe, "recipe", where)
    checks.check_whole(scale.seeds, 1, "seeds", where)
    checks.check_mapping(scale.overrides, "overrides", where)
    _check_overrides(scale.overrides, where)
    checks.check_text(scale.note, "note", where)
    checks.check_whole(scale.jobs, 0, "jobs", where)


def _check_metrics(ablation: Ablation) -> None:
    if not ablation.metrics:
        raise UserError(f"{_where(ablation)}: metrics must have at least one metric")
    for metric in ablation.metrics:
        checks.check_text(metric, "one of metrics", _where(ablation))
        if metric not in METRICS:
            raise unknown_name("metric", metric, METRICS, _where(ablation))


def _check_claims(ablation: Ablation) -> None:
    arms = _all_arms(ablation)
    counts = Counter(claim.name for claim in ablation.claims)
    for claim in ablation.claims:
        where = f"claim {claim.name!r} in {_where(ablation)}"
        if counts[claim.name] > 1:
            raise UserError(
                f"two claims share a name: tell them apart by name=, see {where}"
            )
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
