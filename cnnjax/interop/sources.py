"""The tables of names: which sources have which nets.

A new family is one file with a table `NAMES` and one line in `FAMILIES`.
"""

from collections.abc import Callable

from flax import linen as nn

from cnnjax.interop.convert import Namer
from cnnjax.interop.names import (
    alexnet,
    cifar,
    densenet,
    googlenet,
    inception,
    mobilenet,
    resnet,
    vgg,
)
from cnnjax.models.registry import variant

FAMILIES = (alexnet, vgg, googlenet, inception, cifar, resnet, densenet, mobilenet)

Key = tuple[Callable[..., nn.Module], str]
# (class of our net, source) -> the function that translates names of layers.
NAMES: dict[Key, Namer] = {
    key: namer for family in FAMILIES for key, namer in family.NAMES.items()
}
# (class, source) -> translates names in older files of the source to today's.
RENAMED: dict[Key, Callable[[str], str]] = {
    key: renamer
    for family in FAMILIES
    for key, renamer in getattr(family, "RENAMED", {}).items()
}
# (class, source) -> note on preprocessing, where the usual one would be wrong.
PREPARED: dict[Key, str] = {
    key: sentence
    for family in FAMILIES
    for key, sentence in getattr(family, "PREPARED", {}).items()
}
SOURCES = ("torchvision", "timm", "cifar", "cifar_append")


def sources_of(name: str) -> tuple[str, ...]:
    """The sources whose weights fit an entry of the registry."""
    build = variant(name).build
    return tuple(source for source in SOURCES if (build, source) in NAMES)
