"""Section `start` of a run, put together: origin, what trains, what stays."""

import dataclasses
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

from flax import linen as nn
from ml_collections import ConfigDict

from cnnjax.data.dataset import Dataset
from cnnjax.data.standardize import Statistics
from cnnjax.layers.norm import Norm
from cnnjax.net.stacked import stacks_of
from cnnjax.net.stages import stages_of
from cnnjax.records import is_there
from cnnjax.run.starting.began import Began, begun
from cnnjax.run.starting.features import can_be_given
from cnnjax.run.starting.origin import (
    Origin,
    kept_statistics,
    of_file,
    of_planned,
    of_run,
)
from cnnjax.run.starting.parts import Parts, stays_of, trainable_of
from cnnjax.start.section import Start
from cnnjax.training.trainable import Trainable


@dataclasses.dataclass(frozen=True, eq=False)
class Starting:
    """What section `start` makes of a run; see `Run` for the fields.

    Args:
      statistics: of the standardisation, where it is that of the origin.
    """

    began: Began | None = None
    trainable: Trainable | None = None
    stays: tuple[str, ...] = ()
    featured: bool = False
    statistics: Statistics | None = None

    def parts(self) -> dict[str, Any]:
        """The fields of `Run`."""
        names = ("began", "trainable", "stays", "featured")
        return {name: getattr(self, name) for name in names}

    def key(self) -> Hashable:
        """What is compiled of it."""
        constants = None
        if self.statistics is not None:
            constants = self.statistics.mean.tobytes(), self.statistics.std.tobytes()
        return self.trainable, self.stays, self.featured, constants


def start_of(
    start: Start,
    config: ConfigDict,
    dataset: Dataset,
    model: nn.Module,
    norm: Norm,
    declared: Any,
    seeds: Sequence[int],
    parent: Any,
    trained: Path | None = None,
) -> Starting:
    """Builds and checks the start of a run.

    Args:
      start: section `start`.
      config: of the run.
      dataset: of the run.
      model: its net.
      norm: of the net.
      declared: of `abstract_variables`.
      seeds: of the run.
      parent: `Run` that it starts from and that is not trained yet, or None.
      trained: its own folder, if it is trained and only evaluated. Then nothing is
        asked of its origin, which may be gone or have other weights by now, and no
        features are computed once, which would be of those weights.

    Raises:
      UserError: weights that do not fit, or nothing that trains.
    """
    if start.trains_all and not start.weights and start.statistics != "stay":
        return Starting()
    stages = stages_of(model, dataset.image_shape)
    parts = Parts(start, stages, stacks_of(declared))
    per_epoch = len(dataset.train) / config.train.batch_size
    trainable = trainable_of(start, parts, declared["params"], per_epoch)
    stays = stays_of(start, parts, declared)
    if trained is not None:
        own = start.weights and start.preprocess == "source"
        kept = kept_statistics(trained, config, seeds[0]) if own else None
        return Starting(None, trainable, stays, statistics=kept)
    featured = can_be_given(model, declared, trainable, stays, config, dataset)
    began = statistics = None
    if start.weights:
        origin = _origin(start, config, dataset, norm, seeds, parent)
        began = begun(start, origin, declared, dataset.class_names, stages)
        if start.preprocess == "source":
            statistics = origin.statistics
    return Starting(began, trainable, stays, featured, statistics)


def _origin(
    start: Start,
    config: ConfigDict,
    dataset: Dataset,
    norm: Norm,
    seeds: Sequence[int],
    parent: Any,
) -> Origin:
    if parent is not None:
        return of_planned(start, parent)
    if is_there(start.path) and start.path.is_file():
        return of_file(
            start, config.model, norm, dataset.image_shape, dataset.num_classes
        )
    return of_run(start, seeds[0])
