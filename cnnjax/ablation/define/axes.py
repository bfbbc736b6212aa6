"""What varies in an ablation, and how much of it a scale runs."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cnnjax.ablation.define import checks
from cnnjax.errors import UserError, unknown_name
from cnnjax.names import check_names

SEEDS_KEY = "seeds.count"  # which the seeds of a scale set
STARTS_FROM = "starts_from"  # the one key of a label that is none of the config
GATE_METRICS = ("train_loss", "train_error")


@dataclasses.dataclass(frozen=True)
class Axis:
    """One thing that varies.

    Attributes:
      name: used in arm names and tables, for instance 'depth'.
      values: label -> the config keys (dotted) that this label sets; a whole section,
        such as `model` for another net, is a key as well. The key `starts_from` names
        the arm whose weights the arm starts from, seed by seed; names of axes in braces
        stand for its labels, as in '{source}-trained'.
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
      starts_from: the arm whose weights it starts from, seed by seed; '' for none.
    """

    name: str
    axes: Mapping[str, str]
    overrides: Mapping[str, Any]
    starts_from: str = ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gate:
    """What the arms must reach in training before they say anything.

    A claim is judged only if the control reaches it, and one on images that are not
    trained on only if all its arms do. Claims on costs, on gradients at initialisation
    and on the share of failed runs need no gate.

    Attributes:
      at_most: mean over the runs of an arm that did not fail to train.
      because: why this value, and why it can be reached.
      metric: 'train_loss' or 'train_error'.
      control: the arm that must reach it for any claim; '' for none.
    """

    at_most: float
    because: str
    metric: str = "train_loss"
    control: str = ""


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
      claims: names of those that this scale is to decide; () for all whose arms it has.
      as_published: whether data, budget and evaluation are those of the source, so that
        its numbers can be compared with ours.
      gate: what must be reached in training; None for nothing.
    """

    recipe: str
    seeds: int
    grids: Sequence[Mapping[str, Sequence[Any]]] = ({},)
    overrides: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    note: str = ""
    jobs: int = 0
    claims: Sequence[str] = ()
    as_published: bool = False
    gate: Gate | None = None

    def __post_init__(self) -> None:
        _check_grids(self.grids)
        as_text = [
            {axis: [str(label) for label in labels] for axis, labels in grid.items()}
            for grid in self.grids
        ]
        object.__setattr__(self, "grids", as_text)


def check_axis(axis: Axis, where: str) -> None:
    """Refuses labels, keys and a title that no plot, plan or folder can take."""
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
    checks.check_text(keys.get(STARTS_FROM, ""), STARTS_FROM, where)
    if SEEDS_KEY in keys:
        raise UserError(
            f"{where} sets {SEEDS_KEY!r}, which does nothing: give seeds= of the scale"
        )


def check_scale(scale: Scale, where: str) -> None:
    """Refuses fields of the wrong type; `Ablation` compares the grids with its axes."""
    checks.check_text(scale.recipe, "recipe", where)
    checks.check_whole(scale.seeds, 1, "seeds", where)
    checks.check_mapping(scale.overrides, "overrides", where)
    _check_overrides(scale.overrides, where)
    checks.check_text(scale.note, "note", where)
    checks.check_whole(scale.jobs, 0, "jobs", where)
    checks.check_list(scale.claims, "claims", where)
    if scale.gate is not None:
        checks.check_instances([scale.gate], Gate, "gate", where)
        _check_gate(scale.gate, where)


def _check_gate(gate: Gate, where: str) -> None:
    checks.check_number(gate.at_most, "at_most of its gate", where)
    for field in ("because", "metric", "control"):
        checks.check_text(getattr(gate, field), f"{field} of its gate", where)
    if gate.metric not in GATE_METRICS:
        raise unknown_name("metric of its gate", gate.metric, GATE_METRICS, where)
    if not gate.because:
        raise UserError(f"{where} has a gate without a reason: say it in because=")


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
