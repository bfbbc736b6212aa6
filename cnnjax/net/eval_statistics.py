"""A net whose batch norms take other statistics than those of its training.

Our own are told by a field of the norm, with which the net is cloned. Flax's batch norm
in the nets and layers of others has no such field: its calls are observed.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.layers.batch_norm import BatchNorm
from cnnjax.layers.functional.batch_norm import batch_normalize
from cnnjax.layers.norm import norm_of
from cnnjax.net.observe import Call, observe
from cnnjax.shard import shard


@contextlib.contextmanager
def by_batch(model: nn.Module) -> Iterator[nn.Module]:
    """The net, evaluating by the statistics of the images that it is given.

    All of them share their statistics, whatever `examples_per_statistic` is.
    """
    with observe(_flax_by_batch):
        yield _with_norm(model, eval_statistics="batch")


def of_whole_batch(model: nn.Module) -> nn.Module:
    """The net, in which all images that it is given share their statistics."""
    return _with_norm(model, examples_per_statistic=None)


@contextlib.contextmanager
def of_last_batch(model: nn.Module) -> Iterator[nn.Module]:
    """The net, whose running statistics become those of the batch it is trained on."""
    with observe(_flax_of_last_batch):
        yield _with_norm(model, momentum=0.0)


def _with_norm(model: nn.Module, **changes: Any) -> nn.Module:
    norm = norm_of(model)
    if norm is None:
        return model
    return model.clone(norm=dataclasses.replace(norm, **changes))


def _flax_by_batch(call: Call) -> jax.Array:
    module, x = call.module, (*call.args, None)[0]
    if isinstance(module, BatchNorm) and module.eval_statistics != "batch":
        raise _built_by_the_net(call)
    if not isinstance(module, nn.BatchNorm):
        return call.run()
    if module.axis not in (-1, x.ndim - 1):
        raise UserError(
            f"config.eval.statistics='batch' is for batch norms over the last axis, "
            f"and {call.path} has axis {module.axis}: use 'running'"
        )
    params, channels = module.variables.get("params", {}), x.shape[-1:]
    scale = params.get("scale", jnp.ones(channels))
    bias = params.get("bias", jnp.zeros(channels))
    y, *_ = batch_normalize(x[None], scale, bias, module.epsilon, shard().num_shards)
    return y[0].astype(x.dtype)


def _flax_of_last_batch(call: Call) -> jax.Array:
    """What Flax's batch norm adds to statistics of 0 is the batch's share in them."""
    module = call.module
    if isinstance(module, BatchNorm) and module.momentum:
        raise _built_by_the_net(call)
    if not isinstance(module, nn.BatchNorm):
        return call.run()
    for name in ("mean", "var"):
        running: Any = module.get_variable("batch_stats", name)
        module.put_variable("batch_stats", name, jnp.zeros_like(running))
    y = call.run()
    for name in ("mean", "var"):
        share: Any = module.get_variable("batch_stats", name)
        batch = share / (1.0 - module.momentum)
        module.put_variable("batch_stats", name, batch)
    return y


def _built_by_the_net(call: Call) -> UserError:
    return UserError(
        f"{call.path} is a batch norm that the net builds itself, so its statistics "
        "cannot be chosen: give the net a field `norm` and build it with that, or use "
        "config.eval.statistics='running'"
    )
