"""What an ablation asks: axes, arms, claims and scales, as frozen dataclasses.

A definition file, such as those of `configs/ablations/`, builds one `Ablation`.
Nothing here trains: `plan` turns the arms of one scale into configs, and the files
written beside them carry the whole definition, so that a report needs no definition
file.
"""

import dataclasses
import itertools
import math
import string
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ml_collections import ConfigDict

from cnnjax.ablation.define.metrics import METRICS
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
        cls, name: str, key: str, values: Iterable[Any], title: str = ""
    ) -> "Axis":
        """An axis that sets one key; each value, as text, is its label."""
        return cls(name, {str(v): {key: v} for v in values}, title)


@dataclasses.dataclass(frozen=True)
class Arm:
    """One cell of the grid: a config trained with every seed.

    Attributes:
      name: also the folder of its files.
      axes: axis name -> label.
      overrides: dotted config key -> value, of the scale and of the labels.
    """

    name: str
    axes: Mapping[str, str]
    overrides: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Claim:
    """A statement that the runs can support or contradict.

    It says that the sum of coefficient * metric(arm) is above `margin`. So a
    difference, a difference of differences and, with a negative margin, 'not worse by
    more than m' have one form.

    Attributes:
      name: short, unique.
      text: the statement in words.
      source: paper and the table or figure.
      metric: a key of `METRICS`.
      contrast: arm name -> coefficient.
      margin: in the unit of the metric.
      published: what the source measured, in words.
    """

    name: str
    text: str
    source: str
    metric: str
    contrast: Mapping[str, float]
    margin: float = 0.0
    published: str | None = None


@dataclasses.dataclass(frozen=True)
class Published:
    """A number that the source printed for an arm."""

    arm: str
    metric: str
    value: float
    source: str
    note: str = ""


@dataclasses.dataclass(frozen=True)
class Scale:
    """One size of the same question.

    Attributes:
      recipe: what the arms start from: a name of `configs/`, or a path ending in .py
        from the folder of the definition.
      overrides: dotted config keys for all arms; the labels of the axes win over them.
      axes: axis name -> labels run at this scale; an axis that is absent runs them all.
      also: more grids of the same form; an arm of two grids is run once.
      num_seeds: runs of each arm, with seeds 0, 1, ...
      note: data and budget in words.
      jobs: arms at a time where --jobs does not say; 0 for one per core. 1 where the
        time of a step is compared.
      as_published: whether data and budget are those of the source, so that its numbers
        can be compared with ours.
    """

    recipe: str
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    axes: Mapping[str, Sequence[str]] = dataclasses.field(default_factory=dict)
    num_seeds: int = 5
    note: str = ""
    as_published: bool = False
    also: Sequence[Mapping[str, Sequence[str]]] = ()
    jobs: int = 0

    @property
    def grids(self) -> tuple[Mapping[str, Sequence[str]], ...]:
        """All grids; their union is what is run."""
        return (self.axes, *self.also)


@dataclasses.dataclass(frozen=True)
class Ablation:
    """A question about an ingredient, with all that is needed to answer it.

    Attributes:
      name: that of its file, without .py, and of its folder in `runs/`.
      title: a headline.
      question: one sentence ending in a question mark.
      source: the paper.
      axes: their product is the grid of arms.
      x_axis: name of the axis drawn horizontally.
      series_axis: name of the axis drawn as separate lines; None for a single line.
      arm_name: format string over the axis names, for instance '{net}-{depth}'.
      metrics: keys of `METRICS` for the tables; the first two are plotted.
      claims: what the source says.
      scales: name -> Scale.
      published: numbers to print beside ours.
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
    x_axis: str
    series_axis: str | None
    arm_name: str
    metrics: Sequence[str]
    claims: Sequence[Claim]
    scales: Mapping[str, Scale]
    published: Sequence[Published] = ()
    background: str = ""
    limits: str = ""
    diverged_error: float | None = None

    def __post_init__(self) -> None:
        _check_axes(self)
        _check_scales(self)
        _check_metrics(self)
        _check_claims(self)

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

    def _arm(self, scale: Scale, choice: Sequence[str]) -> Arm:
        axes = {axis.name: label for axis, label in zip(self.axes, choice, strict=True)}
        overrides = dict(scale.overrides)
        for axis in self.axes:
            overrides |= axis.values[axes[axis.name]]
        return Arm(self.arm_name.format(**axes), axes, overrides)


def spec_to_dict(ablation: Ablation, scale: str) -> dict[str, Any]:
    """The definition and the chosen scale as plain dicts, for `plan.json`."""
    ablation.scale(scale)
    return {"ablation": to_plain(dataclasses.asdict(ablation)), "scale": scale}


def to_plain(value: Any) -> Any:
    """A value for JSON: config sections, which may be overrides, become dicts."""
    if isinstance(value, ConfigDict):
        return value.to_dict()
    if isinstance(value, Mapping):
        return {key: to_plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(inner) for inner in value]
    return value


def spec_from_dict(data: Mapping[str, Any]) -> tuple[Ablation, str]:
    """Inverse of `spec_to_dict`, from JSON; sequences come back as lists.

    Returns:
      The ablation and the name of the scale.

    Raises:
      UserError: if it was not written by this version of the dataclasses.
    """
    try:
        fields = dict(data["ablation"])
        fields["axes"] = [Axis(**axis) for axis in fields["axes"]]
        fields["claims"] = [Claim(**claim) for claim in fields["claims"]]
        fields["published"] = [Published(**row) for row in fields["published"]]
        fields["scales"] = {k: Scale(**v) for k, v in fields["scales"].items()}
        return Ablation(**fields), data["scale"]
    except (KeyError, TypeError) as error:
        raise UserError(
            f"the spec in plan.json cannot be read ({error}): plan the ablation again "
            "into a new --workdir, or report it with the version that wrote it"
        ) from error


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
        if scale.num_seeds < 1:
            raise UserError(f"num_seeds is {scale.num_seeds}: at least 1, in {where}")
        counts = Counter(arm.name for arm in ablation.arms(name))
        for arm_name in [arm for arm, count in counts.items() if count > 1]:
            raise UserError(
                f"{counts[arm_name]} arms are named {arm_name!r}: arm_name must tell "
                f"all arms apart, in {where}"
            )


def _check_metrics(ablation: Ablation) -> None:
    used = [*ablation.metrics, *(claim.metric for claim in ablation.claims)]
    for metric in used + [row.metric for row in ablation.published]:
        if metric not in METRICS:
            raise unknown_name("metric", metric, METRICS, _where(ablation))


def _check_claims(ablation: Ablation) -> None:
    arms = {arm.name for name in ablation.scales for arm in ablation.arms(name)}
    counts = Counter(claim.name for claim in ablation.claims)
    for claim in ablation.claims:
        where = f"claim {claim.name!r} in {_where(ablation)}"
        if counts[claim.name] > 1:
            raise UserError(f"two claims share a name: it must be unique, see {where}")
        coefficients = claim.contrast.values()
        if not claim.contrast or not all(math.isfinite(c) and c for c in coefficients):
            raise UserError(f"coefficients must be finite and not zero, in {where}")
        for arm in claim.contrast:
            if arm not in arms:
                raise unknown_name("arm that no scale has,", arm, arms, where)
