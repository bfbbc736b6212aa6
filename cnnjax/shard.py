"""Which part of a step's batch a program computes, and how it meets the others.

A training step is written once, for the images that it is given. On several devices
each may be given a part of the batch; then whatever belongs to the batch as a whole
(sums, statistics of a batch norm, random numbers per image) goes through the `Part` of
this file. What the parts are made of is known to `devices/shards.py` alone.
"""

import contextlib
import dataclasses
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

import jax
import jax.numpy as jnp


@dataclasses.dataclass(frozen=True)
class Part:
    """The whole batch: what a program computes unless it is told otherwise.

    Equal parts of n images in the order of the batch, N = n * num_parts in all.
    """

    num_parts: int = 1

    def own(self, x: jax.Array) -> jax.Array:
        """The share of this part in what every part has: [N, ...] -> [n, ...]."""
        return x

    def everyone(self, x: jax.Array) -> jax.Array:
        """What all parts have, in order: [n, ...] -> [N, ...]."""
        return x

    def total(self, tree: Any) -> Any:
        """The sum over all parts, leaf by leaf."""
        return tree

    def neighbours_total(self, x: jax.Array, num: int) -> jax.Array:
        """The sum over `num` neighbouring parts, where `num` divides their number."""
        return x

    def microbatches(self, x: jax.Array, num: int) -> jax.Array:
        """Divides the images of each part: [n, ...] -> [num, n / num, ...]."""
        return x.reshape(num, -1, *x.shape[1:])


WHOLE = Part()
_part: ContextVar[Part] = ContextVar("part", default=WHOLE)
_positions: ContextVar[jax.Array | None] = ContextVar("positions", default=None)


def part() -> Part:
    """The part of the batch that is being traced."""
    return _part.get()


@contextlib.contextmanager
def computing(new: Part) -> Iterator[None]:
    """What is traced within computes this part of the batch."""
    token = _part.set(new)
    try:
        yield
    finally:
        _part.reset(token)


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
