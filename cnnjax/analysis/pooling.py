"""Pooling that a net writes as a function, such as `nn.max_pool(x, ...)` or `x.mean`.

A module of ours has a row of the profile by its name; a function has none, so it is
found among the operations of the traced program.
"""

import dataclasses
import math
import re

from cnnjax.analysis.receptive_field import Field

WINDOWS = {
    "reduce_window_max": "max_pool",
    "reduce_window_min": "min_pool",
    "reduce_window_sum": "avg_pool",
}
# Over a whole map. A mean is a sum, divided.
WHOLE = {"reduce_max": "global_max_pool", "reduce_sum": "global_avg_pool"}


@dataclasses.dataclass(frozen=True)
class Pooled:
    """One pooling operation.

    Args:
      module: path of the module that calls it.
      kind: a value of `WINDOWS` or `WHOLE`.
      output: shape with the batch axis.
      operations: values that its windows look at.
      field: of its output.
      behind: how many modules had ended before.
    """

    module: str
    kind: str
    output: tuple[int, ...]
    operations: int
    field: Field
    behind: int


class Pooling:
    """Watches a program, as `observe` of `receptive_field.propagate`.

    A sum over a map that meets a map again is a statistic of a norm or a gate, as of
    squeeze and excitation, and no pooling. So each leaves a mark in what depends on it.
    """

    def __init__(self):
        self.ended: list[str] = []
        self._found: list[Pooled] = []
        self._refuted: set[str] = set()

    def __call__(self, where: str, equation, inputs, outputs) -> None:
        name = equation.primitive.name
        if name == "name":
            self.ended.append(equation.params["name"])
        for field in outputs:
            if sum(span is not None for span in field.spans) == 2:
                self._refuted |= {m for m in field.mixed if isinstance(m, str)}
        operations = _operations(equation, inputs)
        if not operations:
            return
        marks = re.findall(r"<([^<>]*)>", where)
        kind = (WINDOWS | WHOLE)[name]
        output, field = equation.outvars[0].aval.shape, outputs[0]
        if name in WHOLE:
            field.mixed[_mark(len(self._found))] = (0, 0)
        self._found.append(
            Pooled(
                marks[-1] if marks else "",
                kind,
                output,
                operations,
                field,
                len(self.ended),
            )
        )

    def found(self) -> list[Pooled]:
        """In the order of execution."""
        return [
            each
            for number, each in enumerate(self._found)
            if _mark(number) not in self._refuted
        ]


def _mark(number: int) -> str:
    return f"pool {number}"


def _operations(equation, inputs) -> int:
    """Values that the windows of a pooling look at; 0 if it is none."""
    name, params = equation.primitive.name, equation.params
    if name not in WINDOWS and name not in WHOLE:
        return 0
    of_map = [axis for axis, span in enumerate(inputs[0].spans) if span]
    if len(of_map) != 2:
        return 0
    if name in WHOLE:
        whole = tuple(params["axes"]) == tuple(of_map)
        return math.prod(equation.invars[0].aval.shape) if whole else 0
    window, strides = params["window_dimensions"], params["window_strides"]
    if all(window[axis] == strides[axis] == 1 for axis in of_map):
        return 0  # along channels, as local response normalization
    return math.prod(equation.outvars[0].aval.shape) * math.prod(window)
