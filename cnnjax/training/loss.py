"""Classification loss on soft targets."""

import jax
import jax.numpy as jnp

from cnnjax.errors import in_range
from cnnjax.training.hyperparameters import Hyperparameters


def smooth(targets: jax.Array, label_smoothing: float) -> jax.Array:
    """Moves a share of the target's mass evenly onto all classes.

    Args:
      targets: probabilities [N, num_classes].
      label_smoothing: the share, in [0, 1).

    Source: Szegedy et al. 2015, arXiv 1512.00567, section 7.
    """
    return (1 - label_smoothing) * targets + label_smoothing / targets.shape[-1]


def cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Cross entropy per example, in nats.

    Shapes: logits [N, classes], targets [N, classes] -> [N].
    """
    return -jnp.sum(targets * jax.nn.log_softmax(logits), axis=-1)


def make_loss(label_smoothing: float, auxiliary_weight: float) -> Hyperparameters:
    """Checks section `loss` of a config; both of its numbers are traced.

    Args:
      label_smoothing: see `smooth`.
      auxiliary_weight: of the loss of each auxiliary head, >= 0.

    Raises:
      UserError: a value out of range.
    """
    in_range("loss.label_smoothing", label_smoothing, 0.0, 0.999)
    in_range("loss.auxiliary_weight", auxiliary_weight, 0.0, float("inf"))
    return Hyperparameters(
        traced={
            "label_smoothing": label_smoothing,
            "auxiliary_weight": auxiliary_weight,
        }
    )
