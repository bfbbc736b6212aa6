"""What an ablation asks, and all that is needed to answer it.

A definition file, such as those of `configs/ablations/`, builds one `Ablation`.
Nothing here trains: `plan` turns the arms of one scale into configs, and the files
written beside them carry the whole definition (`stored`), so that a report needs no
definition file.
"""

import dataclasses
import itertools
import math
import re
import string
from collections import Counter
from collections.abc import Mapping, Sequence

from cnnjax.ablation.define import checks
from cnnjax.ablation.define.axes import (
    STARTS_FROM,
    Arm,
    Axis,
    Scale,
    check_axis,
    check_scale,
)
from cnnjax.ablation.define.claim import COUNTED, FISHER, OF_FAILURES, Claim
from cnnjax.ablation.define.metrics import COST_KEYS, FACTS, METRICS
from cnnjax.ablation.define.papers import (
    NOT_RECORDED,
    Published,
    PublishedNumber,
    matching_numbers,
    quote,
)
from cnnjax.errors import UserError, shown, unknown_name
from cnnjax.names import check_name, check_names

MOST_ARMS = 10_000
_COLUMNS = {*METRICS, *FACTS, *COST_KEYS}
# How a label may be padded within the name of an arm, such as '0>3'.
_PADDING = re.compile(r"[^{}]?[<>^]?\d{0,2}")


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
      failed_above: training error, in percent, above which a run that ended has failed
        to train; None if only runs whose loss became infinite have.
      failure_test: exact test of how many runs of the arms of a claim failed: 'fisher',
        or 'mcnemar' where the runs of a seed fail together.

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
    failed_above: float | None = None
    failure_test: str = FISHER

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
            _check_size(self, scale_name, grid)
            labels = [grid.get(axis.name, tuple(axis.values)) for axis in self.axes]
            choices |= dict.fromkeys(itertools.product(*labels))
        return tuple(self._arm(scale, choice) for choice in choices)

    def posed(self, scale_name: str) -> list[Claim]:
        """The claims that this scale names, or all whose arms it has."""
        names = {arm.name for arm in self.arms(scale_name)}
        chosen = self.scale(scale_name).claims
        return [
            claim
            for claim in self.claims
            if names >= set(claim.contrast) and (not chosen or claim.name in chosen)
        ]

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
        parent = overrides.pop(STARTS_FROM, "")
        parent = _filled_in(self, axes, parent) if parent else ""
        return Arm(_filled_in(self, axes, self.arm_name), axes, overrides, parent)


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
    if ablation.failed_above is not None:
        checks.check_number(ablation.failed_above, "failed_above", where)
    checks.check_text(ablation.failure_test, "failure_test", where)
    if ablation.failure_test not in OF_FAILURES:
        raise unknown_name("failure_test", ablation.failure_test, OF_FAILURES, where)


def _filled_in(ablation: Ablation, axes: Mapping[str, str], name: str) -> str:
    try:
        return name.format(**axes)
    except (AttributeError, IndexError, KeyError, ValueError) as error:
        raise _wrong_arm_name(ablation, error, name) from error


def _wrong_arm_name(ablation: Ablation, error: Exception, name: str) -> UserError:
    field = "arm_name" if name == ablation.arm_name else STARTS_FROM
    return UserError(
        f"{_where(ablation)}: {field}={shown(name)} cannot be filled in "
        f"({error}): write names of axes in braces, such as '{{net}}-{{depth}}'"
    )


def _check_axes(ablation: Ablation) -> None:
    where = _where(ablation)
    names = [axis.name for axis in ablation.axes]
    check_names("axis", names, where)
    if len(set(names)) < len(names):
        raise UserError(f"{where}: two axes share a name, in {', '.join(names)}")
    for axis in ablation.axes:
        check_axis(axis, f"axis {axis.name!r} in {where}")
        if axis.name.casefold() in _COLUMNS:
            raise UserError(
                f"{where}: axis {shown(axis.name)} is a column of results.csv already: "
                "choose another name"
            )
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


def _check_size(
    ablation: Ablation, scale: str, grid: Mapping[str, Sequence[str]]
) -> None:
    """Refuses a grid before anything walks its product."""
    sizes = [len(grid.get(axis.name, axis.values)) for axis in ablation.axes]
    if math.prod(sizes) > MOST_ARMS:
        raise UserError(
            f"scale {scale!r} in {_where(ablation)}: a grid has {math.prod(sizes):,} "
            f"arms, and at most {MOST_ARMS:,} are allowed: name fewer labels"
        )


def _placeholders(ablation: Ablation) -> list[str]:
    """The names in braces in the format of the names of arms."""
    try:
        parts = list(string.Formatter().parse(ablation.arm_name))
    except ValueError as error:
        raise _wrong_arm_name(ablation, error, ablation.arm_name) from error
    for _, _, padding, _ in parts:
        if not _PADDING.fullmatch(padding or ""):
            wrong = ValueError(f"{shown(padding)} behind a colon")
            raise _wrong_arm_name(ablation, wrong, ablation.arm_name)
    return [field for _, field, _, _ in parts if field]


def _check_scales(ablation: Ablation) -> None:
    check_names("scale", ablation.scales, _where(ablation))
    by_name = {axis.name: axis for axis in ablation.axes}
    for name, scale in ablation.scales.items():
        where = f"scale {name!r} in {_where(ablation)}"
        check_scale(scale, where)
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
        _check_starts(ablation.arms(name), where)
        if scale.gate and scale.gate.control not in ("", *counts):
            raise unknown_name("control of its gate", scale.gate.control, counts, where)


def _check_starts(arms: Sequence[Arm], where: str) -> None:
    """Refuses arms that start from none of the arms, or in a circle."""
    parents = {arm.name: arm.starts_from for arm in arms}
    for arm, parent in parents.items():
        if parent and parent not in parents:
            raise unknown_name(f"arm that {arm!r} starts from", parent, parents, where)
        passed = [arm]
        while parent:
            if parent in passed:
                raise UserError(
                    f"{where}: {' starts from '.join([*passed, parent])}: one of them "
                    "must start from none"
                )
            passed.append(parent)
            parent = parents[parent]


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
        if claim.failures == COUNTED and ablation.diverged_error is None:
            raise UserError(
                f"{where} counts failures: say by diverged_error= of the ablation as "
                "which error"
            )
    for name, scale in ablation.scales.items():
        where = f"scale {name!r} in {_where(ablation)}"
        headlines = [claim.name for claim in ablation.posed(name) if claim.headline]
        if len(headlines) > 1:
            raise UserError(
                f"{where} has the headlines {', '.join(headlines)}: one claim answers "
                "the question, so keep one"
            )
        posed = {claim.name for claim in ablation.posed(name)}
        for wanted in scale.claims:
            if wanted not in counts:
                raise unknown_name("claim", wanted, counts, where)
            if wanted not in posed:
                raise UserError(
                    f"{where} is to decide the claim {wanted!r} and lacks one of its "
                    "arms: add it to grids, or leave the claim out"
                )


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
