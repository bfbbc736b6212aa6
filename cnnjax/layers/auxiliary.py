"""Auxiliary classifiers: heads in the middle of a net, for training alone."""

from collections.abc import Callable

import jax
from flax import linen as nn

# The collection in which a net leaves the logits of its auxiliary heads in training.
AUXILIARY = "auxiliary_logits"


def auxiliary_head(
    parent: nn.Module, build: Callable[..., nn.Module], name: str, x, *, train: bool
) -> None:
    """Attaches a head to x; call it inside the compact `__call__` of the net.

    In training its logits are left in the collection `AUXILIARY`, from where
    `net.forward.forward_train` hands them to the loss; an evaluation skips it.

    Args:
      parent: the net.
      build: makes the head, a module with `__call__(x, *, train)`, from `name=`.
      name: of the head.
      x: the map it looks at.
      train: whether this is a training pass.

    Source: Szegedy et al. 2014, arXiv 1409.4842, section 5.
    """
    if parent.is_initializing():
        build(name=name)(x, train=train)
    elif train:
        logits: jax.Array = build(name=name)(x, train=train)
        # The head has its name. `sow` would append to the logits of the step before.
        parent.sow(
            AUXILIARY,
            f"{name}_logits",
            logits,
            init_fn=lambda: None,
            reduce_fn=lambda _, new: new,
        )
