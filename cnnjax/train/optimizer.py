"""Optimizers as optax chains, with weight decay as the papers or decoupled."""

import re
from collections.abc import Callable
from typing import Any

import optax
from flax import traverse_util

from cnnjax.config import in_range
from cnnjax.errors import UserError, unknown_name

NAMES = ("sgd", "adamw", "rmsprop")
DECAYS = ("coupled", "decoupled")


def decay_mask(exclude: tuple[str, ...]) -> Callable[[Any], Any]:
    """Function from a parameter tree to booleans: whether weight decay applies.

    Args:
      exclude: regular expressions; a leaf whose path ('stage1_block1/norm1/scale')
        matches one of them anywhere is left out.

    Raises:
      UserError: an expression that does not compile.
    """
    try:
        patterns = [re.compile(pattern) for pattern in exclude]
    except re.error as error:
        raise UserError(
            f"config.optimizer.decay_exclude {exclude} is not a tuple of regular "
            f"expressions: {error}"
        ) from error

    def mask(params):
        flat = traverse_util.flatten_dict(params, sep="/")
        kept = {path: not any(p.search(path) for p in patterns) for path in flat}
        return traverse_util.unflatten_dict(kept, sep="/")

    return mask


def make_optimizer(
    schedule: Callable,
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
) -> optax.GradientTransformation:
    """Builds the optimizer of section `optimizer` of a config.

    Args:
      schedule: step -> learning rate.
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
      An optax transformation whose updates are to be added to the parameters.

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

    decayed = optax.add_decayed_weights(weight_decay, mask=decay_mask(decay_exclude))
    parts = []
    if clip_norm:
        parts.append(optax.clip_by_global_norm(clip_norm))
    if weight_decay and decay == "coupled":
        parts.append(decayed)
    if name == "adamw":
        parts.append(optax.scale_by_adam(b1, b2, epsilon))
    if name == "rmsprop":
        parts.append(optax.scale_by_rms(b2, epsilon, eps_in_sqrt=False))
    if name in ("sgd", "rmsprop") and momentum:
        parts.append(optax.trace(momentum, nesterov=nesterov and name == "sgd"))
    if weight_decay and decay == "decoupled":
        parts.append(decayed)
    parts.append(optax.scale_by_learning_rate(schedule))
    return optax.chain(*parts)
