"""Preparation of images: standardisation, augmentation, and what evaluation does."""

from typing import Any, NamedTuple

from ml_collections import ConfigDict

from cnnjax.config import splat
from cnnjax.data.augment import Augment, make_augment
from cnnjax.data.augment.pca import colour_axes
from cnnjax.data.dataset import Dataset
from cnnjax.data.preprocess import Preprocess
from cnnjax.data.standardize import Statistics, measure_split
from cnnjax.devices.distributed import (
    num_processes,
    process_index,
    sum_over_processes,
)
from cnnjax.run.settings import geometry_of


class Prepared(NamedTuple):
    """What training and evaluation do to images before the net sees them."""

    augment: Augment
    preprocess: Preprocess


def prepared(
    config: ConfigDict, dataset: Dataset, statistics: Statistics | None
) -> Prepared:
    """Measures the training images as far as that is needed.

    Args:
      config: of the run.
      dataset: its data.
      statistics: of the weights that it starts from, where these count.

    Raises:
      UserError: section `augment` has a value that is not understood; an image that
        is measured cannot be read.
    """
    processes: dict[str, Any] = {
        "process": process_index(),
        "num_processes": num_processes(),
        "over_processes": sum_over_processes,
    }
    kind, of_images = config.augment.standardize, (dataset.train, dataset.fingerprint)
    if statistics is None:
        statistics = measure_split(kind, *of_images, **processes)
    axes = None
    if config.augment.get("pca_colour"):
        axes = colour_axes(*of_images, **processes)
    augment = splat(
        "augment",
        make_augment,
        config.augment,
        statistics=statistics,
        image_shape=dataset.image_shape,
        num_classes=dataset.num_classes,
        colour_axes=axes,
    )
    preprocess = Preprocess(
        dataset.image_shape,
        kind,
        statistics,
        to_grey=config.data.channels == 1,
        geometry=geometry_of(config).once,
    )
    return Prepared(augment, preprocess)


def sample_lines(run: Any) -> list[str]:
    """A sentence where a sample standardises all images.

    Args:
      run: of `set_up`.
    """
    sample = run.preprocess.statistics.sample
    return [sample.words()] if sample else []
