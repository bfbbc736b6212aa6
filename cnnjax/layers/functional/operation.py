"""Operations with fast code and derivatives of their own, in both modes and any order.

`jax.custom_vjp` forbids forward mode, and the transpose that `jax.custom_jvp` derives
is slow for a convolution. So an operation here states how it is computed, its tangents
and its transpose, each by means of operations, and one primitive of JAX carries them
all. Programs that read a traced network (`cnnjax.analysis`) see the plain form of each,
which is the parameter `plain` of its equation.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.core import ClosedJaxpr, Primitive
from jax.interpreters import ad, batching, mlir

Arrays = tuple[jax.Array, ...]
Maybe = Sequence[Any]  # an array, or None where a tangent or cotangent is zero


class Operation(Protocol):
    """A pure function of arrays; hashable, as a part of the traced program."""

    @property
    def plain(self) -> Callable[..., Arrays]:
        """(*args) -> results, by plain operations of JAX, on any platform."""

    @property
    def on_cpu(self) -> Callable[..., Arrays]:
        """(*args) -> the same results, by what is fast on CPU."""

    @property
    def tangents(self) -> Callable[[Arrays, Arrays, Maybe], Maybe]:
        """(args, results, tangents of args) -> tangents of the results."""


class LinearOperation(Operation, Protocol):
    """One that is linear in some of its arguments."""

    @property
    def transposed(self) -> Callable[[Maybe, Maybe], Maybe]:
        """(args, cotangents of the results) -> cotangents of the unknown arguments.

        It is linear in these, which `is_unknown` tells; those of others are None.
        """


def apply(operation: Operation, *args: jax.Array) -> Arrays:
    """The results of an operation; they can be differentiated and batched."""
    plain = jax.make_jaxpr(operation.plain)(*args)
    return tuple(_operation.bind(*args, operation=operation, plain=plain))


def is_unknown(arg: Any) -> bool:
    """Whether an argument of `Operation.transposed` is asked for, and has no value."""
    return ad.is_undefined_primal(arg)


@dataclasses.dataclass(frozen=True)
class _Batched:
    """An operation over a leading axis of some of its arguments."""

    operation: Any  # linear, if it is ever transposed
    axes: tuple[int | None, ...]  # of the arguments: 0 or None

    def plain(self, *args):
        return jax.vmap(self.operation.plain, self.axes)(*args)

    def on_cpu(self, *args):
        return jax.vmap(self.operation.on_cpu, self.axes)(*args)

    def tangents(self, args, results, tangents):
        zero_axes = jax.tree.map(lambda _: 0, results)
        return jax.vmap(self.operation.tangents, (self.axes, zero_axes, self.axes))(
            args, results, tuple(tangents)
        )

    def transposed(self, args, cotangents):
        known = [None if is_unknown(arg) else arg for arg in args]
        inner = [_one(arg, axis) for arg, axis in zip(args, self.axes, strict=True)]

        def transposed(known, cotangents):
            own = [u if k is None else k for u, k in zip(inner, known, strict=True)]
            return tuple(self.operation.transposed(own, cotangents))

        axes = [None if k is None else a for k, a in zip(known, self.axes, strict=True)]
        found = jax.vmap(transposed, (axes, 0))(known, list(cotangents))
        return [
            # One argument for the whole batch has the sum of what each gives.
            of.sum(0) if of is not None and axis is None else of
            for of, axis in zip(found, self.axes, strict=True)
        ]


def _one(arg, axis):
    """The unknown of one example."""
    if not is_unknown(arg) or axis is None:
        return arg
    return ad.UndefinedPrimal(arg.aval.update(shape=arg.aval.shape[1:]))


_operation = Primitive("cnnjax_operation")
_operation.multiple_results = True


def _at_once(*args, operation: Operation, plain: ClosedJaxpr):
    return lax.platform_dependent(*args, cpu=operation.on_cpu, default=operation.plain)


def _tangents(args, tangents, *, operation: Operation, plain: ClosedJaxpr):
    results = _operation.bind(*args, operation=operation, plain=plain)
    given = [None if type(t) is ad.Zero else t for t in tangents]
    of_results = operation.tangents(args, tuple(results), given)
    return results, [
        ad.Zero(jax.typeof(result).to_tangent_aval()) if tangent is None else tangent
        for result, tangent in zip(results, of_results, strict=True)
    ]


def _transposed(cotangents, *args, operation: LinearOperation, plain: ClosedJaxpr):
    given = [None if type(ct) is ad.Zero else ct for ct in cotangents]
    return list(operation.transposed(args, given))


def _batched(args, axes, *, operation: Operation, plain: ClosedJaxpr):
    first = [
        arg if axis is None else jnp.moveaxis(arg, axis, 0)
        for arg, axis in zip(args, axes, strict=True)
    ]
    placed = tuple(None if axis is None else 0 for axis in axes)
    results = apply(_Batched(operation, placed), *first)
    return results, [0] * len(results)


_operation.def_impl(_at_once)
_operation.def_abstract_eval(lambda *_, operation, plain: plain.out_avals)
ad.primitive_jvps[_operation] = _tangents
ad.primitive_transposes[_operation] = _transposed
batching.primitive_batchers[_operation] = _batched
mlir.register_lowering(
    _operation,
    mlir.lower_fun(lambda *args, operation, plain: operation.plain(*args)),
)
mlir.register_lowering(
    _operation,
    mlir.lower_fun(lambda *args, operation, plain: operation.on_cpu(*args)),
    platform="cpu",
)
