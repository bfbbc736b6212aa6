"""What part of the image each value of a traced program can depend on.

A span says that position i along an axis of an array depends on the positions
step * i + low to step * i + high of one axis of the image. Every operation maps spans
to spans, so the receptive field follows from the program itself, whatever modules it
was written with. What an operation mixes in another way is said to depend on all that
its inputs depend on.

Source: Araujo et al. 2019, "Computing receptive fields of convolutional neural
networks", Distill, for chains of layers; here for any graph.
"""

import dataclasses
import math
from collections.abc import Callable, Sequence

from jax.extend import core

from cnnjax.analysis.complexity import subprograms

# image axis -> (first, last) position; a mark of the caller, of no axis -> (0, 0)
Mixed = dict[int | str, tuple[int, int]]


@dataclasses.dataclass(frozen=True)
class Span:
    """Along one axis of an array: which image axis it is, and what position i sees."""

    axis: int
    step: int
    low: int
    high: int

    @property
    def size(self) -> int:
        return self.high - self.low + 1

    def through(self, window: int, stride: int, pad: int, dilation: int) -> "Span":
        """Behind a sliding window."""
        low = self.low - pad * self.step
        high = self.high + ((window - 1) * dilation - pad) * self.step
        return Span(self.axis, self.step * stride, low, high)

    def whole(self, count: int) -> tuple[int, int]:
        """What all `count` positions see together."""
        return self.low, self.high + self.step * (count - 1)


@dataclasses.dataclass(frozen=True)
class Field:
    """What an array depends on.

    Args:
      spans: per axis of the array a Span, or None where it is no axis of the image.
      mixed: image axis -> (first, last) position that every value depends on.
    """

    spans: tuple[Span | None, ...]
    mixed: Mixed

    @property
    def is_constant(self) -> bool:
        return not self.mixed and not any(self.spans)


def of_image(rank: int, spatial: Sequence[int] = (1, 2)) -> Field:
    """The image itself: each pixel depends on itself."""
    spans: list[Span | None] = [None] * rank
    for axis, position in enumerate(spatial):
        spans[position] = Span(axis, 1, 0, 0)
    return Field(tuple(spans), {})


def propagate(
    jaxpr: core.Jaxpr,
    inputs: Sequence[Field],
    noted: dict[str, Field],
    observe: Callable | None = None,
    where: str = "",
) -> list[Field]:
    """Fields of a program's outputs from those of its inputs.

    Args:
      jaxpr: a traced program.
      inputs: one for each of its inputs.
      noted: filled with the fields of the values that the program names
        (`jax.ad_checkpoint.checkpoint_name`), by name.
      observe: called with (where, equation, fields of its inputs, of its outputs) in
        the order of execution.
      where: the scopes around the program, as JAX names them.
    """
    known = dict(zip(jaxpr.invars, inputs, strict=True))

    def field(variable) -> Field:
        if isinstance(variable, core.Literal) or variable not in known:
            return Field((None,) * len(variable.aval.shape), {})
        return known[variable]

    for equation in jaxpr.eqns:
        given = [field(v) for v in equation.invars]
        here = f"{where}/{equation.source_info.name_stack}" if observe else ""
        outputs = _through(equation, given, noted, observe, here)
        if observe:
            observe(here, equation, given, outputs)
        known.update(zip(equation.outvars, outputs, strict=True))
        if equation.primitive.name == "name":
            noted[equation.params["name"]] = outputs[0]
    return [field(variable) for variable in jaxpr.outvars]


def _through(equation, inputs, *watching) -> list[Field]:
    if all(field.is_constant for field in inputs):
        return [Field((None,) * len(v.aval.shape), {}) for v in equation.outvars]
    name = equation.primitive.name
    if name in _RULES:
        return [_RULES[name](equation, inputs)]
    if name == "scan":
        return _scanned(equation, inputs, *watching)
    programs = subprograms(equation)
    if name == "cond":  # the first input chooses; the last branch is the plain one
        return propagate(programs[-1], inputs[1:], *watching)
    if programs and len(programs[0].invars) == len(inputs):
        return propagate(programs[0], inputs, *watching)
    if name.startswith("reduce_") and "axes" in equation.params:
        return [_reduced(equation, inputs)]
    shapes = [v.aval.shape for v in equation.invars]
    outputs = [v.aval.shape for v in equation.outvars]
    if name not in _MIXING and all(
        _fits(shape, out) for shape in shapes for out in outputs
    ):
        return [_merged(inputs, equation.invars, out) for out in outputs]
    return [_mixed(inputs, equation.invars, len(out)) for out in outputs]


def _fits(shape, out) -> bool:
    """Whether an operand of this shape goes element by element into the output."""
    if not shape:
        return True
    return len(shape) == len(out) and all(
        size in (1, o) for size, o in zip(shape, out, strict=True)
    )


