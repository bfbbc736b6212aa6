"""The stages of a net in the order of execution: what transfer freezes and trains."""

import dataclasses
import re

from flax import linen as nn

from cnnjax.net.execution import unscanned
from cnnjax.net.initialize import abstract_variables
from cnnjax.net.observe import Call, observe

HEAD = "head"
_STAGE = re.compile(r"(stage\d+|stem)(_|$)")
_NORM = re.compile(r"(^|_)norm\d*$")


@dataclasses.dataclass(frozen=True)
class Stage:
    """Modules of a net that belong together.

    Args:
      name: such as 'stem', 'stage2', 'conv1' or 'head'.
      modules: names of its children of the net, in the order of execution.
    """

    name: str
    modules: tuple[str, ...]


def is_head(module: str) -> bool:
    """Whether a child of the net gives logits: the head, and auxiliary heads."""
    return module == HEAD or module.startswith("auxiliary")


def stages_of(model: nn.Module, image_shape: tuple[int, ...]) -> tuple[Stage, ...]:
    """The stages from image to logits; the heads together are the last.

    Children of one name up to the underscore behind 'stem' or 'stage' and a number are
    a stage, every other child is one, and a norm belongs to what it follows.

    Args:
      model: a net of `create_model`, or any module of the same call.
      image_shape: (height, width, channels).
    """
    order: list[str] = []

    def note(call: Call):
        if len(call.module.path) == 1:
            order.append(call.module.path[0])
        return call.run()

    with observe(note):
        params = abstract_variables(unscanned(model), image_shape)["params"]
    found: dict[str, list[str]] = {}
    heads = []
    for module in dict.fromkeys(order):
        if module not in params:
            continue
        if is_head(module):
            heads.append(module)
            continue
        match = _STAGE.match(module)
        name = match[1] if match else module
        if _NORM.search(module) and not match and found:
            name = list(found)[-1]
        found.setdefault(name, []).append(module)
    stages = [Stage(name, tuple(modules)) for name, modules in found.items()]
    return (*stages, *([Stage(HEAD, tuple(heads))] if heads else []))
