"""Normalization layers by name.

A net hands a `Norm` down to its blocks, and each call of it makes one module. A new
kind is one entry of `NORMS`.
"""

import dataclasses
import math
from collections.abc import Callable

import flax.linen as nn
import jax

from cnnjax.errors import UserError, unknown_name
from cnnjax.layers.batch_norm import BatchNorm, misfit
from cnnjax.layers.group_norm import ChannelNorm, GroupNorm
from cnnjax.layers.init import Initializer, ones
from cnnjax.layers.local_response import LocalResponseNorm
from cnnjax.layers.ordinary import with_train


@dataclasses.dataclass(frozen=True)
class Norm:
    """A choice of normalization, section `norm` of a config; calling it makes a module.

    A setting that the kind does not use is checked for its range and otherwise ignored,
    so that the kind alone can be an axis of an ablation.

    Args:
      kind: a key of `NORMS`.
      momentum: share of the old running statistics kept at each step, in [0, 1];
        running = momentum * running + (1 - momentum) * batch (torch writes 1 minus it).
        0 keeps the statistics of the last batch alone.
      epsilon: added to the variance.
      examples_per_statistic: for batch norm, how many consecutive images share their
        statistics ("ghost batches"); None for the whole batch.
      running_variance: for batch norm, 'unbiased' (divided by n - 1, as in Ioffe &
        Szegedy 2015 and torch) or 'biased' (divided by n, as in TensorFlow and Flax).
      num_groups: for group norm, into how many groups the channels are divided.
      channels_per_group: for group norm, or the size of each. With neither, each layer
        takes the largest divisor of its channels up to 32, see `GroupNorm`.
      response_size: for local response norm, how many neighbouring channels (n).
      response_alpha: factor of the *sum* of squares, as in the paper; torch and Caffe
        write size * alpha for the same.
      response_beta: exponent.
      response_k: constant.
      eval_statistics: of `BatchNorm`; no key of the section.

    Raises:
      UserError: for an unknown kind or a value out of range, naming the config key.
    """

    kind: str
    _: dataclasses.KW_ONLY
    momentum: float = 0.9
    epsilon: float = 1e-5
    examples_per_statistic: int | None = None
    running_variance: str = "unbiased"
    num_groups: int | None = None
    channels_per_group: int | None = None
    response_size: int = 5
    response_alpha: float = 1e-4
    response_beta: float = 0.75
    response_k: float = 2.0
    eval_statistics: str = "running"

    def __post_init__(self):
        if self.kind not in NORMS:
            raise unknown_name("norm kind", self.kind, NORMS, "config.norm.kind")
        if self.running_variance not in ("biased", "unbiased"):
            raise unknown_name(
                "running variance",
                self.running_variance,
                ("biased", "unbiased"),
                "config.norm.running_variance",
            )
        self._require("momentum", 0.0 <= self.momentum <= 1.0, "a number in [0, 1]")
        finite = 0.0 <= self.epsilon < float("inf")
        self._require("epsilon", finite, "a finite number of at least 0")
        self._require("response_size", self.response_size >= 1, "at least 1")
        for key in ("response_alpha", "response_beta", "response_k"):
            self._require(key, math.isfinite(getattr(self, key)), "a finite number")
        for key in ("examples_per_statistic", "num_groups", "channels_per_group"):
            value = getattr(self, key)
            self._require(key, value is None or value >= 1, "None or at least 1")
        if self.kind == "group" and self.num_groups and self.channels_per_group:
            raise UserError(
                "group norm takes one of config.norm.num_groups (got "
                f"{self.num_groups}) and config.norm.channels_per_group (got "
                f"{self.channels_per_group}), or neither; set one of them to None"
            )

    def _require(self, key: str, holds: bool, allowed: str) -> None:
        if not holds:
            value = getattr(self, key)
            raise UserError(f"config.norm.{key} must be {allowed}, got {value}")

    @property
    def has_bias(self) -> bool:
        """Whether it shifts each channel: a convolution before needs no bias."""
        return NORMS[self.kind].has_bias

    def refusal(
        self, batch_size: int, *, microbatches: int, num_devices: int, whole: bool
    ) -> str | None:
        """Why it cannot normalize a batch that is so divided: a sentence, or None.

        Args:
          batch_size: images of a step.
          microbatches: parts of the batch that are computed one after another.
          num_devices: over which each part is divided.
          whole: whether a layer is given the images of all devices (mode jit).
        """
        if self.kind != "batch":
            return None
        group = self.examples_per_statistic or batch_size
        local = batch_size // (microbatches * num_devices)
        if microbatches > 1 and local % group:
            return (
                f"batch norm over groups of {group} images cannot be computed in "
                f"micro-batches of {local} images on each device: set "
                "config.norm.examples_per_statistic to a number that divides "
                f"{local}, or config.train.microbatches to 1"
            )
        return misfit(group, batch_size, batch_size if whole else local)

    def caution(self, batch_size: int) -> str | None:
        """What is probably wrong with batches of this size: a sentence, or None."""
        if self.kind != "batch" or (self.examples_per_statistic or batch_size) > 1:
            return None
        return (
            "batch norm takes its statistics over one image in training, and running "
            "ones in evaluation (config.norm.examples_per_statistic, "
            "config.train.batch_size)"
        )

    def after_each_convolution(self) -> "Norm":
        """What the nets of 2012 to 2014 put after every convolution.

        They were published with local response normalization at one or two places and
        nothing elsewhere; any other kind belongs after every convolution.
        """
        if self.kind == "local_response":
            return dataclasses.replace(self, kind="none")
        return self

    def __call__(
        self, name: str | None = None, scale_init: Initializer = ones
    ) -> Callable[..., jax.Array]:
        """A layer, to be called as `layer(x, train=train)`.

        Args:
          name: name of the module in its parent.
          scale_init: initial `scale`; zeros for the last norm of a residual branch.
        """
        return with_train(self.module(name, scale_init))

    def module(
        self, name: str | None = None, scale_init: Initializer = ones
    ) -> nn.Module:
        """The module of that layer, whose own call may know no `train`."""
        return NORMS[self.kind].build(self, name, scale_init)


