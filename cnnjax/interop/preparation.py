"""How the images of published weights were standardised, as far as sources agree."""

from collections.abc import Mapping
from typing import Any

from cnnjax.interop.sources import PREPARED
from cnnjax.models.googlenet import GoogLeNet
from cnnjax.models.inception_resnet import InceptionResNet
from cnnjax.models.inception_v4 import InceptionV4
from cnnjax.models.registry import variant

Numbers = tuple[float, float, float]

# torchvision's and timm's usual ones, and those of akamaster/pytorch_resnet_cifar10.
IMAGENET: tuple[Numbers, Numbers] = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# [-1, 1]: Google's nets.
HALVES: tuple[Numbers, Numbers] = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
# kuangliu/pytorch-cifar: its ResNets with option B, and VGG.
KUANGLIU: tuple[Numbers, Numbers] = (
    (0.4914, 0.4822, 0.4465),
    (0.2023, 0.1994, 0.2010),
)
# fb.resnet.torch, in grey levels of 255.
TORCH7: tuple[Numbers, Numbers] = (
    (125.3 / 255, 123.0 / 255, 113.9 / 255),
    (63.0 / 255, 62.1 / 255, 66.7 / 255),
)
_GOOGLE = {(GoogLeNet, "timm"), (InceptionV4, "timm"), (InceptionResNet, "timm")}


def standardisation_of(
    name: str, source: str, arguments: Mapping[str, Any]
) -> tuple[Numbers, Numbers]:
    """Mean and standard deviation of each channel, on the scale where white is 1.

    They are those of the code that published the weights; weights that somebody
    trained with the same code may need others.

    Args:
      name: an entry of `cnnjax.list_models()`.
      source: of the weights.
      arguments: of `create_model`.
    """
    build = variant(name).build
    if (build, source) in PREPARED or (build, source) in _GOOGLE:
        return HALVES
    if source == "cifar_append":
        return TORCH7
    if source == "cifar" and arguments.get("shortcut") != "A":
        return KUANGLIU
    return IMAGENET
