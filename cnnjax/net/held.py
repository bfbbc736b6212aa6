"""Passes in which a part of a net is held: statistics that stay, features as given.

Which batch norms keep their running statistics in training is told by a collection of
variables, `stays`, with a leaf for each of them. So a norm finds its own leaf however
its block is executed: by itself, computed again, or scanned.
"""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax import traverse_util

from cnnjax.layers.batch_norm import BatchNorm
from cnnjax.layers.functional.moments import affine, normalize
from cnnjax.net.observe import Call, observe
from cnnjax.net.stages import HEAD

STAYS, _LEAF = "stays", "statistics"
STATISTICS = "batch_stats"


def statistics_paths(model_state: Any) -> tuple[str, ...]:
    """Paths of the batch norms, such as 'stage1_block1/norm1', in sorted order.

    Args:
      model_state: the collections of a net beside its parameters, or their shapes.
    """
    flat = traverse_util.flatten_dict(dict(model_state.get(STATISTICS, {})))
    return tuple(sorted({"/".join(path[:-1]) for path in flat}))


def marked(model_state: Any, stays: tuple[str, ...]) -> dict[str, Any]:
    """The collection that says which statistics stay; {} if none do.

    Args:
      model_state: the collections of the net beside its parameters.
      stays: of `statistics_paths`.
    """
    if not stays:
        return {}
    flat = traverse_util.flatten_dict(model_state[STATISTICS], sep="/")
    # A leaf for each block of a stack, or one.
    leaves = {
        f"{path}/{_LEAF}": jnp.zeros(flat[f"{path}/mean"].shape[:-1]) for path in stays
    }
    return {STAYS: traverse_util.unflatten_dict(leaves, sep="/")}


def restored(new: Any, old: Any, stays: tuple[str, ...]) -> Any:
    """A model state after a step, with the statistics that stay as they were."""
    if not stays:
        return new
    flat = traverse_util.flatten_dict(new[STATISTICS], sep="/")
    kept = traverse_util.flatten_dict(old[STATISTICS], sep="/")
    flat = {
        path: kept[path] if path.rpartition("/")[0] in stays else leaf
        for path, leaf in flat.items()
    }
    return {**new, STATISTICS: traverse_util.unflatten_dict(flat, sep="/")}


@contextlib.contextmanager
def holding(stays: tuple[str, ...], features: jax.Array | None) -> Iterator[None]:
    """Within it, marked norms use their running statistics, the head given features."""
    with contextlib.ExitStack() as stack:
        if stays:
            stack.enter_context(observe(_by_running))
        if features is not None:
            stack.enter_context(observe(_fed(features)))
        yield


@contextlib.contextmanager
def catching_features(found: list) -> Iterator[None]:
    """Within it, what the head of a net is given is put into a list."""

    def catch(call: Call):
        if call.path == HEAD:
            found.append(call.args[0])
        return call.run()

    with observe(catch):
        yield


def _fed(features: jax.Array) -> Callable[[Call], Any]:
    def around(call: Call):
        if call.path != HEAD:
            return call.run()
        return call.function(features, *call.args[1:], **call.kwargs)

    return around


def _by_running(call: Call) -> Any:
    module: Any = call.module
    if not isinstance(module, BatchNorm | nn.BatchNorm):
        return call.run()
    if not module.has_variable(STAYS, _LEAF):
        return call.run()
    if isinstance(module, BatchNorm):
        return call.run(train=False)
    params, (x, *_) = module.variables.get("params", {}), call.args
    mean: Any = module.get_variable(STATISTICS, "mean")
    var: Any = module.get_variable(STATISTICS, "var")
    y = normalize(x, mean, var, module.epsilon)
    ones = jnp.ones(x.shape[-1:])
    return affine(y, params.get("scale", ones), params.get("bias", 0 * ones)).astype(
        x.dtype
    )