def norm_of(model: nn.Module) -> Norm | None:
    """What a net was told to normalize by; None if it takes no `Norm`."""
    norm = getattr(model, "norm", None)
    return norm if isinstance(norm, Norm) else None


class NoNorm(nn.Module):
    """Changes nothing and has no parameters."""

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        return x


def _batch(norm: Norm, name, scale_init):
    return BatchNorm(
        momentum=norm.momentum,
        epsilon=norm.epsilon,
        examples_per_statistic=norm.examples_per_statistic,
        running_variance=norm.running_variance,
        eval_statistics=norm.eval_statistics,
        scale_init=scale_init,
        name=name,
    )


def _layer(norm: Norm, name, scale_init):
    return GroupNorm(
        num_groups=1, epsilon=norm.epsilon, scale_init=scale_init, name=name
    )


def _layer_channel(norm: Norm, name, scale_init):
    return ChannelNorm(epsilon=norm.epsilon, scale_init=scale_init, name=name)


def _instance(norm: Norm, name, scale_init):
    return GroupNorm(
        channels_per_group=1, epsilon=norm.epsilon, scale_init=scale_init, name=name
    )


def _group(norm: Norm, name, scale_init):
    return GroupNorm(
        num_groups=norm.num_groups,
        channels_per_group=norm.channels_per_group,
        epsilon=norm.epsilon,
        scale_init=scale_init,
        name=name,
    )


def _local_response(norm: Norm, name, scale_init):
    return LocalResponseNorm(
        size=norm.response_size,
        alpha=norm.response_alpha,
        beta=norm.response_beta,
        k=norm.response_k,
        name=name,
    )


def _none(norm: Norm, name, scale_init):
    return NoNorm(name=name)


@dataclasses.dataclass(frozen=True)
class NormKind:
    """An entry of the table: how to build the module, and whether it has a bias."""

    build: Callable[[Norm, str | None, Initializer], nn.Module]
    has_bias: bool


NORMS: dict[str, NormKind] = {
    "batch": NormKind(_batch, True),
    "layer": NormKind(_layer, True),
    "layer_channel": NormKind(_layer_channel, True),
    "instance": NormKind(_instance, True),
    "group": NormKind(_group, True),
    "local_response": NormKind(_local_response, False),
    "none": NormKind(_none, False),
}
