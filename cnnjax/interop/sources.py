"""Which source names the layers of which net, and how.

A new family is one file with a table `NAMES` and one line in `FAMILIES`.
"""

from collections.abc import Callable

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

# (class of our net, source) -> how that source names the layers.
NAMES: dict[tuple[type, str], Namer] = {
    key: namer for family in FAMILIES for key, namer in family.NAMES.items()
}
# (class, source) -> today's name for one that the source's older files have.
RENAMED: dict[tuple[type, str], Callable[[str], str]] = {
    key: renamer
    for family in FAMILIES
    for key, renamer in getattr(family, "RENAMED", {}).items()
}
# (class, source) -> how images are prepared, where the obvious way would be wrong.
PREPARED: dict[tuple[type, str], str] = {
    key: sentence
    for family in FAMILIES
    for key, sentence in getattr(family, "PREPARED", {}).items()
}
SOURCES = ("torchvision", "timm", "cifar", "cifar_append")


def sources_of(name: str) -> tuple[str, ...]:
    """The sources whose weights an entry of the registry can take."""
    build = variant(name).build
    return tuple(source for source in SOURCES if (build, source) in NAMES)
