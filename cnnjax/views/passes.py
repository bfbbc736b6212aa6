"""Forward passes that views share: chosen logits, maps and what moves them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnjax.errors import UserError
from cnnjax.net.forward import forward_eval
from cnnjax.net.observe import Call, observe
from cnnjax.net.stacked import unscan


class DoesNotApply(UserError):
    """A view shows nothing of this net; the sentence says why."""


def logits_of(
    network: nn.Module,
    variables: Any,
    images: jax.Array,
    around: Callable[[Call], Any] | None = None,
) -> jax.Array:
    """Logits [N, classes] of an evaluation.

    Args:
      network: a net of `create_model`.
      variables: {'params': ..., other collections}.
      images: float [N, H, W, C], as the net takes them.
      around: for `net.observe.observe`; blocks run one by one then.
    """
    if around is not None:
        network, variables = unscan(network, variables, images.shape[1:])
    state = {c: tree for c, tree in variables.items() if c != "params"}
    if around is None:
        return forward_eval(network, variables["params"], state, images)
    with observe(around):
        return forward_eval(network, variables["params"], state, images)


def chosen(logits: jax.Array, targets: jax.Array) -> jax.Array:
    """The logit [N] of one class of each image."""
    return jnp.take_along_axis(logits, jnp.asarray(targets)[:, None], axis=1)[:, 0]


def output_shape(
    network: nn.Module, variables: Any, images: jax.Array, path: str
) -> tuple[tuple[int, ...], int]:
    """Shape of a module's output, with the batch, and how often it is called.

    Raises:
      UserError: no module of that path is called.
    """
    shapes: list[tuple[int, ...]] = []

    def around(call: Call):
        output = call.run()
        if call.path == path:
            shapes.append(output.shape)
        return output

    jax.eval_shape(lambda v, x: logits_of(network, v, x, around), variables, images)
    if not shapes:
        raise UserError(
            f"the net calls no module {path!r}: choose another layer (./launch.sh "
            "profile lists them)"
        )
    return shapes[-1], len(shapes)


def map_and_logits(
    network: nn.Module, variables: Any, images: jax.Array, path: str
) -> tuple[tuple[int, ...], Callable[[jax.Array], tuple[jax.Array, jax.Array]]]:
    """The rest of the net as a function of what is added to one module's output.

    Args:
      network: a net of `create_model`.
      variables: its variables.
      images: float [N, H, W, C].
      path: of the module; of several calls the last one.

    Returns:
      The shape of the output, with the batch, and a function: change of that shape ->
      (logits, output without the change).
    """
    shape, calls = output_shape(network, variables, images, path)

    def rest(change: jax.Array) -> tuple[jax.Array, jax.Array]:
        outputs: list[jax.Array] = []

        def around(call: Call):
            output = call.run()
            if call.path != path:
                return output
            outputs.append(output)
            return output + change if len(outputs) == calls else output

        logits = logits_of(network, variables, images, around)
        return logits, outputs[-1]

    return shape, rest