def _scanned(equation, inputs, *watching) -> list[Field]:
    """Runs the body as often as the scan does; stacked inputs lose an axis in it."""
    (body,) = subprograms(equation)
    # Constants, carry, stacked inputs; told apart by shape, because JAX's own record of
    # their numbers changes from version to version.
    num_carry = _num_equal(equation.outvars, body.outvars)
    num_stacked = len(inputs) - _num_equal(equation.invars, body.invars)
    first = len(inputs) - num_stacked
    constants, carry = inputs[: first - num_carry], inputs[first - num_carry : first]
    slices = [Field(f.spans[1:], f.mixed) for f in inputs[first:]]
    stacked: list[Field] = []
    for _ in range(equation.params["length"]):
        outputs = propagate(body, [*constants, *carry, *slices], *watching)
        carry, stacked = outputs[:num_carry], outputs[num_carry:]
    return [*carry, *(Field((None, *f.spans), f.mixed) for f in stacked)]


def _num_equal(outer, inner) -> int:
    """How many values have the same shape outside and inside of a scan."""
    pairs = zip(outer, inner, strict=True)
    return sum(a.aval.shape == b.aval.shape for a, b in pairs)


def _union(*ranges: Mixed) -> Mixed:
    total: Mixed = {}
    for each in ranges:
        for axis, (low, high) in each.items():
            old = total.get(axis, (low, high))
            total[axis] = min(old[0], low), max(old[1], high)
    return total


def _all_of(field: Field, shape, axes) -> Mixed:
    """What the positions along some axes of an array see together."""
    ranges: list[Mixed] = [
        {s.axis: s.whole(shape[a])} for a in axes if (s := field.spans[a])
    ]
    return _union(*ranges)


def _mixed(inputs, variables, rank: int) -> Field:
    """Every value depends on everything."""
    parts = [field.mixed for field in inputs]
    for field, variable in zip(inputs, variables, strict=True):
        shape = variable.aval.shape
        parts.append(_all_of(field, shape, range(len(shape))))
    return Field((None,) * rank, _union(*parts))


def _merged(inputs, variables, shape) -> Field:
    """Element by element: at each axis, what any of the operands sees."""
    mixed = [field.mixed for field in inputs]
    spans: list[Span | None] = []
    for a, size in enumerate(shape):
        found = []
        for field, variable in zip(inputs, variables, strict=True):
            if not variable.aval.shape or not field.spans[a]:
                continue
            if variable.aval.shape[a] == size:
                found.append(field.spans[a])
            else:  # one position for all
                mixed.append(_all_of(field, variable.aval.shape, [a]))
        if len({(s.axis, s.step) for s in found}) > 1:
            return _mixed(inputs, variables, len(shape))
        if not found:
            spans.append(None)
            continue
        low, high = min(s.low for s in found), max(s.high for s in found)
        spans.append(Span(found[0].axis, found[0].step, low, high))
    return Field(tuple(spans), _union(*mixed))


def _reduced(equation, inputs) -> Field:
    """Sums, maxima and the like over some axes."""
    (field, *_), shape = inputs, equation.invars[0].aval.shape
    axes = equation.params["axes"]
    spans = tuple(s for a, s in enumerate(field.spans) if a not in axes)
    return Field(spans, _union(field.mixed, _all_of(field, shape, axes)))


def _convolved(equation, inputs) -> Field:
    field, kernel = inputs
    params = equation.params
    numbers = params["dimension_numbers"]
    if any(d != 1 for d in params["lhs_dilation"]) or not kernel.is_constant:
        return _mixed(inputs, equation.invars, len(field.spans))
    window = equation.invars[1].aval.shape
    spans: list[Span | None] = [None] * len(field.spans)
    spans[numbers.out_spec[0]] = field.spans[numbers.lhs_spec[0]]
    for i, (a, out) in enumerate(
        zip(numbers.lhs_spec[2:], numbers.out_spec[2:], strict=True)
    ):
        if field.spans[a]:
            spans[out] = field.spans[a].through(
                window[numbers.rhs_spec[2 + i]],
                params["window_strides"][i],
                params["padding"][i][0],
                params["rhs_dilation"][i],
            )
    channels = _all_of(field, equation.invars[0].aval.shape, numbers.lhs_spec[1:2])
    return Field(tuple(spans), _union(field.mixed, channels))


def _pooled(equation, inputs) -> Field:
    field, params = inputs[0], equation.params
    settings = zip(
        params["window_dimensions"],
        params["window_strides"],
        (low for low, _ in params["padding"]),
        params["window_dilation"],
        strict=True,
    )
    spans = [
        s and s.through(*each) for s, each in zip(field.spans, settings, strict=True)
    ]
    return Field(tuple(spans), field.mixed)


