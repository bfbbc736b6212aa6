"""Evaluation: every example exactly once, whatever the batch size."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cnnjax.batch import at_positions, part
from cnnjax.data.resident import eval_batches
from cnnjax.models.forward import forward_eval, forward_train
from cnnjax.train.chunk import over_batches
from cnnjax.train.loss import cross_entropy
from cnnjax.train.state import stream_key
from cnnjax.train.step import mean_of_parts

# What is summed over images: one number each, or one for each class.
SUMS = ("loss", "errors", "top5_errors", "count")
SUMS_OF_CLASSES = ("class_correct", "class_count")


def split_batches(
    sizes: dict[str, int], batch_size: int
) -> dict[str, tuple[np.ndarray, np.ndarray, np.int32]]:
    """Batches of each split of the resident data, padded to one common shape.

    Args:
      sizes: split name -> number of images, in the order of the resident data.
      batch_size: images a batch.

    Returns:
      split name -> (indices [M, batch_size], mask [M, batch_size], number of batches),
      with M the same for all, so that one program serves all splits.
    """
    largest = max(-(-size // batch_size) for size in sizes.values())
    batches, offset = {}, 0
    for split, size in sizes.items():
        indices, mask = eval_batches(size, batch_size)
        fill = ((0, largest - len(indices)), (0, 0))
        padded = np.pad(indices + offset, fill)
        batches[split] = (padded, np.pad(mask, fill), np.int32(len(indices)))
        offset += size
    return batches


def resident_batch(i: Any, data: Any, indices: jax.Array, mask: jax.Array):
    """Batch i of `split_batches`, chosen from all images, which are on the device."""
    chosen = part().own(indices[i])
    return {name: array[chosen] for name, array in data.items()} | {
        "mask": part().own(mask[i])
    }


def streamed_batch(i: Any, batches: dict[str, jax.Array]):
    """Batch i of those that came with the call."""
    return {name: array[i] for name, array in batches.items()}


def no_sums(num_seeds: int, num_classes: int) -> dict[str, np.ndarray]:
    """The sums before the first batch."""
    shapes = dict.fromkeys(SUMS, (num_seeds,))
    shapes |= dict.fromkeys(SUMS_OF_CLASSES, (num_seeds, num_classes))
    return {name: np.zeros(shape, np.float32) for name, shape in shapes.items()}


def make_evaluation(
    model: nn.Module,
    preprocess: Callable,
    num_classes: int,
    batch_at: Callable,
    batch_statistics: bool = False,
) -> Callable[..., dict[str, jax.Array]]:
    """Builds the evaluation of one set of weights on batches of one split.

    Args:
      model: the net.
      preprocess: images uint8 -> float.
      num_classes: number of classes.
      batch_at: `resident_batch` or `streamed_batch`.
      batch_statistics: see `forward_eval`; a last batch that is not full is filled up
        with the first images of the split, which are not counted.

    Returns:
      evaluate(params, model_state, sums, num_batches, *source) -> sums, with those of
      these batches: the names are in `SUMS` and `SUMS_OF_CLASSES`; `source` is what
      `batch_at` takes.
    """

    def sums_of(params, model_state, batch):
        labels, mask = batch["labels"], batch["mask"]
        images = preprocess(batch["images"])
        logits = forward_eval(model, params, model_state, images, batch_statistics)
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
            "loss": jnp.sum(mask * cross_entropy(logits, one_hot)),
            "errors": jnp.sum(mask * ~right),
            "top5_errors": jnp.sum(mask * ~in_five),
            "count": jnp.sum(mask),
            "class_correct": jnp.sum(masked * right[:, None], axis=0),
            "class_count": jnp.sum(masked, axis=0),
        }

    def evaluate(params, model_state, sums, num_batches, *source):
        def body(_, batch, sums):
            # Added up batch by batch, so that it does not matter how many a call has.
            new = part().total(sums_of(params, model_state, batch))
            return jax.tree.map(jnp.add, sums, new)

        return over_batches(num_batches, lambda i: batch_at(i, *source), body, sums)

    return evaluate


def divide(sums: dict[str, Any]) -> dict[str, Any]:
    """Turns the sums of one seed into what `result.json` holds; errors in percent."""
    count = float(sums["count"])
    if count == 0:
        return {"count": 0, "loss": None, "error": None, "top5_error": None}
    seen = np.maximum(np.asarray(sums["class_count"], float), 1)
    correct = np.asarray(sums["class_correct"], float)
    return {
        "count": int(count),
        "loss": float(sums["loss"]) / count,
        "error": 100 * float(sums["errors"]) / count,
        "top5_error": 100 * float(sums["top5_errors"]) / count,
        "per_class_accuracy": [round(a, 4) for a in (100 * correct / seen).tolist()],
    }


def make_reestimation(
    model: nn.Module,
    augment: Callable,
    batches: Callable,
    *,
    batch_size: int,
    num_batches: int,
    max_steps: int,
) -> Callable[..., tuple[Any, Any]]:
    """Builds the precise estimate of batch-norm statistics over training batches.

    The running average follows the weights while they move; this one sees the final
    weights only. Means and second moments are averaged over the batches, so that the
    variance includes the spread between batch means.

    Args:
      model: the net.
      augment: the training augmentation.
      batches: where training batches come from, see `train/chunk.py`.
      batch_size: images a batch.
      num_batches: how many batches, over all calls.
      max_steps: largest number of batches of one call.

    Returns:
      reestimate(params, model_state, moments, data, seed, first_step, num_steps) ->
      (moments, model_state). `moments` are those of the batches of earlier calls, in
      the form of `batch_stats`; anything in that form at the first. The model state is
      estimated when all batches are in.

    Source: Wu and Johnson 2021, arXiv 2105.07576, section 3.2 ("PreciseBN").
    """
    # With momentum 0 the running statistics after a batch are those of that batch.
    of_batch = model
    if hasattr(model, "norm"):
        of_batch = model.clone(norm=dataclasses.replace(model.norm, momentum=0.0))

    def second_moments(stats, sign):
        """Variances to mean squares, sign 1, and back, sign -1."""
        if "mean" in stats:
            return stats | {"var": stats["var"] + sign * stats["mean"] ** 2}
        return {name: second_moments(inner, sign) for name, inner in stats.items()}

    def reestimate(params, model_state, moments, data, seed, first_step, num_steps):
        if "batch_stats" not in model_state:
            return moments, model_state

        def of_one(i, batch):
            key = stream_key(seed, "augment", first_step + i)
            images, _ = augment(key, batch["images"], batch["labels"])
            with at_positions(part().own(jnp.arange(batch_size, dtype=jnp.int32))):
                *_, new = forward_train(
                    of_batch, params, model_state, images, key, last_batch=True
                )
            return second_moments(mean_of_parts(new["batch_stats"]), 1)

        def body(i, batch, total):
            new = of_one(i, batch)
            return jax.tree.map(lambda a, b: a + b / num_batches, total, new)

        start = jax.tree.map(lambda m: jnp.where(first_step == 0, 0, m), moments)
        batch_at = batches(data, seed, first_step, max_steps)
        total = over_batches(num_steps, batch_at, body, start)
        return total, model_state | {"batch_stats": second_moments(total, -1)}

    return reestimate
