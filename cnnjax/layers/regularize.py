"""Layers that are random in training: both draw from the stream 'dropout'."""

import zlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.errors import UserError


def random_key(module: nn.Module, *names: str) -> jax.Array:
    """The key of a module in the stream 'dropout', by its path below the net.

    The path is folded in name by name, where Linen's `make_rng` hashes it at once: so a
    block that runs by itself with its own key (`layers.repeat`) hands its parts the
    same keys as within the net.

    Args:
      module: where it is asked for, at most once a pass.
      *names: of a child, for the key that the child starts from.

    Raises:
      flax.errors.InvalidRngError: the net was given no such stream.
    """
    stream = module.scope.rngs.get("dropout")
    if stream is None:
        return module.make_rng("dropout")  # Linen's substitute, or its error
    key = stream.rng
    for name in (*stream.suffix, *names):
        key = jax.random.fold_in(key, np.uint32(zlib.crc32(name.encode())))
    return key


def _drop(key: jax.Array, x: jax.Array, rate: float, mask_shape: tuple[int, ...]):
    """Zeroes x where a coin per entry of the mask says so; keeps the expectation."""
    if rate == 1.0:
        return jnp.zeros_like(x)
    keep = jax.random.bernoulli(key, 1.0 - rate, mask_shape)
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
        return _drop(random_key(self), x, self.rate, x.shape)


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
        num_coins = x.shape[0] if self.per == "example" else 1
        mask_shape = (num_coins,) + (1,) * (x.ndim - 1)
        return _drop(random_key(self), x, self.rate, mask_shape)
