"""Layers that are random in training: both draw from the stream 'dropout'."""

import zlib
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.errors import UserError
from cnnjax.shard import positions


def random_key(module: nn.Module, *names: str) -> jax.Array:
    """The key of a module in the stream 'dropout', by its path below the net.

    The path is folded in name by name, where Linen's `make_rng` hashes it at once. So a
    block that runs by itself with its own key (`layers.scan_blocks`) gives its parts
    the same keys as within the net.

    Args:
      module: where it is asked for, at most once a pass.
      *names: of a child, for the key that the child starts from.

    Raises:
      flax.errors.InvalidRngError: the net was given no such stream.
    """
    scope: Any = module.scope  # not None within a call
    stream = scope.rngs.get("dropout")
    if stream is None:
        return module.make_rng("dropout")  # Linen's substitute, or its error
    key = stream.rng
    for name in (*stream.suffix, *names):
        key = jax.random.fold_in(key, np.uint32(zlib.crc32(name.encode())))
    return key


def _coins(key: jax.Array, rate: float, num_images: int, shape: tuple[int, ...]):
    """Truth values [num_images, *shape], a stream for each place in the batch."""

    def of_image(position: jax.Array) -> jax.Array:
        return jax.random.bernoulli(jax.random.fold_in(key, position), rate, shape)

    return jax.vmap(of_image)(positions(num_images))


def _drop(x: jax.Array, keep: jax.Array, rate: float) -> jax.Array:
    """Zeroes x where it is not kept; keeps the expectation."""
    return jnp.where(keep, x / (1.0 - rate), jnp.zeros((), x.dtype))


def _check_rate(layer: str, rate: float) -> None:
    if not 0.0 <= rate <= 1.0:
        raise UserError(f"{layer} rate must lie in [0, 1], got {rate} (config.model)")


class Dropout(nn.Module):
    """Zeroes each value with probability `rate` in training, and scales the rest up.

    Args:
      rate: probability of zeroing, in [0, 1].

    Source: Srivastava et al. 2014, JMLR 15, with the scaling moved into training.
    """

    rate: float

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        _check_rate("dropout", self.rate)
        if not train or self.rate == 0.0:
            return x
        if self.rate == 1.0:
            return jnp.zeros_like(x)
        keep = _coins(random_key(self), 1.0 - self.rate, x.shape[0], x.shape[1:])
        return _drop(x, keep, self.rate)


class StochasticDepth(nn.Module):
    """Drops a residual branch with probability `rate` in training.

    Args:
      rate: probability of dropping, in [0, 1].
      per: 'example' flips a coin for each image; 'batch' one coin for all, as in the
        paper. Either way what is kept is divided by 1 - rate, where the paper
        multiplies by it in evaluation: the same up to the scale of the branch.

    Source: Huang et al. 2016, arXiv 1603.09382, section 3.
    """

    rate: float
    per: str = "example"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        _check_rate("stochastic depth", self.rate)
        if self.per not in ("example", "batch"):
            raise UserError(
                f"stochastic depth per {self.per!r}: allowed are 'example' and 'batch'"
            )
        if not train or self.rate == 0.0:
            return x
        if self.rate == 1.0:
            return jnp.zeros_like(x)
        key, ones = random_key(self), (1,) * (x.ndim - 1)
        if self.per == "batch":
            keep = jax.random.bernoulli(key, 1.0 - self.rate, (1, *ones))
        else:
            keep = _coins(key, 1.0 - self.rate, x.shape[0], ones)
        return _drop(x, keep, self.rate)
