"""What a family file tells the registry about each of its nets."""

import dataclasses
from typing import Any

from flax import linen as nn

from cnnjax.errors import UserError

# Arguments that every net takes from `create_model` itself, not from config.model.
SHARED_ARGUMENTS = ("num_classes", "norm", "act", "dtype")


# For nets that have no published result of their own in this form.
OF_TORCHVISION = "torchvision 0.28, weights IMAGENET1K_V1, one crop"


@dataclasses.dataclass(frozen=True)
class Published:
    """A published result, to be shown beside what is measured, never in its place.

    Args:
      error: top-1 error in percent.
      top5_error: top-5 error in percent, where it was published.
      source: paper and table, with the protocol (crops, ensemble).
      data: what it was measured on.
    """

    error: float | None
    top5_error: float | None
    source: str
    data: str = "ImageNet"


@dataclasses.dataclass(frozen=True)
class Variant:
    """One entry of the registry.

    Args:
      build: the module class.
      input_shape: (height, width, channels) for which the numbers were counted.
      num_params: published or independently counted number of parameters.
      multiply_adds: the same of one image's forward pass in evaluation.
      source: where the two counts come from.
      arguments: values of the class's own arguments that make this entry.
      num_classes: number of classes for which the numbers were counted.
      norm: arguments of `Norm` that the entry was published with.
      act: name of the activation that the entry was published with.
      aliases: other names of the same net, such as those in torchvision and timm.
      published: its best-known result.
    """

    build: type[nn.Module]
    input_shape: tuple[int, int, int]
    num_params: int
    multiply_adds: int
    source: str
    arguments: dict[str, Any] = dataclasses.field(default_factory=dict)
    num_classes: int = 1000
    norm: dict[str, Any] = dataclasses.field(default_factory=lambda: {"kind": "batch"})
    act: str = "relu"
    aliases: tuple[str, ...] = ()
    published: Published | None = None

    def defaults(self) -> dict[str, Any]:
        """Every argument of its own that the net takes, with this entry's value."""
        values = {}
        for field in dataclasses.fields(self.build):
            if field.name in (*SHARED_ARGUMENTS, "parent", "name"):
                continue
            if field.default_factory is not dataclasses.MISSING:
                values[field.name] = field.default_factory()
            elif field.default is not dataclasses.MISSING:
                values[field.name] = field.default
            elif field.name not in self.arguments:
                raise UserError(
                    f"{self.build.__name__} has no default for {field.name!r}: give it "
                    "one, or a value in Variant.arguments"
                )
        return values | self.arguments

    def takes(self, argument: str) -> bool:
        """Whether the net has a field of that name."""
        return argument in {field.name for field in dataclasses.fields(self.build)}
