"""One pure training step. It knows no jit, no device and no config."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import linen as nn

from cnnjax.models.forward import forward_train
from cnnjax.train.loss import cross_entropy, smooth
from cnnjax.train.optimizer import Optimizer
from cnnjax.train.state import TrainState, stream_key

# What a step measures: (sum, count) pairs of float32.
METRICS = ("loss", "errors", "grad_norm")


def make_train_step(
    model: nn.Module,
    optimizer: Optimizer,
    augment: Callable,
) -> Callable[..., tuple[TrainState, Any]]:
    """Builds the training step.

    Args:
      model: the net.
      optimizer: its updates are added to the parameters.
      augment: (key, images uint8, labels) -> (images float, targets).

    Returns:
      step(state, batch, rate, factors) -> (state, metrics). A batch is {'images': uint8
      [N, H, W, C], 'labels': int32 [N], 'seed': int32 []}; rate is the learning rate,
      and factors are the numbers of `train/factors.py`. Metrics are (sum, count) pairs:
      'loss' (without auxiliary heads) in nats and 'errors' (wrong top-1) over images,
      'grad_norm' over steps.
    """

    def step(state, batch, rate, factors):
        images, targets = augment(
            stream_key(batch["seed"], "augment", state.step),
            batch["images"],
            batch["labels"],
        )
        dropout_key = stream_key(batch["seed"], "dropout", state.step)

        def mean_loss(params):
            logits, auxiliary, model_state = forward_train(
                model, params, state.model_state, images, dropout_key
            )
            smoothed = smooth(targets, factors["label_smoothing"])
            losses = cross_entropy(logits, smoothed)
            total = losses.mean()
            for head in auxiliary:
                of_head = cross_entropy(head, smoothed).mean()
                total += factors["auxiliary_weight"] * of_head
            return total, (losses.sum(), logits, model_state)

        gradient = jax.grad(mean_loss, has_aux=True)
        grads, (loss_sum, logits, model_state) = gradient(state.params)
        updates, opt_state = optimizer.update(
            grads, state.opt_state, state.params, rate, factors
        )
        params = optax.apply_updates(state.params, updates)
        ema = state.ema
        if ema is not None:
            ema = optax.incremental_update(params, ema, 1 - factors["ema_decay"])
        errors = jnp.sum(logits.argmax(-1) != batch["labels"], dtype=jnp.float32)
        count = jnp.float32(len(batch["labels"]))
        metrics = {
            "loss": (loss_sum, count),
            "errors": (errors, count),
            "grad_norm": (optax.tree.norm(grads), jnp.float32(1)),
        }
        new = TrainState(state.step + 1, params, model_state, opt_state, ema)
        return new, metrics

    return step
