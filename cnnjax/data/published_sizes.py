"""Published facts of well-known data sets, for plans without the data.

A plan needs the number of images, their shape and the number of classes, and no pixel.
"""

import dataclasses
from typing import Any

import numpy as np

from cnnjax.data.dataset import Dataset, open_chosen, streamed
from cnnjax.data.request import Request
from cnnjax.data.sources.classes import only_declared
from cnnjax.data.sources.source import MissingData
from cnnjax.data.split import StreamedSplit, choose
from cnnjax.errors import UserError


@dataclasses.dataclass(frozen=True)
class Declared:
    """The published facts of a data set.

    Attributes:
      title: as people call it.
      source: of the numbers.
      image_shape: (H, W, C); H = W = 0 where images differ in size.
      num_classes: number of labels.
      pools: name, as in `Source.pools` -> number of images.
    """

    title: str
    source: str
    image_shape: tuple[int, int, int]
    num_classes: int
    pools: dict[str, int]


TINY, GREY, ANY_SIZE = (32, 32, 3), (28, 28, 1), (0, 0, 3)
CIFAR = "Krizhevsky 2009, Learning multiple layers of features from tiny images"
IMAGENET = "Russakovsky et al. 2015, arXiv 1409.0575, table 2"
# The 50,000 validation images are what the literature tests on.
ILSVRC = {"train": 1_281_167, "test": 50_000}
DECLARED: dict[str, Declared] = {
    "cifar10": Declared("CIFAR-10", CIFAR, TINY, 10, {"train": 50_000, "test": 10_000}),
    "cifar100": Declared(
        "CIFAR-100", CIFAR, TINY, 100, {"train": 50_000, "test": 10_000}
    ),
    "mnist": Declared(
        "MNIST",
        "LeCun et al. 1998, Gradient-based learning applied to document recognition",
        GREY,
        10,
        {"train": 60_000, "test": 10_000},
    ),
    "fashion_mnist": Declared(
        "Fashion-MNIST",
        "Xiao et al. 2017, arXiv 1708.07747",
        GREY,
        10,
        {"train": 60_000, "test": 10_000},
    ),
    "svhn_cropped": Declared(
        "SVHN",
        "Netzer et al. 2011, Reading digits in natural images",
        TINY,
        10,
        {"train": 73_257, "test": 26_032},
    ),
    "tfds:imagenet2012": Declared(
        "ImageNet-1k", IMAGENET, ANY_SIZE, 1000, ILSVRC | {"validation": 50_000}
    ),
    "imagenet": Declared("ImageNet-1k", IMAGENET, ANY_SIZE, 1000, ILSVRC),
    # Recipes for ImageNet read any folder of images.
    "folder": Declared("ImageNet-1k", IMAGENET, ANY_SIZE, 1000, ILSVRC),
}


def describe_dataset(request: Request) -> tuple[Dataset, str]:
    """A data set without its pixels, for a plan.

    Returns:
      The data set, whose images cannot be read unless they are there, and a sentence
      if its facts are the published ones, else ''.

    Raises:
      UserError: as `load_dataset`, for a set that is there, or not declared.
    """
    name = request.name
    try:
        source, chosen = open_chosen(request)
        return streamed(source, request, chosen), ""
    except MissingData:
        if name not in DECLARED:
            raise
    about = DECLARED[name]
    pools, classes = only_declared(about.pools, about.num_classes, request.classes)
    chosen = choose(pools, request)
    shape = _shape(about, request)
    splits: dict[str, Any] = {
        split: StreamedSplit(split, _refuse, *of_split, shape)
        for split, of_split in chosen.items()
    }
    where = f"in {request.data_dir!r}" if request.data_dir else "(no data_dir)"
    note = (
        f"data {name!r} not found {where}: planned with the published facts of "
        f"{about.title} ({about.source})"
    )
    return Dataset(name, **splits, class_names=classes, fingerprint="", note=""), note


def _shape(about: Declared, request: Request) -> tuple[int, int, int]:
    height, width, channels = about.image_shape
    size = request.image_size
    if not (size or height):
        raise UserError(
            f"the images of {about.title} differ in size: set config.data.image_size"
        )
    return (size or height, size or width, request.channels or channels)


def _refuse(pool: str, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    raise UserError(
        f"{len(indices)} images of pool {pool!r} were asked for, but this set is only "
        "declared, not there: give config.data.data_dir"
    )
