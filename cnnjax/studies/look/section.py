"""What a view adds to the page: pictures, a few sentences, a table, and the arrays."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from cnnjax.ablation.report.plots.figures import Group, Panel
from cnnjax.studies.look.subject import Pictures, Subject


@dataclasses.dataclass(frozen=True)
class Section:
    """One view of all nets.

    Attributes:
      name: a key of `views.VIEWS`.
      title: heading.
      text: what is drawn, and how it was computed.
      groups: pictures, each group a file.
      table: rows of numbers, the first one their headings; may be empty.
      arrays: what was computed, by name.
      notes: why something is not shown.
    """

    name: str
    title: str
    text: str
    groups: Sequence[Group]
    table: Sequence[Sequence[str]] = ()
    arrays: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    notes: Sequence[str] = ()


@dataclasses.dataclass(frozen=True)
class Choice:
    """What the user chose to look at.

    Attributes:
      layer: path of a module; '' for those that stand for the stages.
      image: number of the one whose maps are shown.
      num_images: for saliency.
      points: for the space of features.
      seed: of what is random.
      grid: points along each direction of a landscape.
      say: is told what is being done.
    """

    layer: str
    image: int
    num_images: int
    points: int
    seed: int
    grid: int
    say: Callable[[str], None]


View = Callable[[Sequence[Subject], Pictures, Choice], Section]


def group(name: str, panels: Sequence[Panel], columns: int = 2) -> Group:
    """Panels of one file, which may hold photographs."""
    return Group(name, name, "", panels, columns, photographs=True)


def slug(label: str) -> str:
    """A label as part of the name of an array."""
    return "".join(c if c.isalnum() else "_" for c in label)
