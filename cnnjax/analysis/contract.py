"""How a net uses a batch, as far as training must know, read off its traced program.

Our layers ask `cnnjax.shard` wherever a batch as a whole matters. An ordinary Linen
layer knows the images that it is given; so on several devices, or in micro-batches, its
results are those of the batch only if each image is computed by itself.
"""

import dataclasses
from typing import Any

import jax
import numpy as np
from flax import errors, traverse_util
from flax import linen as nn
from flax.core import meta
from jax.ad_checkpoint import checkpoint_name

from cnnjax.analysis.receptive_field import Field, of_image, propagate
from cnnjax.errors import UserError
from cnnjax.layers.batch_norm import BatchNorm
from cnnjax.layers.dropout import Dropout, StochasticDepth
from cnnjax.layers.norm import norm_of
from cnnjax.net.forward import forward_eval, forward_train
from cnnjax.net.observe import Call, observe

NUM_IMAGES = 2
# Fields are followed along the axis of images; what a random key reaches has this mark.
IMAGES, RANDOM = 0, "random"


@dataclasses.dataclass(frozen=True)
class Findings:
    """Layers that see more of a batch than one image, by their paths; or None.

    They are not ours, but for the last.

    Args:
      mixes: computes an image's output from other images too, in training.
      keeps: keeps statistics of images, and is no batch norm of ours or Flax's.
      draws: draws random numbers, from a key that is the same for every part.
      fixed: a batch norm of ours that the net's field `norm` has not made, so that
        only its running statistics can be evaluated.
    """

    mixes: str | None = None
    keeps: str | None = None
    draws: str | None = None
    fixed: str | None = None

    def of_parts(self) -> str | None:
        """Why a shard would be computed differently: the start of a sentence."""
        if self.mixes:
            return f"layer {self.mixes} computes with all images that it is given"
        if self.keeps:
            return f"layer {self.keeps} keeps statistics of the images it is given"
        if self.draws:
            return f"layer {self.draws} draws random numbers for the images it is given"
        return None


def examine(
    model: nn.Module, declared: Any, image_shape: tuple[int, ...], num_classes: int
) -> Findings:
    """Traces a net in training and in evaluation, as the step and the loop run it.

    Args:
      model: the net.
      declared: of `abstract_variables`.
      image_shape: (height, width, channels).
      num_classes: of the data.

    Raises:
      UserError: the net breaks the contract: logits of another shape, a change of
        variables in evaluation, a random stream that it is not given, and the like.
    """
    variables = dict(meta.unbox(declared))
    params = variables.pop("params", {})
    _require_floats(params)
    images = jax.ShapeDtypeStruct((NUM_IMAGES, *image_shape), np.float32)
    key = jax.eval_shape(lambda: jax.random.key(0))
    try:
        training = _trained(model, params, variables, images, key)
        logits, fields = _evaluated(model, params, variables, images)
    except errors.FlaxError as error:
        raise UserError(_sentence(model, error)) from error
    except NameError as error:
        if "axis" not in str(error):
            raise
        raise UserError(
            f"a layer of {type(model).__name__} names an axis of devices ({error}): "
            "leave that out; in --parallel.mode=jit a layer sees the whole batch"
        ) from error
    except TypeError as error:
        if "carry" not in str(error):
            raise
        raise UserError(
            f"equal blocks of {type(model).__name__} run as one body, and a layer in "
            "them does not give back the shape and type of its input: let it, or set "
            "config.model.scan_blocks to False"
        ) from error
    wanted = (NUM_IMAGES, num_classes)
    if getattr(logits, "shape", None) != wanted or not _is_float(logits):
        raise UserError(
            f"{type(model).__name__} must give logits [images, {num_classes} classes], "
            f"floating point, and gives {jax.tree.map(_text, logits)} for {NUM_IMAGES} "
            "images"
        )
    if _mixes(fields[-1]):
        raise UserError(
            f"layer {_first(fields[0], _mixes, model)} computes with all images of a "
            "batch in evaluation, so that results would depend on eval.batch_size: "
            "let it do so where train is True alone"
        )
    return training


