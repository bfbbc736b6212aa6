"""Which pixels of the image each position of each module's output can depend on."""

import dataclasses
from typing import Any

import jax
import numpy as np
from flax import linen as nn
from flax.core import meta
from jax.ad_checkpoint import checkpoint_name

from cnnjax.analysis.receptive_field import Field, of_image, propagate
from cnnjax.net.execution import unscanned
from cnnjax.net.forward import forward_eval
from cnnjax.net.initialize import abstract_variables
from cnnjax.net.observe import Call, observe


@dataclasses.dataclass(frozen=True)
class Place:
    """The output of a module, for one image.

    Args:
      path: of the module, such as 'stage1_block2'.
      shape: (height, width, channels), or (features,).
      field: what it depends on.
      image_size: (height, width) of the image.
      calls: how often the module is called; the last call counts.
    """

    path: str
    shape: tuple[int, ...]
    field: Field
    image_size: tuple[int, int]
    calls: int

    @property
    def is_map(self) -> bool:
        """Whether it has positions: (height, width, channels), more than one."""
        return len(self.shape) == 3 and self.shape[0] * self.shape[1] > 1

    def window(self, row: int, column: int) -> tuple[tuple[int, int], tuple[int, int]]:
        """((first, last) row, (first, last) column) of the image behind a position.

        May begin before the image or end behind it, where there is padding. Of a vector
        it is what every feature depends on.
        """
        return self._along(0, row), self._along(1, column)

    def _along(self, axis: int, position: int) -> tuple[int, int]:
        ranges = [self.field.mixed[axis]] if axis in self.field.mixed else []
        for span in self.field.spans:
            if span and span.axis == axis:
                start = span.step * position
                ranges.append((span.low + start, span.high + start))
        if not ranges:
            return 0, self.image_size[axis] - 1
        return min(low for low, _ in ranges), max(high for _, high in ranges)

    @property
    def extent(self) -> tuple[int, int]:
        """Rows and columns of the receptive field."""
        windows = self.window(0, 0)
        return windows[0][1] - windows[0][0] + 1, windows[1][1] - windows[1][0] + 1


def places_of(model: nn.Module, image_shape: tuple[int, ...]) -> dict[str, Place]:
    """The outputs of all modules that an evaluation calls, in the order of execution.

    Args:
      model: a net of `create_model`; blocks run one by one, even if it scans them.
      image_shape: (height, width, channels).

    Returns:
      Path -> place; the net itself is ''.
    """
    model = unscanned(model)
    variables: Any = dict(meta.unbox(abstract_variables(model, tuple(image_shape))))
    params = variables.pop("params", {})
    image = jax.ShapeDtypeStruct((1, *image_shape), np.float32)
    shapes: dict[str, tuple[int, ...]] = {}
    counts: dict[str, int] = {}

    def around(call: Call):
        output = call.run()
        shapes.pop(call.path, None)
        shapes[call.path] = jax.tree.leaves(output)[0].shape[1:]
        counts[call.path] = counts.get(call.path, 0) + 1
        return jax.tree.map(lambda y: checkpoint_name(y, call.path), output)

    with observe(around):
        traced = jax.make_jaxpr(lambda p, s, x: forward_eval(model, p, s, x))(
            params, variables, image
        )
    constants = [Field((None,) * len(v.aval.shape), {}) for v in traced.jaxpr.invars]
    fields: dict[str, Field] = {}
    propagate(traced.jaxpr, [*constants[:-1], of_image(rank=4)], fields)
    height, width = image_shape[:2]
    return {
        path: Place(path, shape, fields[path], (height, width), counts[path])
        for path, shape in shapes.items()
    }
