"""Classification losses on targets that may be mixed, and an L2 term beside them."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import optax

from cnnjax.errors import UserError, in_range, unknown_name
from cnnjax.training.hyperparameters import Hyperparameters


def smooth(targets: jax.Array, label_smoothing: float | jax.Array) -> jax.Array:
    """Moves a share of the target's mass evenly onto all classes.

    Args:
      targets: probabilities [N, num_classes].
      label_smoothing: the share, in [0, 1).

    Source: Szegedy et al. 2015, arXiv 1512.00567, section 7.
    """
    return (1 - label_smoothing) * targets + label_smoothing / targets.shape[-1]


def cross_entropy(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Cross entropy of a softmax per example, in nats.

    Shapes: logits [N, classes], targets [N, classes] -> [N].
    """
    return -jnp.sum(targets * jax.nn.log_softmax(logits), axis=-1)


def sigmoid(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """One class against all others: cross entropies of sigmoids, summed over classes.

    Shapes: logits [N, classes], targets [N, classes] -> [N], in nats.

    Source: Rifkin and Klautau 2004, JMLR 5, on one against all.
    """
    return jnp.sum(optax.sigmoid_binary_cross_entropy(logits, targets), axis=-1)


def hinge(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Multiclass hinge: sum over wrong classes j of max(0, s_j - s_y + 1).

    Shapes: logits [N, classes], targets [N, classes], one-hot -> [N].

    Source: Weston and Watkins 1999, ESANN; Stanford CS231n, lecture 3.
    """
    return jnp.sum(_above_margin(logits, targets), axis=-1)


def mean_hinge(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """`hinge` divided by the number of classes, as torch's `multi_margin_loss`."""
    return jnp.mean(_above_margin(logits, targets), axis=-1)


def squared_hinge(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """Sum over wrong classes j of max(0, s_j - s_y + 1) squared."""
    return jnp.sum(_above_margin(logits, targets) ** 2, axis=-1)


def _above_margin(logits, targets):
    """max(0, s_j - s_y + 1), and 0 for the class itself; [N, classes]."""
    own = jnp.sum(logits * targets, axis=-1, keepdims=True)
    return (1 - targets) * jax.nn.relu(logits - own + 1)


KINDS: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "cross_entropy": cross_entropy,
    "sigmoid": sigmoid,
    "hinge": hinge,
    "mean_hinge": mean_hinge,
    "squared_hinge": squared_hinge,
}
# Those that know one class for each image, and no mixture.
HINGES = ("hinge", "mean_hinge", "squared_hinge")


@dataclasses.dataclass(frozen=True)
class Loss:
    """The compiled part of a loss; see `make_loss`.

    Args:
      kind: one of `KINDS`.
      has_l2: whether the parameters are a term of it.
    """

    kind: str = "cross_entropy"
    has_l2: bool = False

    def __call__(self, logits: jax.Array, targets: jax.Array) -> jax.Array:
        """Loss per example; logits [N, classes], targets [N, classes] -> [N]."""
        return KINDS[self.kind](logits, targets)

    def probabilities(self, logits: jax.Array) -> jax.Array:
        """What the loss takes the scores of a net for: [N, classes] -> [N, classes].

        Of a sigmoid each class has a probability of its own: rows do not sum to 1.

        Raises:
          UserError: a hinge, whose scores stand for no probabilities.
        """
        if self.kind in HINGES:
            raise UserError(
                f"scores of a net trained with config.loss.kind={self.kind!r} stand "
                "for no probabilities, so there is nothing to average or to "
                "calibrate: evaluate shows its errors, and nets trained with "
                f"{' or '.join(kind for kind in KINDS if kind not in HINGES)} have "
                "probabilities"
            )
        of = jax.nn.sigmoid if self.kind == "sigmoid" else jax.nn.softmax
        return of(logits)

    def of_batch(
        self,
        logits: jax.Array,
        auxiliary: Sequence[jax.Array],
        targets: jax.Array,
        numbers: Mapping[str, Any],
        num_images: int,
    ) -> tuple[jax.Array, jax.Array]:
        """What is reported of a batch, and what is differentiated.

        Args:
          logits: [N, classes].
          auxiliary: logits of each auxiliary head.
          targets: [N, classes].
          numbers: those that `make_loss` calls traced.
          num_images: of the whole batch, of which these may be a part.

        Returns:
          The sum over images without auxiliary heads, and the mean with them.
        """
        targets = smooth(targets, numbers["label_smoothing"])
        own = self(logits, targets).sum()
        total = own / num_images
        for head in auxiliary:
            total += numbers["auxiliary_weight"] * (
                self(head, targets).sum() / num_images
            )
        return own, total

    def of_parameters(self, params: Any, decayed: Any, l2: jax.Array) -> jax.Array:
        """Half of `l2` times the sum of the squares of all that decay applies to."""
        chosen = jax.tree.map(
            lambda leaf, counts: jnp.sum(leaf**2) if counts else 0.0, params, decayed
        )
        return 0.5 * l2 * sum(jax.tree.leaves(chosen))

    def of_chance(self, num_classes: int) -> float:
        """The loss of a net whose scores are all 0."""
        scores = jnp.zeros((1, num_classes))
        return float(self(scores, jax.nn.one_hot(jnp.zeros(1, int), num_classes))[0])


CROSS_ENTROPY = Loss()


def make_loss(
    kind: str, label_smoothing: float, auxiliary_weight: float, l2: float
) -> Hyperparameters:
    """Checks section `loss` of a config; its numbers are traced.

    Args:
      kind: one of `KINDS`.
      label_smoothing: see `smooth`.
      auxiliary_weight: of the loss of each auxiliary head, >= 0.
      l2: of `Loss.of_parameters`, >= 0.

    Returns:
      A `Loss` as the static part, and the numbers.

    Raises:
      UserError: an unknown kind, a value out of range, or mixed targets for a loss
        that knows none.
    """
    if kind not in KINDS:
        raise unknown_name("loss", kind, KINDS, "config.loss.kind")
    in_range("loss.label_smoothing", label_smoothing, 0.0, 0.999)
    in_range("loss.auxiliary_weight", auxiliary_weight, 0.0, float("inf"))
    in_range("loss.l2", l2, 0.0, float("inf"))
    if label_smoothing:
        refuse_mixtures(kind, "loss.label_smoothing", label_smoothing)
    numbers = {"label_smoothing": label_smoothing, "auxiliary_weight": auxiliary_weight}
    if l2:
        numbers["l2"] = l2
    return Hyperparameters(Loss(kind, has_l2=l2 > 0), numbers)


def refuse_mixtures(kind: str, key: str, value: float) -> None:
    """Raises a UserError for a loss that knows one class an image, and mixed targets.

    Args:
      kind: one of `KINDS`.
      key: of the config that mixes.
      value: of that key.
    """
    if kind in HINGES:
        others = ", ".join(name for name in KINDS if name not in HINGES)
        raise UserError(
            f"config.loss.kind is {kind!r}, which needs one class for each image, and "
            f"config.{key} is {value:g}: set that to 0, or the kind to one of {others}"
        )
