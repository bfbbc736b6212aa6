"""Evaluation: every example exactly once, whatever the batch size."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cnnjax.net.forward import forward_eval, forward_train
from cnnjax.net.held import restored
from cnnjax.shard import at_positions, shard
from cnnjax.training.chunk import over_batches
from cnnjax.training.loss import CROSS_ENTROPY, Loss
from cnnjax.training.multi_view import PLAIN, Views
from cnnjax.training.state import stream_key
from cnnjax.training.step import mean_of_shards

# What is summed over images: one number each, or one for each class.
SUMS = ("loss", "errors", "top5_errors", "count")
SUMS_OF_CLASSES = ("class_correct", "class_count")


def no_sums(num_seeds: int, num_classes: int) -> dict[str, np.ndarray]:
    """The sums before the first batch."""
    shapes: dict[str, tuple] = dict.fromkeys(SUMS, (num_seeds,))
    shapes |= dict.fromkeys(SUMS_OF_CLASSES, (num_seeds, num_classes))
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def make_evaluation(
    model: nn.Module,
    preprocess: Callable,
    num_classes: int,
    batch_at: Callable,
    batch_statistics: bool = False,
    loss: Loss = CROSS_ENTROPY,
    views: Views = PLAIN,
) -> Callable[..., dict[str, jax.Array]]:
    """Builds the evaluation of one set of weights on batches of one split.

    Args:
      model: the net.
      preprocess: images uint8 -> float.
      num_classes: number of classes.
      batch_at: (i, *source) -> {'images': uint8 [n, H, W, C], or [n, V, H, W, C] with
        `views.read`, 'labels': int32 [n],
        'mask': float32 [n]}, batch i of a split; with 'features' [n, ...] where these
        are given to the head.
      batch_statistics: see `forward_eval`; a last batch that is not full is filled up
        with the first images of the split, which are not counted.
      loss: that of training; label smoothing, auxiliary heads and parameters are no
        part of it here.
      views: what the net sees of each image. Probabilities are averaged over views, or
        with another loss than cross entropy logits.

    Returns:
      evaluate(params, model_state, sums, num_batches, *source) -> sums, with those of
      these batches: the names are in `SUMS` and `SUMS_OF_CLASSES`; `source` is what
      `batch_at` takes.
    """

    def sums_of(params, model_state, batch):
        labels, mask = batch["labels"], batch["mask"]

        def forward(images):
            given = batch.get("features")
            return forward_eval(
                model, params, model_state, images, batch_statistics, given
            )

        images = batch["images"] if views.read else preprocess(batch["images"])
        see = (lambda view: forward(preprocess(view))) if views.read else forward
        logits = views.logits(see, images, loss.kind == "cross_entropy")
        one_hot = jax.nn.one_hot(labels, num_classes, dtype=logits.dtype)
        own = jnp.sum(logits * one_hot, axis=-1, keepdims=True)
        # How many classes score higher; ties go to the lower class, as in argmax.
        ahead = (logits > own) | (
            (logits == own) & (jnp.arange(num_classes)[None] < labels[:, None])
        )
        rank = jnp.sum(ahead, axis=-1)
        # A broken net (NaN everywhere) has nothing ahead of it: it is never right.
        right = (rank == 0) & jnp.isfinite(own[:, 0])
        in_five = (rank < 5) & jnp.isfinite(own[:, 0])
        masked = mask[:, None] * one_hot
        return {
            "loss": jnp.sum(mask * loss(logits, one_hot)),
            "errors": jnp.sum(mask * ~right),
            "top5_errors": jnp.sum(mask * ~in_five),
            "count": jnp.sum(mask),
            "class_correct": jnp.sum(masked * right[:, None], axis=0),
            "class_count": jnp.sum(masked, axis=0),
        }

    def evaluate(params, model_state, sums, num_batches, *source):
        def body(_, batch, sums):
            # Added up batch by batch: how many batches a call has makes no difference.
            new = shard().sum(sums_of(params, model_state, batch))
            return jax.tree.map(jnp.add, sums, new)

        return over_batches(num_batches, lambda i: batch_at(i, *source), body, sums)

    return evaluate


def divide(sums: dict[str, Any]) -> dict[str, Any]:
    """Turns the sums of one seed into what `result.json` holds; errors in percent."""
    count = float(sums["count"])
    if count == 0:
        return {"count": 0, "loss": None, "error": None, "top5_error": None}
    of_classes = zip(
        np.asarray(sums["class_correct"], float).tolist(),
        np.asarray(sums["class_count"], float).tolist(),
        strict=True,
    )
    return {
        "count": int(count),
        "loss": float(sums["loss"]) / count,
        "error": 100 * float(sums["errors"]) / count,
        "top5_error": 100 * float(sums["top5_errors"]) / count,
        # None for a class that is not in the split.
        "per_class_accuracy": [
            round(100 * correct / seen, 4) if seen else None
            for correct, seen in of_classes
        ],
    }


def not_finite(rows: dict[str, dict[str, Any]]) -> str | None:
    """Says of which split the loss is not finite, if there is one.

    Args:
      rows: split -> row of `divide`; an empty split has no loss.
    """
    for split, row in rows.items():
        if row["loss"] is not None and not np.isfinite(row["loss"]):
            return f"the loss on the {split} images is {row['loss']}"
    return None


def make_reestimation(
    model: nn.Module,
    augment: Callable,
    batches: Callable,
    *,
    batch_size: int,
    max_steps: int,
    stays: tuple[str, ...] = (),
) -> Callable[..., tuple[Any, Any]]:
    """Builds the precise estimate of batch-norm statistics over training batches.

    The running average follows the weights while they move; this one sees the final
    weights only. The variance is the mean of the variances of the batches and the
    spread between their means, added up batch by batch: no term is below 0, and none
    cancels where means are large.

    Args:
      model: the net.
      augment: the training augmentation.
      batches: where training batches come from, see `training/chunk.py`.
      batch_size: images a batch.
      max_steps: largest number of batches of one call.
      stays: batch norms whose statistics stay, see `forward_train`.

    Returns:
      reestimate(params, model_state, moments, data, seed, first_step, num_steps) ->
      (moments, model_state). `moments` are those of the batches of earlier calls, in
      the form of `batch_stats`; anything in that form at the first. The model state has
      those of all batches so far.

    Source: Wu and Johnson 2021, arXiv 2105.07576, section 3.2 ("PreciseBN"); the sum:
    Chan, Golub and LeVeque 1983, The American Statistician 37(3), eq. 2.1.
    """

    def joined(old, new, share):
        """Moments of batches so far and one more, which has this share in all."""
        if not isinstance(old, dict):
            return (1 - share) * old + share * new
        total = {name: joined(old[name], new[name], share) for name in old}
        if "mean" in old:
            apart = new["mean"] - old["mean"]
            total["var"] += (share * apart) * ((1 - share) * apart)
        return total

    def reestimate(params, model_state, moments, data, seed, first_step, num_steps):
        if "batch_stats" not in model_state:
            return moments, model_state

        def of_one(i, batch):
            key = stream_key(seed, "augment", first_step + i)
            images, _ = augment(key, batch["images"], batch["labels"])
            with at_positions(shard().local(jnp.arange(batch_size, dtype=jnp.int32))):
                *_, new = forward_train(
                    model, params, model_state, images, key, True, stays
                )
            return mean_of_shards(new["batch_stats"])

        def body(i, batch, total):
            share = 1 / jnp.float32(first_step + i + 1)
            return joined(total, of_one(i, batch), share)

        start = jax.tree.map(lambda m: jnp.where(first_step == 0, 0, m), moments)
        batch_at = batches(data, seed, first_step, max_steps)
        total = over_batches(num_steps, batch_at, body, start)
        estimated = model_state | {"batch_stats": total}
        return total, restored(estimated, model_state, stays)

    return reestimate
