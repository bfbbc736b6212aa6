"""What a probe is, and what it may use.

A probe is a pure function of the weights of one seed and a fixed set of images.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cnnjax.training.loss import Loss

# When a probe can look: share of training that is done.
MOMENTS = {"start": 0.0, "middle": 0.5, "end": 1.0}


def share_done(moment: str) -> float:
    """Share of training that is done at a moment: of `MOMENTS`, or such as '2/5'."""
    return MOMENTS[moment] if moment in MOMENTS else float(Fraction(moment))


# Layers or blocks of one profile in `result.json`; of a deeper net some are left out.
MOST_POINTS = 200


# Moment -> arrays of one seed.
Seen = Mapping[str, Mapping[str, np.ndarray]]


@dataclasses.dataclass(frozen=True)
class Subject:
    """The parts of a run that probes may know.

    Attributes:
      model: the net, as it is trained.
      image_shape: (H, W, C).
      num_classes: number of classes.
      preprocess: images uint8 -> float.
      forward: an evaluation, with the arguments of `net.forward.forward_eval`.
      loss: that of the training step.
      hyperparameters: those of the training step.
      members: seeds of an ensemble.
      snapshots: of a training, in an ensemble.
    """

    model: nn.Module
    image_shape: tuple[int, int, int]
    num_classes: int
    preprocess: Callable
    forward: Callable
    loss: Loss
    hyperparameters: Mapping[str, Any]
    members: int = 1
    snapshots: int = 1

    def moments_of(self, probe: "Probe") -> tuple[str, ...]:
        """When a probe looks."""
        parts = range(1, self.snapshots + 1)
        return probe.moments or tuple(f"{k}/{self.snapshots}" for k in parts)


@dataclasses.dataclass(frozen=True)
class Probe:
    """One kind of measurement.

    Attributes:
      split: whose images it sees: 'train' or 'test'.
      most_images: how many at most, evenly spread over the split; training images
        come in one batch.
      moments: keys of `MOMENTS`; () for the snapshots of the subject.
      measure: subject -> function (params, model_state, images uint8 [M, B, H, W, C],
        labels int32 [M, B], mask float32 [M, B]) -> dict of arrays, of one seed.
      report: (subject, moment -> arrays of one seed) -> the record in `result.json`:
        numbers, and 'profiles': name -> `profile(...)`.
      report_of_all: in place of it, of a probe of several nets: (subject, the same of
        every seed, number of the seed) -> the record of that seed.
      needs: what a net must have.
      fits: (model, image_shape) -> whether a net has it.
      as_trained: whether it sees the running statistics of batch norm at the end too,
        whatever `config.eval.statistics` says.
    """

    split: str
    most_images: int
    moments: tuple[str, ...]
    measure: Callable[[Subject], Callable]
    report: Callable[[Subject, Seen], dict[str, Any]] | None = None
    report_of_all: Callable[[Subject, Sequence[Seen], int], dict[str, Any]] | None = (
        None
    )
    needs: str = ""
    fits: Callable[[nn.Module, tuple[int, ...]], bool] = lambda model, shape: True
    as_trained: bool = False


def profile(
    axes: tuple[str, str],
    labels: Sequence[Any],
    values: np.ndarray,
    positions: Sequence[int] | None = None,
) -> dict[str, list]:
    """Values along the depth of a net, or along an amount, for `result.json`.

    Args:
      axes: titles of the axis of positions and of that of values, with units.
      labels: what each value belongs to.
      values: as many numbers.
      positions: where they stand on an axis; None for 1, 2, ...

    Returns:
      "axes", "labels", "positions" and "values", at most `MOST_POINTS`, evenly spread
      with the first and the last; None stands for what is not finite.
    """
    if positions is None:
        positions = range(1, len(labels) + 1)
    kept = np.unique(
        np.linspace(0, len(labels) - 1, min(len(labels), MOST_POINTS)).round()
    ).astype(int)
    return {
        "axes": list(axes),
        "labels": [labels[i] for i in kept],
        "positions": [int(positions[i]) for i in kept],
        "values": [number(values[i]) for i in kept],
    }


def number(value: float) -> float | None:
    """A number for JSON, with six digits; None where it is not finite."""
    value = float(value)
    return float(f"{value:.6g}") if math.isfinite(value) else None


def count_errors(
    subject: Subject, forward: Callable[[jax.Array], jax.Array], labels, mask, images
) -> jax.Array:
    """Wrong images of all batches.

    Args:
      subject: of the probe.
      forward: images float [B, H, W, C] -> logits [B, num_classes].
      labels: int32 [M, B].
      mask: float32 [M, B]; 0 where an image does not count.
      images: uint8 [M, B, H, W, C].
    """

    def of_batch(batch):
        images, labels, mask = batch
        logits = forward(subject.preprocess(images))
        # A broken net (NaN everywhere) is never right.
        right = (logits.argmax(-1) == labels) & jnp.isfinite(logits).all(-1)
        return jnp.sum(mask * ~right)

    return jax.lax.map(of_batch, (images, labels, mask)).sum()
