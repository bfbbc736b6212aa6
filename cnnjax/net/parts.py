"""The convolutions and the blocks of a net: found, measured, left out.

Blocks run one by one here, each under its own name, however the net executes them.
"""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from cnnjax.layers.batch_norm import BatchNorm
from cnnjax.layers.group_norm import ChannelNorm, GroupNorm
from cnnjax.layers.init import Declared
from cnnjax.layers.norm import norm_of
from cnnjax.models.blocks.residual import Add, ResidualBlock
from cnnjax.net.execution import unscanned
from cnnjax.net.forward import forward_eval
from cnnjax.net.initialize import abstract_variables
from cnnjax.net.observe import Call, observe
from cnnjax.net.stacked import unscan

NORMS: tuple[type, ...] = (BatchNorm, GroupNorm, ChannelNorm)
NORMS += (nn.BatchNorm, nn.GroupNorm, nn.InstanceNorm, nn.LayerNorm, nn.RMSNorm)
# Children of blocks whose convolutions lie beside the path from image to logits.
BESIDE = ("shortcut", "gate_conv", "squeeze_excite")


@dataclasses.dataclass(frozen=True)
class Layer:
    """A convolution on the path from image to logits.

    Attributes:
      path: of the module, such as 'stage1_block2/conv1'.
      window: height and width of its filters.
      output: what it computes.
      normed: what the norm directly after it makes of that; None if there is none.
    """

    path: str
    window: tuple[int, int]
    output: Any
    normed: Any = None


def norms_of(model: nn.Module) -> tuple[type, ...]:
    """Classes of what normalizes in a net: ours, Flax's, and its own kind.

    Local response normalization and none at all are no such layers.
    """
    norm = norm_of(model)
    if norm is None or norm.kind in ("local_response", "none"):
        return NORMS
    return (*NORMS, type(norm.module()))


def is_convolution(module: nn.Module, output: Any) -> bool:
    """Whether a layer, ours or not, has filters `kernel` [h, w, in, out]."""
    kernel: Any = module.variables.get("params", {}).get("kernel")
    return getattr(kernel, "ndim", 0) == 4 and kernel.shape[-1] == output.shape[-1]


def layers_of(
    model: nn.Module, params: Any, model_state: Any, images: jax.Array
) -> list[Layer]:
    """The convolutions of a net in the order of execution, with what they compute.

    Args:
      model: a net of `create_model`.
      params: its parameters.
      model_state: its other collections.
      images: float [N, H, W, C]; evaluated, not trained on.
    """
    layers: list[Layer] = []
    record = _recording(layers, norms_of(model))
    _observed(model, params, model_state, images, record)
    return layers


def _recording(layers: list[Layer], norms: tuple[type, ...]) -> Callable:
    """What adds the convolutions that it observes to a list."""

    def record(call: Call):
        output = call.run()
        if is_convolution(call.module, output):
            if not set(call.module.path) & set(BESIDE):
                window = call.module.variables["params"]["kernel"].shape[:2]
                layers.append(Layer(call.path, window, output))
        elif (
            isinstance(call.module, norms)
            and layers
            and call.args[0] is layers[-1].output
        ):
            layers[-1] = dataclasses.replace(layers[-1], normed=output)
        return output

    return record


def layers_of_shape(
    model: nn.Module, image_shape: tuple[int, ...]
) -> tuple[Layer, ...]:
    """`layers_of` with shapes in place of arrays; nothing is computed."""
    return _parts_of(model, image_shape)[0]


def blocks_of(model: nn.Module, image_shape: tuple[int, ...]) -> tuple[str, ...]:
    """Names of the residual blocks, and of their plain twins, that keep the shape."""
    return _parts_of(model, image_shape)[1]


@functools.lru_cache(maxsize=32)
def _parts_of(
    model: nn.Module, image_shape: tuple[int, ...]
) -> tuple[tuple[Layer, ...], tuple[str, ...]]:
    """Layers and blocks, in one trace: for a deep net it takes half a second."""
    found: list[Layer] = []
    names: list[str] = []

    def run(net, params, model_state, images):
        layers: list[Layer] = []
        record_layer = _recording(layers, norms_of(net))

        def record(call: Call):
            output = record_layer(call)
            is_block = isinstance(call.module, ResidualBlock)
            if is_block and output.shape == call.args[0].shape:
                names.append(call.path)
            return output

        _observed(net, params, model_state, images, record)
        for layer in layers:
            output, normed = jax.eval_shape(lambda *x: x, layer.output, layer.normed)
            found.append(dataclasses.replace(layer, output=output, normed=normed))

    _trace(model, image_shape, run)
    return tuple(found), tuple(names)


def forward_without(
    model: nn.Module,
    params: Any,
    model_state: Any,
    images: jax.Array,
    block: jax.Array,
    blocks: tuple[str, ...],
    forward: Callable = forward_eval,
) -> jax.Array:
    """Logits of an evaluation without the residual branch of one block.

    Of the addition its shortcut remains, and the activation after it stays. Of a plain
    twin the whole block is left out: its output is its input.

    Args:
      model: a net of `create_model`.
      params: its parameters.
      model_state: its other collections.
      images: float [N, H, W, C].
      block: index into `blocks`, may be traced; len(blocks) leaves the net whole.
      blocks: of `blocks_of`.
      forward: the pass, with the arguments of `forward_eval`.

    Source: Veit et al. 2016, arXiv 1605.06431, section 4.1.
    """

    def leave_out(call: Call):
        output = call.run()
        if isinstance(call.module, Add):
            name, (_, rest) = call.path.rpartition("/")[0], call.args
        elif isinstance(call.module, ResidualBlock) and not call.module.adds:
            name, (rest,) = call.path, call.args
        else:
            return output
        if name not in blocks:
            return output
        return jnp.where(block == blocks.index(name), rest, output)

    return _observed(model, params, model_state, images, leave_out, forward)


def _observed(model, params, model_state, images, around, forward=forward_eval):
    """A forward pass with the blocks one by one, observed by `around`."""
    weights = params, model_state
    model, (params, model_state) = unscan(model, weights, images.shape[1:])
    with observe(around):
        return forward(model, params, model_state, images)


def _trace(model: nn.Module, image_shape: tuple[int, ...], function: Callable) -> None:
    """Calls function(model, params, model_state, images) with shapes alone."""
    model = unscanned(model)
    variables = jax.tree.map(
        lambda leaf: leaf.value,
        dict(abstract_variables(model, image_shape)),
        is_leaf=lambda leaf: isinstance(leaf, Declared),
    )
    params = variables.pop("params")
    # Two images: some norms take no statistic of one.
    images = jax.ShapeDtypeStruct((2, *image_shape), jnp.float32)

    def run(*args):
        function(model, *args)

    jax.eval_shape(run, params, variables, images)
