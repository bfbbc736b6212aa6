"""Batch norms of a trained net folded into the convolutions before them.

In evaluation a batch norm is an affine map per channel, and so is what a convolution
does to its outputs; the two together are one convolution with a bias. The folded net is
the same net without norm, for inference and export.

Source: Jacob et al. 2017, arXiv 1712.05877, equation 14 and section 3.2.
"""

from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax import traverse_util
from flax.core import meta

from cnnjax.errors import UserError
from cnnjax.layers.batch_norm import BatchNorm
from cnnjax.layers.conv import Conv, Dense
from cnnjax.layers.norm import Norm, norm_of
from cnnjax.net.initialize import abstract_variables
from cnnjax.net.observe import Call, observe
from cnnjax.net.stacked import unscan

# How many norms the sentence of a refusal names.
MOST_NAMED = 3


def fold_batch_norm(
    model: nn.Module, variables: Any, input_shape: tuple[int, int, int]
) -> tuple[nn.Module, dict[str, Any]]:
    """The same net without batch norms, and its variables.

    Args:
      model: a net of `create_model` with batch norm.
      variables: {'params': ..., 'batch_stats': ...} of it, without a seed axis.
      input_shape: (height, width, channels) of images that it takes.

    Returns:
      The net with norm 'none', its blocks stored separately, and {'params': ...} in
      NumPy float32 or float64, with collections of the user's own layers as they are.

    Raises:
      UserError: a batch norm does not follow a convolution or dense layer directly, as
        in pre-activation nets and DenseNets: names them.
    """
    if not variables.get("batch_stats"):
        raise UserError("there is nothing to fold: these variables have no batch norm")
    chosen = norm_of(model)
    if chosen is None or chosen.kind != "batch":
        raise UserError(
            f"only nets with a field `norm` of kind 'batch' can be folded, and "
            f"{type(model).__name__} has none: its own batch norms cannot be left out"
        )
    model, variables = unscan(model, variables, input_shape)
    pairs, others = _what_norms_follow(model, input_shape)
    if others:
        named = ", ".join(others[:MOST_NAMED])
        rest = len(others) - MOST_NAMED
        raise UserError(
            f"{len(others)} of {len(others) + len(pairs)} batch norms follow no "
            f"convolution and cannot be folded: {named}"
            + (f" and {rest} more" if rest > 0 else "")
        )
    params = traverse_util.flatten_dict(dict(variables["params"]), sep="/")
    stats = traverse_util.flatten_dict(dict(variables["batch_stats"]), sep="/")
    folded = {path: np.asarray(leaf) for path, leaf in params.items()}
    for norm, layer in pairs.items():
        scale, shift = (folded.pop(f"{norm}/{leaf}") for leaf in ("scale", "bias"))
        mean, var = (np.asarray(stats[f"{norm}/{leaf}"]) for leaf in ("mean", "var"))
        factor = scale / np.sqrt(var + chosen.epsilon)
        bias = folded.get(f"{layer}/bias", np.zeros_like(mean))
        folded[f"{layer}/kernel"] = folded[f"{layer}/kernel"] * factor
        folded[f"{layer}/bias"] = shift + (bias - mean) * factor
    bare = model.clone(norm=Norm("none"))
    _check_names(bare, folded, input_shape)
    gone = ("params", "batch_stats")
    kept = {c: tree for c, tree in variables.items() if c not in gone}
    return bare, {"params": traverse_util.unflatten_dict(folded, sep="/"), **kept}


def _what_norms_follow(
    model: nn.Module, input_shape: tuple[int, int, int]
) -> tuple[dict[str, str], list[str]]:
    """Norm -> the layer whose output it takes as it is; and the norms without one."""
    pairs: dict[str, str] = {}
    others: list[str] = []
    # Traced values of layers are told apart by what they are, not by what is in them;
    # kept alive so that no other value takes their place.
    outputs: list[tuple[jax.Array, str]] = []

    def watch(call: Call):
        if isinstance(call.module, BatchNorm):
            layers = [name for y, name in outputs if y is call.args[0]]
            if layers:
                pairs[call.path] = layers[-1]
            else:
                others.append(call.path)
        output = call.run()
        # No subclass: what it makes of its kernel may not be linear.
        if type(call.module) in (Conv, Dense):
            outputs.append((output, call.path))
        return output

    with observe(watch):
        abstract_variables(model, input_shape)
    return pairs, others


def _check_names(bare: nn.Module, folded: dict, input_shape) -> None:
    """The folded variables must be exactly those of the net without norms."""
    declared = meta.unbox(abstract_variables(bare, input_shape))["params"]
    wanted = traverse_util.flatten_dict(declared, sep="/")
    if wanted.keys() != folded.keys():
        differing = sorted(wanted.keys() ^ folded.keys())[0]
        raise UserError(
            f"this net is another one without its norms: {differing} is in one only"
        )