def _trained(model, params, state, images, key) -> Findings:
    flax_norms: set[str] = set()
    fixed: list[str] = []

    def by_image(call: Call):
        """Our layers as they are within one image; Flax's batch norms are noted."""
        if isinstance(call.module, BatchNorm):
            if norm_of(model) is None:
                fixed.append(call.path)
            return _named(call, call.run(train=False))
        if isinstance(call.module, Dropout | StochasticDepth):
            return _named(call, call.args[0])
        if isinstance(call.module, nn.BatchNorm):
            flax_norms.add(call.path)
        return _named(call, call.run())

    def run(params, state, images, key):
        logits, _, new = forward_train(model, params, state, images, key)
        return logits, new

    with observe(by_image):
        program, shapes = jax.make_jaxpr(run, return_shape=True)(
            params, state, images, key
        )
    _require_same(model, state, shapes[1])
    noted, outputs = _fields(program, with_key=True)
    logits, *of_state = outputs
    paths = traverse_util.flatten_dict(shapes[1], sep="/")
    keeps = [
        path.partition("/")[2].rpartition("/")[0]
        for path, field in zip(paths, of_state, strict=True)
        if IMAGES in _seen(field)
    ]
    keeps = [path for path in keeps if path not in flax_norms]
    every = [logits, *of_state]
    return Findings(
        _first(noted, _mixes, model) if _mixes(logits) else None,
        (keeps[0] or type(model).__name__) if keeps else None,
        _first(noted, _is_random, model) if any(map(_is_random, every)) else None,
        fixed[0] if fixed else None,
    )


def _evaluated(model, params, state, images):
    with observe(lambda call: _named(call, call.run())):
        program, logits = jax.make_jaxpr(
            lambda p, s, x: forward_eval(model, p, s, x), return_shape=True
        )(params, state, images)
    noted, outputs = _fields(program, with_key=False)
    return logits, (noted, outputs[0])


def _named(call: Call, output: Any) -> Any:
    return jax.tree.map(lambda y: checkpoint_name(y, call.path), output)


def _fields(program, with_key: bool) -> tuple[dict[str, Field], list[Field]]:
    """Fields of named values, and of outputs, along the axis of images."""
    noted: dict[str, Field] = {}
    given = [of_image(4, spatial=(IMAGES,))]
    if with_key:
        given.append(Field((), {RANDOM: (0, 0)}))
    variables = program.jaxpr.invars[: -len(given)]
    inputs = [Field((None,) * len(v.aval.shape), {}) for v in variables]
    return noted, propagate(program.jaxpr, [*inputs, *given], noted)


def _seen(field: Field) -> set:
    return set(field.mixed) | {span.axis for span in field.spans if span}


def _mixes(field: Field) -> bool:
    """Whether a value depends on more images than one."""
    spans = [span for span in field.spans if span]
    return IMAGES in field.mixed or any(span.size > 1 for span in spans)


def _is_random(field: Field) -> bool:
    return RANDOM in field.mixed


def _first(noted: dict[str, Field], holds, model) -> str:
    """The innermost layer, the first in the order of execution, of which this holds."""
    found = (path for path, field in noted.items() if holds(field))
    return next(found, "") or type(model).__name__


def _require_floats(params) -> None:
    for path, leaf in traverse_util.flatten_dict(params, sep="/").items():
        if not _is_float(leaf):
            raise UserError(
                f"parameter {path} is of type {leaf.dtype}, which has no gradient: "
                "keep it in another collection than 'params' (self.variable)"
            )


def _require_same(model, state, new) -> None:
    """A step must leave the collections as it found them, but for their values."""
    old, new = (jax.tree.map(_text, dict(tree)) for tree in (state, new))
    if old != new:
        raise UserError(
            f"a training step of {type(model).__name__} turns the collections {old} "
            f"into {new}: names, shapes and types of variables must stay"
        )


def _is_float(leaf: Any) -> bool:
    return bool(jax.numpy.issubdtype(leaf.dtype, jax.numpy.floating))


def _text(leaf: Any) -> str:
    return f"{leaf.dtype}{list(leaf.shape)}"


def _sentence(model: nn.Module, error: Exception) -> str:
    """What Flax says, in one sentence with what our loop gives."""
    reason = str(error).partition("\n")[0].partition(" (https")[0].rstrip(". ")
    return (
        f"{type(model).__name__} cannot be trained: {reason}; initial values are made "
        "with train=False, training gives the random stream 'dropout' and collections "
        "that may change, evaluation neither"
    )