def _padded(equation, inputs) -> Field:
    field = inputs[0]
    config = equation.params["padding_config"]
    if any(inner for s, (*_, inner) in zip(field.spans, config, strict=True) if s):
        return _mixed(inputs, equation.invars, len(field.spans))
    spans = [
        s and s.through(1, 1, low, 1)
        for s, (low, *_) in zip(field.spans, config, strict=True)
    ]
    return Field(tuple(spans), field.mixed)


def _sliced(equation, inputs) -> Field:
    field, params = inputs[0], equation.params
    strides = params["strides"] or (1,) * len(field.spans)
    spans = [
        s and s.through(1, stride, -start, 1)
        for s, start, stride in zip(
            field.spans, params["start_indices"], strides, strict=True
        )
    ]
    return Field(tuple(spans), field.mixed)


def _joined(equation, inputs) -> Field:
    """A concatenation: element by element but along its own axis."""
    axis = equation.params["dimension"]
    along = [
        _all_of(f, v.aval.shape, [axis])
        for f, v in zip(inputs, equation.invars, strict=True)
    ]
    flat = [dataclasses.replace(f, spans=_without(f.spans, axis)) for f in inputs]
    merged = _merged(flat, equation.invars, equation.outvars[0].aval.shape)
    return Field(merged.spans, _union(merged.mixed, *along))


def _without(spans, axis: int) -> tuple[Span | None, ...]:
    return tuple(None if a == axis else s for a, s in enumerate(spans))


def _multiplied(equation, inputs) -> Field:
    """A product of matrices: contracted axes are mixed, the others keep their spans."""
    (contracted, batched) = equation.params["dimension_numbers"]
    spans: list[Span | None] = [inputs[0].spans[a] for a in batched[0]]
    mixed = [field.mixed for field in inputs]
    for side in (0, 1):
        field, shape = inputs[side], equation.invars[side].aval.shape
        gone = {*contracted[side], *batched[side]}
        spans += [s for a, s in enumerate(field.spans) if a not in gone]
        mixed.append(_all_of(field, shape, contracted[side]))
    return Field(tuple(spans), _union(*mixed))


def _broadcast(equation, inputs) -> Field:
    field, params = inputs[0], equation.params
    old = equation.invars[0].aval.shape
    spans: list[Span | None] = [None] * len(params["shape"])
    stretched = []
    for a, out in enumerate(params["broadcast_dimensions"]):
        if old[a] == params["shape"][out]:
            spans[out] = field.spans[a]
        else:
            stretched.append(a)
    return Field(tuple(spans), _union(field.mixed, _all_of(field, old, stretched)))


def _reshaped(equation, inputs) -> Field:
    """An axis survives where as many values lie before it as before, and as many in it.

    A map of one position gives its span up: there is nothing left to slide over.
    """
    field = inputs[0]
    old, new = equation.invars[0].aval.shape, equation.outvars[0].aval.shape
    if old == new:
        return field
    places = {(_before(new, b), size): b for b, size in enumerate(new) if size > 1}
    spans: list[Span | None] = [None] * len(new)
    lost = []
    for a, span in enumerate(field.spans):
        place = places.get((_before(old, a), old[a]))
        if place is None:
            lost.append(a)
        elif span:
            spans[place] = span
    return Field(tuple(spans), _union(field.mixed, _all_of(field, old, lost)))


def _before(shape, axis: int) -> int:
    return math.prod(shape[:axis])


def _transposed(equation, inputs) -> Field:
    order = equation.params["permutation"]
    return Field(tuple(inputs[0].spans[a] for a in order), inputs[0].mixed)


def _squeezed(equation, inputs) -> Field:
    field, axes = inputs[0], equation.params["dimensions"]
    spans = tuple(s for a, s in enumerate(field.spans) if a not in axes)
    gone = _all_of(field, equation.invars[0].aval.shape, axes)
    return Field(spans, _union(field.mixed, gone))


# Operations that move values along an axis although the shape stays.
_MIXING = {"fft", "sort", "rev", "cumsum", "cumprod", "cummax", "cummin"}
_MIXING |= {"cumlogsumexp", "while", "ffi_call", "pure_callback", "custom_call"}
_MIXING |= {"gather", "scatter", "scatter-add", "dynamic_update_slice", "top_k"}

_RULES = {
    "conv_general_dilated": _convolved,
    "reduce_window_max": _pooled,
    "reduce_window_sum": _pooled,
    "reduce_window_min": _pooled,
    "pad": _padded,
    "slice": _sliced,
    "concatenate": _joined,
    "dot_general": _multiplied,
    "broadcast_in_dim": _broadcast,
    "reshape": _reshaped,
    "transpose": _transposed,
    "squeeze": _squeezed,
}
