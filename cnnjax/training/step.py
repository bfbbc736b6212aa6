"""One training step as a pure function, without jit, devices or config."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from cnnjax.net.forward import forward_train
from cnnjax.net.held import restored
from cnnjax.shard import at_positions, shard
from cnnjax.training.average import move_average
from cnnjax.training.loss import CROSS_ENTROPY, Loss
from cnnjax.training.optimizer import Optimizer
from cnnjax.training.state import TrainState, stream_key
from cnnjax.training.trainable import Trainable

# What a step measures: (sum, count) pairs of float32.
METRICS = ("loss", "errors", "grad_norm")


def make_train_step(
    model: nn.Module,
    optimizer: Optimizer,
    augment: Callable,
    microbatches: int = 1,
    kind: Loss = CROSS_ENTROPY,
    trainable: Trainable | None = None,
    stays: tuple[str, ...] = (),
) -> Callable[..., tuple[TrainState, Any]]:
    """Builds the training step.

    Args:
      model: the net.
      optimizer: its updates are added to the parameters.
      augment: (key, images uint8, labels) -> (images float, targets).
      microbatches: into how many equal parts a batch is divided; their gradients are
        added up one after another, which takes less memory. The step is that of the
        undivided batch, up to rounding, if no layer's statistics reach beyond a part.
      kind: of the loss.
      trainable: the parameters that train; None for all.
      stays: batch norms whose statistics stay, see `forward_train`.

    Returns:
      step(state, batch, learning_rate, hyperparameters) -> (state, metrics). A batch is
      {'images': uint8 [N, H, W, C], 'labels': int32 [N], 'seed': int32 []}, and
      'features' [N, ...] where these are given to the head in place of the images;
      hyperparameters are the traced ones by section: 'loss', 'optimizer' and 'train'.
      Metrics are (sum, count) pairs: 'loss' (without auxiliary heads and parameters)
      and 'errors' (wrong top-1) over images, 'grad_norm' over steps.
    """

    def step(state, batch, learning_rate, hyperparameters):
        of_loss = hyperparameters["loss"]
        images, targets = augment(
            stream_key(batch["seed"], "augment", state.step),
            batch["images"],
            batch["labels"],
        )
        dropout_key = stream_key(batch["seed"], "dropout", state.step)
        # Of the whole batch, of which this may be a shard.
        num_images = len(images) * shard().num_shards
        trained, kept = state.params, None
        if trainable is not None:
            trained, kept = trainable.divide(state.params)

        def loss(trained, micro):
            params = trainable.join(trained, kept) if trainable else trained
            with at_positions(micro["positions"]):
                logits, auxiliary, model_state = forward_train(
                    model,
                    params,
                    state.model_state,
                    micro["images"],
                    dropout_key,
                    stays=stays,
                    features=micro.get("features"),
                )
            loss_sum, total = kind.of_batch(
                logits, auxiliary, micro["targets"], of_loss, num_images
            )
            if kind.has_l2:  # once, not for each part
                parts = microbatches * shard().num_shards
                decayed = optimizer.decayed(params)
                total += kind.of_parameters(params, decayed, of_loss["l2"]) / parts
            errors = jnp.sum(logits.argmax(-1) != micro["labels"], dtype=jnp.float32)
            return total, (loss_sum, errors, model_state)

        examples = {
            "images": images,
            "targets": targets,
            "labels": batch["labels"],
            "positions": shard().local(jnp.arange(num_images, dtype=jnp.int32)),
        }
        if "features" in batch:
            examples["features"] = batch["features"]
        gradient = jax.grad(loss, has_aux=True)
        grads, (loss_sum, errors, model_state) = _accumulated(
            lambda micro: gradient(trained, micro), examples, microbatches
        )
        grads, loss_sum, errors = shard().sum((grads, loss_sum, errors))
        numbers = hyperparameters["optimizer"]
        if trainable is None:
            updates, opt_state = optimizer.update(
                grads, state.opt_state, state.params, learning_rate, numbers
            )
            params = optax.apply_updates(state.params, updates)
        else:
            moved, opt_state = trainable.update(
                optimizer,
                grads,
                state.opt_state,
                trained,
                learning_rate,
                numbers,
                state.step,
            )
            params = trainable.join(moved, kept)
        count = jnp.float32(num_images)
        metrics = {
            "loss": (loss_sum, count),
            "errors": (errors, count),
            "grad_norm": (optax.tree.norm(grads), jnp.float32(1)),
        }
        model_state = mean_of_shards(model_state, microbatches)
        model_state = restored(model_state, state.model_state, stays)
        ema = state.ema
        if ema is not None:
            averaged = {"params": params, "model_state": model_state}
            decay = hyperparameters["train"]["ema_decay"]
            ema = move_average(ema, averaged, decay)
        new = TrainState(state.step + 1, params, model_state, opt_state, ema)
        return new, metrics

    return step


def _accumulated(function: Callable, examples: Any, microbatches: int) -> Any:
    """The sum of a function of examples over their micro-batches, leaf by leaf."""
    if microbatches == 1:
        return function(examples)
    divided = jax.tree.map(
        lambda x: shard().microbatches(x, microbatches), examples
    )  # [microbatches, n, ...]
    one = jax.eval_shape(function, jax.tree.map(lambda x: x[0], divided))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), one)

    def add(sums, micro):
        return jax.tree.map(jnp.add, sums, function(micro)), None

    return jax.lax.scan(add, zeros, divided)[0]


def mean_of_shards(statistics: Any, microbatches: int = 1) -> Any:
    """Running statistics after a step: the mean over the shards of the batch.

    All shards start from the same statistics and move them by an average over groups of
    images, so their mean is what the whole batch would give. Whole numbers, such as a
    count of steps, are the same in all shards and stay whole.

    Args:
      statistics: sum over the micro-batches of a shard.
      microbatches: their number.
    """
    num = microbatches * shard().num_shards
    if num == 1:
        return statistics
    # Counters, which are equal in all shards, keep their type.
    return jax.tree.map(lambda x: (x / num).astype(x.dtype), shard().sum(statistics))
