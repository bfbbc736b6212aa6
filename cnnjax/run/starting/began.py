"""Which leaves of a net are taken from its origin, and which are drawn anew."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from flax import traverse_util

from cnnjax.errors import UserError
from cnnjax.net.stacked import stack, stacks_of, unstack
from cnnjax.net.stages import Stage, is_head
from cnnjax.run.starting.origin import Origin, shapes_of
from cnnjax.start.section import Start, compiled

BLOCK_AXIS = 1  # behind the seeds
_MOST_NAMED = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Began:
    """The start of a run from weights.

    Args:
      origin: of the weights.
      start: section `start`.
      taken: paths of the leaves that are taken, blocks stored separately.
      drawn: paths of those that are drawn anew.
      stages: of the net.
    """

    origin: Origin
    start: Start
    taken: tuple[str, ...]
    drawn: tuple[str, ...]
    stages: tuple[Stage, ...]

    def over(self, declared: Any, variables: Any, seeds: Sequence[int]) -> Any:
        """Initial variables with what is taken in its place.

        Args:
          declared: of `abstract_variables`.
          variables: of `draw_variables`, every leaf [seeds, ...].
          seeds: of the run.

        Raises:
          NoStart: the weights of a seed cannot be read.
        """
        stacks = stacks_of(declared)
        flat = traverse_util.flatten_dict(
            unstack(variables, stacks, BLOCK_AXIS), sep="/"
        )
        read = [self.origin.read(seed) for seed in seeds]
        for path in self.taken:
            leaves = [leaves[path] for leaves in read]
            flat[path] = np.stack(leaves).astype(flat[path].dtype)
        return stack(traverse_util.unflatten_dict(flat, sep="/"), stacks, BLOCK_AXIS)

    def record(self, seeds: Sequence[int]) -> dict[str, Any]:
        """What `provenance.json` says.

        'digest' is of the weights that were read; 'outcomes' are those of the runs that
        they belong to, by which a report tells whether these were trained anew since.
        """
        return {
            "weights": self.start.weights,
            "origin": self.start.digest,
            "digest": self.origin.digest(seeds),
            "outcomes": self.origin.outcomes(seeds),
            "which": self.start.which,
            "taken": self._modules(self.taken),
            "drawn": self._modules(self.drawn),
        }

    def words(self) -> str:
        """What is taken and what is drawn anew, in one sentence."""
        used = {path.split("/")[1] for path in (*self.taken, *self.drawn)}
        left = {path.split("/")[1] for path in self.origin.shapes} - used
        left_out = f"; left out there: {', '.join(sorted(left))}" if left else ""
        drawn = ", ".join(self._modules(self.drawn)) or "nothing"
        mean, std = self.origin.statistics.mean, self.origin.statistics.std
        how = f"standardised as {self.origin.standardize!r} of this data"
        if self.start.preprocess == "source":
            how = f"standardised as there ({self.origin.standardize!r}"
            few = np.size(mean) <= _MOST_NAMED and not self.origin.statistics.per_image
            how += f": mean {_shown(mean)}, std {_shown(std)})" if few else ")"
        return (
            f"starts from {self.origin.words}: taken are "
            f"{', '.join(self._modules(self.taken))}, drawn anew {drawn}{left_out}; "
            f"images are {how}"
        )

    def _modules(self, paths: Sequence[str]) -> list[str]:
        """Stages as a whole where all of their leaves are among the paths."""
        names, chosen = [], set(paths)
        for stage in self.stages:
            own = [p for p in (*self.taken, *self.drawn) if _module(p) in stage.modules]
            here = [path for path in own if path in chosen]
            if here and len(here) == len(own):
                names.append(stage.name)
            else:
                names += dict.fromkeys(p.partition("/")[2] for p in here)
        return names


def _module(path: str) -> str:
    return path.split("/")[1]


def _shown(values: Any) -> str:
    return f"({', '.join(f'{value:.3f}' for value in np.ravel(values))})"


def begun(
    start: Start,
    origin: Origin,
    declared: Any,
    class_names: tuple[str, ...],
    stages: tuple[Stage, ...],
) -> Began:
    """Compares a net with what it starts from.

    Args:
      start: section `start`.
      origin: of the weights.
      declared: of `abstract_variables`.
      class_names: of the data.
      stages: of the net.

    Raises:
      UserError: a leaf that is not to be drawn anew is missing there, or has another
        shape.
    """
    patterns = compiled("drawn", start.drawn)
    known = origin.class_names is not None
    other_classes = known and origin.class_names != class_names
    taken, drawn, wrong = [], [], []
    for path, shape in shapes_of(declared).items():
        name, there = path.partition("/")[2], origin.shapes.get(path)
        other_head = is_head(_module(path)) and (other_classes or there != shape)
        if other_head or any(pattern.search(name) for pattern in patterns):
            drawn.append(path)
        elif there == shape:
            taken.append(path)
        else:
            wrong.append(f"{name} is {_words(there)} there and {_words(shape)} here")
    if wrong:
        more = f", and {len(wrong) - 1} more" if len(wrong) > 1 else ""
        raise UserError(
            f"{origin.words} does not fit this net "
            f"({wrong[0]}{more}): give the same config.model and images, or name what "
            "is to be drawn anew in config.start.drawn"
        )
    return Began(origin, start, tuple(taken), tuple(drawn), stages)


def _words(shape: tuple[int, ...] | None) -> str:
    return "missing" if shape is None else f"{list(shape)}"
