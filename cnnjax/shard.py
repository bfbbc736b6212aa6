"""The shard of a batch that a program computes, and its collectives.

A training step is written once, for the images that it is given. On several devices
each may be given a shard of the batch; then whatever belongs to the batch as a whole
(sums, statistics of a batch norm, random numbers per image) goes through `Shard`. Its
forms for several devices are in `devices/shards.py`.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Shard:
    """The whole batch: what a program computes unless it is told otherwise.

    Shards have n images each, in the order of the batch, N = n * num_shards in all.
    """

    num_shards: int = 1

    def local(self, x: jax.Array) -> jax.Array:
        """The local slice of what all shards have: [N, ...] -> [n, ...]."""
        return x

    def gather(self, x: jax.Array) -> jax.Array:
        """The slices of all shards in order (all-gather): [n, ...] -> [N, ...]."""
        return x

    def sum(self, tree: Any) -> Any:
        """The sum over all shards (psum), leaf by leaf."""
        return tree

    def sum_of_neighbours(self, x: jax.Array, num: int) -> jax.Array:
        """The sum over `num` neighbouring shards; `num` divides their number."""
        return x

    def microbatches(self, x: jax.Array, num: int) -> jax.Array:
        """Divides the images of each shard: [n, ...] -> [num, n / num, ...]."""
        return x.reshape(num, -1, *x.shape[1:])


WHOLE = Shard()
_shard: ContextVar[Shard] = ContextVar("shard", default=WHOLE)
_positions: ContextVar[jax.Array | None] = ContextVar("positions", default=None)


def shard() -> Shard:
    """The shard that the traced program computes."""
    return _shard.get()


@contextlib.contextmanager
def computing(new: Shard) -> Iterator[None]:
    """What is traced within computes this shard of the batch."""
    token = _shard.set(new)
    try:
        yield
    finally:
        _shard.reset(token)


def positions(num_images: int) -> jax.Array:
    """Place in the batch of each image that a layer sees, int32 [num_images].

    Random numbers for an image go by its place, so that they do not depend on how the
    batch is divided.
    """
    given = _positions.get()
    return jnp.arange(num_images, dtype=jnp.int32) if given is None else given


@contextlib.contextmanager
def at_positions(given: jax.Array) -> Iterator[None]:
    """The images of what is traced within have these places in the batch."""
    token = _positions.set(given)
    try:
        yield
    finally:
        _positions.reset(token)
