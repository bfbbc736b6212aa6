"""The filters of a layer: as pictures, in an order that runs share; dead ones."""

import dataclasses
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from scipy.optimize import linear_sum_assignment

from cnnjax.analysis.features import features
from cnnjax.errors import UserError
from cnnjax.net.observe import Call
from cnnjax.net.parts import is_convolution, layers_of
from cnnjax.net.stacked import unscan
from cnnjax.views.passes import DoesNotApply, logits_of

DEAD = 0.02  # of the largest response


@dataclasses.dataclass(frozen=True)
class Filters:
    """The filters of one layer, strongest first.

    Attributes:
      path: of the layer.
      kernels: float32 [units, h, w, channels].
      units: int [units], the channel of the layer that each of them gives.
      norms: [units], their L2 norms.
      dead: bool [units], response below `DEAD` of the largest.
    """

    path: str
    kernels: np.ndarray
    units: np.ndarray
    norms: np.ndarray
    dead: np.ndarray

    def ordered(self, order: np.ndarray) -> "Filters":
        """The same filters in another order."""
        arrays = ("kernels", "units", "norms", "dead")
        changed = {name: getattr(self, name)[order] for name in arrays}
        return dataclasses.replace(self, **changed)


def responses(
    network: nn.Module, variables: Any, images: jax.Array, path: str
) -> jax.Array:
    """How much each unit of a layer varies over images, after its norm: [units].

    Args:
      network: a net of `create_model`.
      variables: {'params': ..., other collections}.
      images: float [N, H, W, C].
      path: of a convolution or a dense layer. Of a convolution beside the path from
        image to logits it is the output itself, without a norm.
    """
    network, variables = unscan(network, variables, images.shape[1:])
    state = {c: tree for c, tree in variables.items() if c != "params"}
    for layer in layers_of(network, variables["params"], state, images):
        if layer.path == path:
            output = layer.output if layer.normed is None else layer.normed
            return output.std(axis=tuple(range(output.ndim - 1)))
    output = features(network, variables, images, [path])[path]
    return output.std(axis=tuple(range(output.ndim - 1)))


def filters(
    network: nn.Module,
    variables: Any,
    images: jax.Array,
    path: str = "",
    varies: np.ndarray | None = None,
) -> Filters:
    """The filters of the first layer, or of another one.

    Those of a dense layer that sees a flattened image are shown in its shape.

    Args:
      network: a net of `create_model`.
      variables: {'params': ..., other collections}.
      images: float [N, H, W, C]; only their shape matters.
      path: of a convolution or of such a dense layer; '' for the first.
      varies: of `responses`; None takes the norms of the filters, which say little
        where a norm comes after them.

    Raises:
      UserError: no layer of that path, or one without filters.
      DoesNotApply: the net has none.
    """
    shape = images.shape[1:]
    _, separate = unscan(network, variables, shape)
    paths = layers_with_filters(network, variables, images)
    if not paths:
        raise DoesNotApply("this net has no convolution, and no dense layer on pixels")
    path = path or paths[0]
    if path not in paths:
        few = ", ".join(paths[:4])
        raise UserError(
            f"{path!r} has no filters: give a layer such as {few} (--layer)"
        )
    leaf = separate["params"]
    for name in path.split("/"):
        leaf = leaf[name]
    kernel = np.asarray(leaf["kernel"], np.float32)
    if kernel.ndim == 2:  # pixels come channel after channel
        height, width, channels = shape
        kernel = kernel.reshape(channels, height, width, -1).transpose(1, 2, 0, 3)
    kernels = np.moveaxis(kernel, -1, 0)
    norms = np.sqrt((kernels.astype(float) ** 2).sum(axis=(1, 2, 3)))
    size = norms if varies is None else varies
    dead = size <= DEAD * size.max()
    found = Filters(path, kernels, np.arange(len(norms)), norms, dead)
    return found.ordered(np.argsort(-norms, kind="stable"))


def layers_with_filters(
    network: nn.Module, variables: Any, images: jax.Array
) -> list[str]:
    """Convolutions, and dense layers on all pixels, in the order of execution."""
    paths: dict[str, None] = {}
    pixels = int(np.prod(images.shape[1:]))

    def around(call: Call):
        output = call.run()
        kernel: Any = call.module.variables.get("params", {}).get("kernel")
        on_pixels = getattr(kernel, "ndim", 0) == 2 and kernel.shape[0] == pixels
        if is_convolution(call.module, output) or (on_pixels and not paths):
            paths[call.path] = None
        return output

    jax.eval_shape(lambda v, x: logits_of(network, v, x, around), variables, images)
    return list(paths)


def matched(found: Filters, reference: Filters) -> tuple[Filters, np.ndarray]:
    """The filters in the order in which they resemble those of another net most.

    Args:
      found: to be ordered.
      reference: as many filters of the same shape.

    Returns:
      The filters, and the correlation [units] of each with its partner; the sum of
      these is as large as any order makes it.

    Raises:
      DoesNotApply: filters of other shapes.
    """
    if found.kernels.shape != reference.kernels.shape:
        raise DoesNotApply(
            f"filters of {found.path} {list(found.kernels.shape)} and {reference.path} "
            f"{list(reference.kernels.shape)} cannot be paired: their shapes differ"
        )
    ours, theirs = (_unit(of.kernels) for of in (found, reference))
    alike = theirs @ ours.T
    _, order = linear_sum_assignment(alike, maximize=True)
    return found.ordered(order), alike[np.arange(len(order)), order]


def _unit(kernels: np.ndarray) -> np.ndarray:
    """Each filter as a vector of mean 0 and length 1."""
    flat = kernels.reshape(len(kernels), -1).astype(float)
    flat = flat - flat.mean(axis=1, keepdims=True)
    length = np.linalg.norm(flat, axis=1, keepdims=True)
    return flat / np.where(length > 0, length, 1)


def pictures(found: Filters) -> np.ndarray:
    """The filters as numbers from -1 to 1, [units, h, w, 1 or 3], on one scale.

    Three channels are shown as colours. Of other numbers of channels, each filter
    shows the one with the largest norm.
    """
    kernels = found.kernels
    if kernels.shape[-1] not in (1, 3):
        strongest = (kernels**2).sum(axis=(1, 2)).argmax(axis=-1)
        kernels = kernels[np.arange(len(kernels)), :, :, strongest][..., None]
    largest = np.abs(kernels).max()
    return kernels / largest if largest > 0 else kernels
