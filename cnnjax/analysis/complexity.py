"""Multiply-adds of any function, counted on its traced program.

Counting the trace rather than keeping a table by hand is right for every module that a
user writes, and for whatever form a convolution takes (window, dot, im2col).
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax.core import meta
from jax.extend import core

from cnnjax.net.forward import forward_eval
from cnnjax.net.initialize import abstract_variables


def multiply_adds(function: Callable, *args: Any) -> int:
    """Multiply-adds of the convolutions and matrix products in `function(*args)`.

    Padded positions count, as in the published tables; elementwise work does not.

    Args:
      function: anything that JAX can trace.
      *args: arrays, or shapes as `jax.ShapeDtypeStruct`.

    Returns:
      The number for the shapes given: for one image, trace one image.
    """
    return total_products(jax.make_jaxpr(function)(*args).jaxpr)


def model_multiply_adds(
    model: nn.Module, input_shape: tuple[int, ...], declared: Any = None
) -> int:
    """Multiply-adds of one image's forward pass in evaluation.

    Args:
      model: a net of `create_model`.
      input_shape: (height, width, channels).
      declared: what `abstract_variables` gives for it, if already at hand.
    """
    if declared is None:
        declared = abstract_variables(model, input_shape)
    variables = meta.unbox(declared)
    image = jax.ShapeDtypeStruct((1, *input_shape), np.float32)
    return multiply_adds(
        lambda v, x: forward_eval(model, v["params"], _state(v), x), variables, image
    )


def _state(variables: dict[str, Any]) -> dict[str, Any]:
    return {name: tree for name, tree in variables.items() if name != "params"}


def total_products(jaxpr: core.Jaxpr) -> int:
    """Multiply-adds of a traced program."""
    return sum(times * products(e) for e, times in equations(jaxpr))


def equations(jaxpr: core.Jaxpr, times: int = 1) -> Iterator[tuple[core.JaxprEqn, int]]:
    """Every equation that computes something, with how often it runs.

    What calls programs of its own (jit, custom gradients, scans, choices) is walked
    into. Of a choice by platform the plain operation counts: it stands last, and forms
    for other platforms may multiply by zeros. Of any other choice, the
    most expensive branch counts.
    """
    switches = {
        equation.outvars[0]
        for equation in jaxpr.eqns
        if equation.primitive.name == "platform_index"
    }
    for equation in jaxpr.eqns:
        inner = subprograms(equation)
        if equation.primitive.name == "cond":
            by_platform = equation.invars[0] in switches
            inner = [inner[-1] if by_platform else max(inner, key=total_products)]
        if not inner:
            yield equation, times
        repeats = equation.params.get("length", 1) if _is_scan(equation) else 1
        for program in inner:
            yield from equations(program, times * repeats)


def subprograms(equation: core.JaxprEqn) -> list[core.Jaxpr]:
    """The programs that an equation calls: all branches of a choice, in order."""
    if equation.primitive.name == "cond":
        return [branch.jaxpr for branch in equation.params["branches"]]
    found = []
    for name, value in equation.params.items():
        if isinstance(value, core.ClosedJaxpr):
            found.append(value.jaxpr)
        elif isinstance(value, core.Jaxpr) and name != "cond_jaxpr":
            found.append(value)
    return found


def products(equation: core.JaxprEqn) -> int:
    """Multiply-adds of one equation: 0 unless it is a convolution or a dot."""
    name, params = equation.primitive.name, equation.params
    # Any: only abstract values of arrays have a shape.
    inputs: list[Any] = equation.invars
    outputs: list[Any] = equation.outvars
    if name == "conv_general_dilated":
        kernel = inputs[1].aval.shape
        out_channels = kernel[params["dimension_numbers"].rhs_spec[0]]
        return outputs[0].aval.size * math.prod(kernel) // out_channels
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        left = inputs[0].aval.shape
        return outputs[0].aval.size * math.prod(left[i] for i in contracted)
    return 0


def _is_scan(equation: core.JaxprEqn) -> bool:
    return equation.primitive.name == "scan"
