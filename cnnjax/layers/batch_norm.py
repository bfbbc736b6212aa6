"""Batch normalization with a stated number of examples per statistic."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from cnnjax.errors import UserError
from cnnjax.layers.functional.batch_norm import batch_normalize
from cnnjax.layers.functional.channels import per_channel
from cnnjax.layers.functional.moments import affine, normalize
from cnnjax.layers.init import Initializer, ones, zeros
from cnnjax.shard import shard


def misfit(group: int, num_images: int, num_local: int) -> str | None:
    """Why groups of images cannot share their statistics: a sentence, or None.

    Args:
      group: images per group.
      num_images: of the whole batch.
      num_local: of these, what a layer is given on one device.
    """
    if num_images % group:
        below, above = num_images // group * group, -(-num_images // group) * group
        nearest = f"{below} and {above}" if below else f"{above}"
        return (
            f"config.norm.examples_per_statistic is {group} and must divide the batch "
            f"of {num_images} images: the nearest batch sizes are {nearest} "
            "(config.train.batch_size)"
        )
    if num_local % group and group % num_local:
        return (
            f"batch norm over groups of {group} images, with {num_local} images on "
            "each device: one of the two must divide the other; choose another "
            "--parallel.layout, --parallel.mode=jit, or another "
            "config.norm.examples_per_statistic"
        )
    return None


class BatchNorm(nn.Module):
    """Normalizes each channel by mean and variance over images and positions.

    In training the statistics are those of each group of `examples_per_statistic`
    consecutive images, and the running ones move by the average over the groups. Where
    a program computes a shard of the batch (`cnnjax.shard`), groups are still those of
    the whole batch.

    Args:
      momentum: share of the running statistics kept at each step.
      epsilon: added to the variance.
      examples_per_statistic: images per group; None for the whole batch, all shards.
      running_variance: 'unbiased' or 'biased'; the batch itself is always normalized by
        the biased variance.
      scale_init: initial scale.
      eval_statistics: by which evaluation normalizes: 'running', or those of the
        'batch' that is evaluated, all of it.

    Raises:
      UserError: if the batch does not divide into the groups, a group lies across
        shards of the batch without filling them, or a statistic would be taken over a
        single value.

    Shapes:
      [N, ..., C] -> the same; params `scale`, `bias` [C]; in the collection
      batch_stats `mean`, `var` [C].

    Source: Ioffe & Szegedy 2015, arXiv 1502.03167, algorithms 1 and 2; groups:
    Hoffer et al. 2017, arXiv 1705.08741, algorithm 1.
    """

    momentum: float
    epsilon: float
    examples_per_statistic: int | None
    running_variance: str
    scale_init: Initializer = ones
    eval_statistics: str = "running"

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        channels = x.shape[-1:]
        scale = self.param("scale", self.scale_init, channels, jnp.float32)
        bias = self.param("bias", zeros, channels, jnp.float32)
        mean = self.variable("batch_stats", "mean", zeros, None, channels, jnp.float32)
        var = self.variable("batch_stats", "var", ones, None, channels, jnp.float32)
        by_batch = train or self.eval_statistics == "batch"
        # `init` asks for shapes, often with one image: no statistics are taken then.
        if not by_batch or self.is_initializing():
            running = per_channel(mean.value, x), per_channel(var.value, x)
            y = normalize(x, *running, self.epsilon)
            return affine(y, scale, bias).astype(x.dtype)
        groups, num_shards = self._groups(x) if train else (x[None], shard().num_shards)
        y, batch_mean, batch_var = batch_normalize(
            groups, scale, bias, self.epsilon, num_shards
        )
        if train:
            self._move(mean, batch_mean)
            values = num_shards * groups.size // (groups.shape[0] * groups.shape[-1])
            unbias = values / (values - 1)
            self._move(var, batch_var * (1.0 if self._biased else unbias))
        return y.astype(x.dtype).reshape(x.shape)

    @property
    def _biased(self) -> bool:
        return self.running_variance == "biased"

    def _groups(self, x: jax.Array) -> tuple[jax.Array, int]:
        """[n, ..., C] -> [groups, images per group, ..., C], and shards per group."""
        local = x.shape[0]
        num_images = local * shard().num_shards
        size = self.examples_per_statistic or num_images
        if reason := misfit(size, num_images, local):
            raise UserError(reason)
        groups = x.reshape(-1, min(size, local), *x.shape[1:])
        if size * groups[0, 0].size == groups.shape[-1]:
            raise UserError(
                f"batch norm over groups of {size} image of {x.shape[1:-1]} positions "
                "takes its variance from a single value: use more images per statistic "
                "(config.train.batch_size, config.norm.examples_per_statistic)"
            )
        return groups, max(1, size // local)

    def _move(self, running: nn.Variable, of_groups: jax.Array) -> None:
        batch = of_groups.mean(tuple(range(of_groups.ndim - 1)))
        moved = self.momentum * running.value + (1.0 - self.momentum) * batch
        running.value = moved.astype(running.value.dtype)
