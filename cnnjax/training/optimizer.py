"""Optimizers as optax chains, with weight decay as the papers or decoupled.

What an optimizer does to a gradient is fixed when it is built; its numbers come in with
every update, so that one compiled program serves all of their values.
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
from cnnjax.net.stacked import Stacks

NAMES = ("sgd", "adamw", "rmsprop")
DECAYS = ("coupled", "decoupled")


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
    paths = [path]
    for stack in stacks.keys() & set(path.split("/")):
        paths = [path.replace(stack, block, 1) for block in stacks[stack]]
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
    """The structure of an optimizer; see `make_optimizer`.

    Args:
      name: 'sgd', 'adamw' or 'rmsprop'.
      nesterov: of sgd.
      decay: 'coupled' or 'decoupled'.
      decayed: from parameters to booleans: whether weight decay applies.
      clips: whether the gradient is clipped.
    """

    name: str
    nesterov: bool
    decay: str
    decayed: Callable[[Any], Any]
    clips: bool

    def init(self, params: Any) -> Any:
        """State before the first update; it does not depend on the numbers."""
        return self._chain(1.0, defaultdict(float)).init(params)

    def update(
        self,
        grads: Any,
        state: Any,
        params: Any,
        rate: jax.Array,
        factors: Mapping[str, jax.Array],
    ) -> tuple[Any, Any]:
        """One update.

        Args:
          grads: gradient of the loss.
          state: of `init` or of the update before.
          params: the parameters.
          rate: learning rate, may be traced.
          factors: 'momentum', 'b1', 'b2', 'epsilon', 'weight_decay' and 'clip_norm',
            as far as the optimizer has them; may be traced.

        Returns:
          (what is to be added to the parameters, new state).
        """
        return self._chain(rate, factors).update(grads, state, params)

    def _chain(self, rate, factors) -> optax.GradientTransformation:
        # A momentum or decay of 0 takes part like any other, for one program for all.
        decayed = optax.add_decayed_weights(factors["weight_decay"], mask=self.decayed)
        b2, epsilon = factors["b2"], factors["epsilon"]
        parts = []
        if self.clips:
            parts.append(optax.clip_by_global_norm(factors["clip_norm"]))
        if self.decay == "coupled":
            parts.append(decayed)
        if self.name == "adamw":
            parts.append(optax.scale_by_adam(factors["b1"], b2, epsilon))
        if self.name == "rmsprop":
            parts.append(optax.scale_by_rms(b2, epsilon, eps_in_sqrt=False))
        if self.name in ("sgd", "rmsprop"):
            nesterov = self.nesterov and self.name == "sgd"
            parts.append(optax.trace(factors["momentum"], nesterov=nesterov))
        if self.decay == "decoupled":
            parts.append(decayed)
        return optax.chain(*parts, optax.scale(-rate))


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
) -> Optimizer:
    """Builds the optimizer of section `optimizer` of a config.

    Args:
      stacks: of the net, see `models.stacks`.
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
      Its structure. The numbers are only checked here: every update takes them.

    Raises:
      UserError: an unknown name or a value out of range.
    """
    if name not in NAMES:
        raise unknown_name("optimizer", name, NAMES, "config.optimizer.name")
    if decay not in DECAYS:
        raise unknown_name("weight decay", decay, DECAYS, "config.optimizer.decay")
    below_one = 1 - 1e-9
    in_range("optimizer.momentum", momentum, 0, below_one)
    in_range("optimizer.b1", b1, 0, below_one)
    in_range("optimizer.b2", b2, 0, below_one)
    in_range("optimizer.epsilon", epsilon, 1e-30, 1.0)
    in_range("optimizer.weight_decay", weight_decay, 0, float("inf"))
    in_range("optimizer.clip_norm", clip_norm, 0, float("inf"))

    return Optimizer(
        name, nesterov, decay, decay_mask(decay_exclude, stacks), clip_norm > 0
    )
