"""Evaluation: every example exactly once, whatever the batch size."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cnnjax.batch import at_positions, part
from cnnjax.data.resident import chunk_indices, eval_batches
from cnnjax.models.forward import forward_eval, forward_train
from cnnjax.train.loss import cross_entropy
from cnnjax.train.state import stream_key
from cnnjax.train.step import mean_of_parts


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


def make_evaluation(
    model: nn.Module, preprocess: Callable, num_classes: int
) -> Callable[..., dict[str, jax.Array]]:
    """Builds the evaluation of one set of weights on one split.

    Args:
      model: the net.
      preprocess: images uint8 -> float.
      num_classes: number of classes.

    Returns:
      evaluate(params, model_state, data, indices, mask, num_batches) -> sums: 'loss',
      'errors', 'top5_errors', 'count', and per class 'class_correct', 'class_count'.
    """

    def add_batch(sums, params, model_state, data, chosen, mask):
        labels = data["labels"][chosen]
        images = preprocess(data["images"][chosen])
        logits = forward_eval(model, params, model_state, images)
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
        new = {
            "loss": jnp.sum(mask * cross_entropy(logits, one_hot)),
            "errors": jnp.sum(mask * ~right),
            "top5_errors": jnp.sum(mask * ~in_five),
            "count": jnp.sum(mask),
            "class_correct": jnp.sum(masked * right[:, None], axis=0),
            "class_count": jnp.sum(masked, axis=0),
        }
        return jax.tree.map(lambda total, part: total + part, sums, new)

    def evaluate(params, model_state, data, indices, mask, num_batches):
        zero = {
            name: jnp.float32(0) for name in ("loss", "errors", "top5_errors", "count")
        }
        for name in ("class_correct", "class_count"):
            zero[name] = jnp.zeros(num_classes, jnp.float32)

        def body(i, sums):
            own = part().own(indices[i]), part().own(mask[i])
            return add_batch(sums, params, model_state, data, *own)

        return part().total(jax.lax.fori_loop(0, num_batches, body, zero))

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
    *,
    batch_size: int,
    num_train: int,
    batches: int,
) -> Callable[..., Any]:
    """Builds the precise estimate of batch-norm statistics over training batches.

    The running average follows the weights while they move; this one sees the final
    weights only. Means and second moments are averaged over the batches, so that the
    variance includes the spread between batch means.

    Args:
      model: the net; it must have an attribute `norm`.
      augment: the training augmentation.
      batch_size: images a batch.
      num_train: training images, first in the resident data.
      batches: how many batches.

    Returns:
      reestimate(params, model_state, data, seed) -> model_state.

    Source: Wu and Johnson 2021, arXiv 2105.07576, section 3.2 ("PreciseBN").
    """
    # With momentum 0 the running statistics after a batch are those of that batch.
    of_batch = model.clone(norm=dataclasses.replace(model.norm, momentum=0.0))

    def moments(stats):
        if "mean" in stats:
            return {"mean": stats["mean"], "square": stats["var"] + stats["mean"] ** 2}
        return {name: moments(inner) for name, inner in stats.items()}

    def statistics(moment):
        if "mean" in moment:
            return {
                "mean": moment["mean"],
                "var": moment["square"] - moment["mean"] ** 2,
            }
        return {name: statistics(inner) for name, inner in moment.items()}

    def reestimate(params, model_state, data, seed):
        if "batch_stats" not in model_state:
            return model_state
        order = chunk_indices(
            stream_key(seed, "shuffle"), 0, batches, batch_size, num_train
        )

        def one(i):
            key = stream_key(seed, "augment", i)
            chosen = part().own(order[i])
            images, _ = augment(key, data["images"][chosen], data["labels"][chosen])
            with at_positions(part().own(jnp.arange(batch_size, dtype=jnp.int32))):
                *_, new = forward_train(of_batch, params, model_state, images, key)
            return moments(mean_of_parts(new["batch_stats"]))

        def body(i, total):
            return jax.tree.map(lambda a, b: a + b / batches, total, one(i))

        zero = jax.tree.map(
            lambda m: jnp.zeros(m.shape, m.dtype), jax.eval_shape(one, 0)
        )
        total = jax.lax.fori_loop(0, batches, body, zero)
        return model_state | {"batch_stats": statistics(total)}

    return reestimate
