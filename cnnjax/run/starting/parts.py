"""What of a net trains, and which statistics stay: section `start` for one net."""

import math
import re
from typing import Any

from flax import traverse_util

from cnnjax.errors import UserError
from cnnjax.net.held import statistics_paths
from cnnjax.net.stacked import Stacks, paths_of_blocks
from cnnjax.net.stages import HEAD, Stage
from cnnjax.start.section import Start
from cnnjax.training.trainable import Group, Trainable

_MOST_STEPS = 2**31 - 1  # of the count of steps; later is never
_NORM = re.compile(r"(^|/)[^/]*norm[^/]*/(scale|bias)$")


class Parts:
    """The factors on the learning rate of the parameters of a net.

    Args:
      start: section `start`.
      stages: of the net.
      stacks: of the net.

    Raises:
      UserError: the net has fewer stages than are to train, or no head.
    """

    def __init__(self, start: Start, stages: tuple[Stage, ...], stacks: Stacks):
        self.start, self.stages, self.stacks = start, stages, stacks
        bodies = [stage for stage in stages if stage.name != HEAD]
        heads = [stage for stage in stages if stage.name == HEAD]
        if start.num_stages > len(bodies):
            raise UserError(
                f"config.start.trains is {start.trains!r}, and this net has "
                f"{len(bodies)} stages before its head: "
                f"{', '.join(stage.name for stage in bodies)}"
            )
        if not heads and start.trains != "all":
            raise UserError(
                f"config.start.trains is {start.trains!r}, and this net has no child "
                "of the name 'head': use config.start.rates"
            )
        chosen = bodies[len(bodies) - start.num_stages :] + heads
        if start.trains == "all":
            chosen = list(stages)
        self._trained = {module for stage in chosen for module in stage.modules}

    def factor(self, path: str, *, norms: bool = True) -> float:
        """Of a parameter; 0 for one that stays.

        Args:
          path: in the form of the net; of a stack, all blocks must have one factor.
          norms: whether `norm_parameters` counts.

        Raises:
          UserError: the blocks of a stack differ.
        """
        found = {p: self._factor(p) for p in paths_of_blocks(path, self.stacks)}
        if len(set(found.values())) > 1:
            least, *_, most = sorted(found, key=found.__getitem__)
            raise UserError(
                f"section config.start trains {least} and {most} differently, and the "
                "net keeps both in one array: set config.model.scan_blocks to False"
            )
        if norms and not self.start.norm_parameters and _NORM.search(path):
            return 0.0
        return found.popitem()[1]

    def _factor(self, path: str) -> float:
        for rate in self.start.factors:
            if rate.pattern.search(path):
                return rate.factor
        module = path.split("/")[0]
        return float(module in self._trained)

    def depth(self, path: str) -> int:
        """How many stages that train lie behind that of a parameter."""
        (block, *_) = paths_of_blocks(path, self.stacks)
        module = block.split("/")[0]
        places = [i for i, s in enumerate(self.stages) if module in s.modules]
        return len(self.stages) - 1 - places[0] if places else 0


def trainable_of(
    start: Start, parts: Parts, params: Any, steps_per_epoch: float
) -> Trainable | None:
    """What trains of a net; None if all of it does, at one rate from the start.

    Args:
      start: section `start`.
      parts: of the net.
      params: its parameters, or their shapes.
      steps_per_epoch: of the run.

    Raises:
      UserError: nothing trains.
    """
    if start.trains_all:
        return None
    flat = traverse_util.flatten_dict(params, sep="/")
    factors = {path: parts.factor(path) for path in sorted(flat)}
    factors = {path: factor for path, factor in factors.items() if factor}
    if not factors:
        raise UserError(
            "section config.start lets no parameter train: change config.start.trains "
            "or a factor in config.start.rates"
        )
    every = start.unfreeze_epochs * steps_per_epoch
    if not every:
        return Trainable((Group(0, tuple(factors.items())),))
    depths = {path: parts.depth(path) for path in factors}
    order = sorted(set(depths.values()))  # without the stages that stay
    return Trainable(
        tuple(
            Group(
                min(math.ceil(i * min(every, _MOST_STEPS)), _MOST_STEPS),
                tuple((p, factors[p]) for p in factors if depths[p] == depth),
            )
            for i, depth in enumerate(order)
        )
    )


def stays_of(start: Start, parts: Parts, model_state: Any) -> tuple[str, ...]:
    """The batch norms whose statistics stay, see `held.statistics_paths`.

    Args:
      start: section `start`.
      parts: of the net.
      model_state: its collections beside the parameters, or their shapes.
    """
    paths = statistics_paths(model_state)
    if start.statistics == "trained":
        return tuple(p for p in paths if not parts.factor(f"{p}/scale", norms=False))
    return paths if start.statistics == "stay" else ()
