"""Which parameters train, from which step on, and at which rate."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import traverse_util

from cnnjax.training.optimizer import Optimizer


@dataclasses.dataclass(frozen=True)
class Group:
    """Parameters that begin to train together.

    Args:
      first_step: before it, they and the state of their optimizer stay.
      factors: (path, factor of the learning rate) of each, in sorted order.
    """

    first_step: int
    factors: tuple[tuple[str, float], ...]


@dataclasses.dataclass(frozen=True)
class Trainable:
    """The parameters that train; all others stay as they are, bit for bit.

    The state of the optimizer has the groups by number, and nothing of what stays. So
    momentum, decay and the count of Adam start with the group, as in torch for
    parameters without a gradient before.

    Args:
      groups: at least one.
    """

    groups: tuple[Group, ...]

    @property
    def paths(self) -> frozenset[str]:
        """Of all parameters that train at some time."""
        return frozenset(path for group in self.groups for path, _ in group.factors)

    def divide(self, params: Any) -> tuple[Any, Any]:
        """(those that train, those that stay), both as trees."""
        flat, paths = traverse_util.flatten_dict(params, sep="/"), self.paths
        trained = {path: leaf for path, leaf in flat.items() if path in paths}
        kept = {path: leaf for path, leaf in flat.items() if path not in paths}
        return tuple(traverse_util.unflatten_dict(t, sep="/") for t in (trained, kept))

    def join(self, trained: Any, kept: Any) -> Any:
        """The inverse of `divide`."""
        flat = traverse_util.flatten_dict(kept, sep="/")
        flat |= traverse_util.flatten_dict(trained, sep="/")
        return traverse_util.unflatten_dict(flat, sep="/")

    def init(self, optimizer: Optimizer, params: Any) -> dict[str, Any]:
        """State of the optimizer before the first update."""
        return {
            str(i): optimizer.init(_part(params, group))
            for i, group in enumerate(self.groups)
        }

    def update(
        self,
        optimizer: Optimizer,
        grads: Any,
        opt_state: Any,
        trained: Any,
        learning_rate: jax.Array,
        numbers: Mapping[str, jax.Array],
        step: jax.Array,
    ) -> tuple[Any, dict[str, Any]]:
        """One update.

        Args:
          optimizer: of all groups.
          grads: of the parameters that train.
          opt_state: of `init` or of the update before.
          trained: the parameters that train.
          learning_rate: of a factor of 1.
          numbers: as of `Optimizer.update`.
          step: number of the step, from 0.

        Returns:
          (those parameters after the step, new state).
        """
        if len(self.groups) > 1:
            grads = self._clipped(optimizer, grads, numbers, step)
        flat: dict[str, Any] = {}
        states: dict[str, Any] = {}
        for i, group in enumerate(self.groups):
            before, state = _part(trained, group), opt_state[str(i)]
            updates, moved = optimizer.update(
                _part(grads, group), state, before, learning_rate, numbers
            )
            updates = _scaled(updates, group)
            after = optax.apply_updates(before, updates)
            if group.first_step:
                begun = step >= group.first_step
                after = _where(begun, after, before)
                moved = _where(begun, moved, state)
            states[str(i)] = moved
            flat |= traverse_util.flatten_dict(after, sep="/")
        return traverse_util.unflatten_dict(flat, sep="/"), states

    def _clipped(self, optimizer, grads, numbers, step) -> Any:
        """Gradients of what does not train yet are 0; the norm is that of the rest."""
        flat = traverse_util.flatten_dict(grads, sep="/")
        for group in self.groups:
            for path, _ in group.factors:
                begun = step >= group.first_step
                flat[path] = jnp.where(begun, flat[path], jnp.zeros_like(flat[path]))
        grads = traverse_util.unflatten_dict(flat, sep="/")
        if not optimizer.clips:
            return grads
        clip = optax.clip_by_global_norm(numbers["clip_norm"])
        return clip.update(grads, clip.init(grads))[0]


def _part(tree: Any, group: Group) -> Any:
    flat = traverse_util.flatten_dict(tree, sep="/")
    part = {path: flat[path] for path, _ in group.factors}
    return traverse_util.unflatten_dict(part, sep="/")


def _scaled(updates: Any, group: Group) -> Any:
    flat = traverse_util.flatten_dict(updates, sep="/")
    scaled = {
        path: flat[path] if factor == 1 else factor * flat[path]
        for path, factor in group.factors
    }
    return traverse_util.unflatten_dict(scaled, sep="/")


def _where(condition: jax.Array, new: Any, old: Any) -> Any:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), new, old)
