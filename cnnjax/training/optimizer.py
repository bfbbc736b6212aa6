"""Optimizers as optax chains, with coupled or decoupled weight decay.

What an optimizer does to a gradient is fixed when it is built. Its numbers are traced:
every update takes them, so that one compiled program serves all of their values.
"""

import dataclasses
import re
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax
from flax import traverse_util

from cnnjax.errors import UserError, in_range, shown, unknown_name
from cnnjax.net.stacked import Stacks, paths_of_blocks
from cnnjax.training.hyperparameters import Hyperparameters

NAMES = ("sgd", "adamw", "rmsprop")
DECAYS = ("coupled", "decoupled")
INFINITY, BELOW_ONE = float("inf"), 1 - 1e-9


def decay_mask(exclude: tuple[str, ...], stacks: Stacks) -> Callable[[Any], Any]:
    """Function from a parameter tree to booleans: whether weight decay applies.

    Args:
      exclude: regular expressions; a leaf whose path ('stage1_block1/norm1/scale')
        matches one of them anywhere is left out.
      stacks: of the net; a stack goes by the paths of its blocks, and the function
        raises UserError where an expression tells those apart.

    Raises:
      UserError: an expression that does not compile.
    """
    try:
        patterns = [re.compile(pattern) for pattern in exclude]
    except re.error as error:
        raise UserError(
            f"config.optimizer.decay_exclude {shown(exclude)} is not a tuple of "
            f"regular expressions: {error}"
        ) from error

    def mask(params):
        flat = traverse_util.flatten_dict(params, sep="/")
        kept = {path: not _is_matched(path, patterns, stacks) for path in flat}
        return traverse_util.unflatten_dict(kept, sep="/")

    return mask


def _is_matched(path: str, patterns: list[re.Pattern], stacks: Stacks) -> bool:
    paths = paths_of_blocks(path, stacks)
    matched = {p: any(pattern.search(p) for pattern in patterns) for p in paths}
    if len(set(matched.values())) > 1:
        inside, outside = (
            next(p for p in paths if matched[p] == wanted) for wanted in (True, False)
        )
        raise UserError(
            f"config.optimizer.decay_exclude leaves out {inside} but not {outside}, "
            "and the net keeps both in one array: set config.model.scan_blocks to False"
        )
    return matched[paths[0]]


@dataclasses.dataclass(frozen=True)
class Optimizer:
    """The compiled part of an optimizer; see `make_optimizer`.

    Args:
      name: 'sgd', 'adamw' or 'rmsprop'.
      nesterov: of sgd.
      decay: 'coupled' or 'decoupled'.
      decay_exclude: see `decay_mask`.
      stacks: of the net.
      clips: whether the gradient is clipped.
    """

    name: str
    nesterov: bool
    decay: str
    decay_exclude: tuple[str, ...]
    stacks: Stacks = dataclasses.field(hash=False)
    clips: bool

    def decayed(self, params: Any) -> Any:
        """Parameters -> booleans: whether weight decay applies to a leaf."""
        return decay_mask(self.decay_exclude, self.stacks)(params)

    def init(self, params: Any) -> Any:
        """State before the first update; it does not depend on the numbers."""
        return self._chain(1.0, defaultdict(float)).init(params)

    def update(
        self,
        grads: Any,
        state: Any,
        params: Any,
        learning_rate: jax.Array,
        numbers: Mapping[str, jax.Array],
    ) -> tuple[Any, Any]:
        """One update.

        Args:
          grads: gradient of the loss.
          state: of `init` or of the update before.
          params: the parameters.
          learning_rate: may be traced.
          numbers: those that `make_optimizer` calls traced.

        Returns:
          (what to add to the parameters, new state).
        """
        return self._chain(learning_rate, numbers).update(grads, state, params)

    def _chain(self, learning_rate, numbers) -> optax.GradientTransformation:
        # A momentum or decay of 0 takes part like any other: one program for all.
        decayed = optax.add_decayed_weights(numbers["weight_decay"], mask=self.decayed)
        b2, epsilon = numbers["b2"], numbers["epsilon"]
        parts = []
        if self.clips:
            parts.append(optax.clip_by_global_norm(numbers["clip_norm"]))
        if self.decay == "coupled":
            parts.append(decayed)
        if self.name == "adamw":
            parts.append(optax.scale_by_adam(numbers["b1"], b2, epsilon))
        if self.name == "rmsprop":
            parts.append(optax.scale_by_rms(b2, epsilon, eps_in_sqrt=False))
        if self.name in ("sgd", "rmsprop"):
            nesterov = self.nesterov and self.name == "sgd"
            parts.append(optax.trace(numbers["momentum"], nesterov=nesterov))
        if self.decay == "decoupled":
            parts.append(decayed)
        return optax.chain(*parts, optax.scale(-learning_rate))


def make_optimizer(
    stacks: Stacks,
    *,
    name: str,
    momentum: float,
    nesterov: bool,
    b1: float,
    b2: float,
    epsilon: float,
    weight_decay: float,
    decay: str,
    decay_exclude: tuple[str, ...],
    clip_norm: float,
) -> Hyperparameters:
    """Builds the optimizer of section `optimizer` of a config.

    Args:
      stacks: of the net, see `net.stacked`.
      name: 'sgd', 'adamw' or 'rmsprop' (epsilon outside the root, as in torch).
      momentum: of sgd and rmsprop; buffer = momentum * buffer + gradient.
      nesterov: of sgd.
      b1: of adamw.
      b2: of adamw, and decay of the mean square of rmsprop.
      epsilon: of adamw and rmsprop.
      weight_decay: >= 0.
      decay: 'coupled' adds weight_decay * w to the gradient (He et al. 2015);
        'decoupled' to the update, before the learning rate (Loshchilov and Hutter
        2019, arXiv 1711.05101).
      decay_exclude: see `decay_mask`.
      clip_norm: largest global norm of the gradient before decay; 0 for none.

    Returns:
      An `Optimizer` as the static part, and the numbers, which are traced.

    Raises:
      UserError: an unknown name or a value out of range.
    """
    if name not in NAMES:
        raise unknown_name("optimizer", name, NAMES, "config.optimizer.name")
    if decay not in DECAYS:
        raise unknown_name("weight decay", decay, DECAYS, "config.optimizer.decay")
    decay_mask(decay_exclude, stacks)  # refuses what is no regular expression
    traced = {}
    for number, value, low, high in (
        ("momentum", momentum, 0, BELOW_ONE),
        ("b1", b1, 0, BELOW_ONE),
        ("b2", b2, 0, BELOW_ONE),
        ("epsilon", epsilon, 1e-30, 1.0),
        ("weight_decay", weight_decay, 0, INFINITY),
        ("clip_norm", clip_norm, 0, INFINITY),
    ):
        in_range(f"optimizer.{number}", value, low, high)
        traced[number] = value
    optimizer = Optimizer(
        name, nesterov, decay, tuple(decay_exclude), stacks, clips=clip_norm > 0
    )
    return Hyperparameters(optimizer, traced)
