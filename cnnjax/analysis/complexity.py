"""Multiply-adds of any function, counted on its traced program.

Counting the trace rather than keeping a table by hand is right for every module that a
user writes, and for whatever form a convolution takes (window, dot, im2col).
"""

import math
from collections.abc import Callable
from typing import Any

import jax
from jax.extend import core


def multiply_adds(function: Callable, *args: Any) -> int:
    """Multiply-adds of the convolutions and matrix products in `function(*args)`.

    Padded positions count, as in the published tables; elementwise work does not.

    Args:
      function: anything that JAX can trace.
      *args: arrays or `jax.ShapeDtypeStruct`s.

    Returns:
      The number for the shapes given: for one image, trace one image.
    """
    return _count(jax.make_jaxpr(function)(*args).jaxpr)


def _count(jaxpr: core.Jaxpr) -> int:
    switches = {
        equation.outvars[0]
        for equation in jaxpr.eqns
        if equation.primitive.name == "platform_index"
    }
    return sum(_count_equation(equation, switches) for equation in jaxpr.eqns)


def _count_equation(equation: core.JaxprEqn, switches: set) -> int:
    name, params = equation.primitive.name, equation.params
    if name == "conv_general_dilated":
        kernel = equation.invars[1].aval.shape
        out_channels = kernel[params["dimension_numbers"].rhs_spec[0]]
        return equation.outvars[0].aval.size * math.prod(kernel) // out_channels
    if name == "dot_general":
        (contracted, _), _ = params["dimension_numbers"]
        left = equation.invars[0].aval.shape
        return equation.outvars[0].aval.size * math.prod(left[i] for i in contracted)
    if name == "cond" and equation.invars[0] in switches:
        # A choice by platform: the last branch is the default, the plain operation;
        # forms for other platforms may multiply by zeros that do not count.
        return _count(params["branches"][-1].jaxpr)
    if name == "cond":
        return max(_count(branch.jaxpr) for branch in params["branches"])
    inner = sum(_count(sub) for sub in _subprograms(equation))
    return inner * params.get("length", 1) if name == "scan" else inner


def _subprograms(equation: core.JaxprEqn) -> list[core.Jaxpr]:
    found = []
    for name, value in equation.params.items():
        if isinstance(value, core.ClosedJaxpr):
            found.append(value.jaxpr)
        elif isinstance(value, core.Jaxpr) and name != "cond_jaxpr":
            found.append(value)
    return found
