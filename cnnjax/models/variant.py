"""What a family file tells the registry about each of its nets."""

import dataclasses
from collections.abc import Callable
from typing import Any

from flax import linen as nn

# Arguments that every net takes from `create_model` itself, not from config.model.
SHARED_ARGUMENTS = ("num_classes", "norm", "act", "dtype")


@dataclasses.dataclass(frozen=True)
class Variant:
    """One entry of the registry.

    Args:
      build: the module class.
      input_shape: (height, width, channels) for which `num_params` was counted.
      num_params: published or independently counted number of parameters.
      source: where `num_params` comes from.
      arguments: values of the class's own arguments that make this entry.
      num_classes: number of classes for which `num_params` was counted.
    """

    build: Callable[..., nn.Module]
    input_shape: tuple[int, int, int]
    num_params: int
    source: str
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    num_classes: int = 10

    def defaults(self) -> dict[str, Any]:
        """Every argument of its own that the net takes, with this entry's value."""
        fields = {
            field.name: field.default
            for field in dataclasses.fields(self.build)
            if field.name not in (*SHARED_ARGUMENTS, "parent", "name")
        }
        return fields | self.arguments
