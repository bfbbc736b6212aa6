"""What augmentation makes of images: each operation alone, and all together."""

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from cnnjax.config import splat
from cnnjax.data.augment import OPERATIONS, OPTIONS, Augment, make_augment
from cnnjax.data.augment.mix import NAMES as MIXES
from cnnjax.data.augment.pca import colour_axes
from cnnjax.data.dataset import Dataset, load_dataset
from cnnjax.data.request import Request
from cnnjax.data.standardize import Statistics, measure_split
from cnnjax.devices.parallel import compile_program
from cnnjax.errors import UserError

MOST_IMAGES = 32
MOST_DRAWS = 16
# What is shown of operations that are off in a config: amounts as papers have them.
USUAL = {
    "flip": True,
    "mixup_alpha": 0.4,
    "cutmix_alpha": 1.0,
    "flip_vertical": True,
    "resized_crop": 0.08,
    "rotation": 15.0,
    "translation": 0.1,
    "scale": 0.2,
    "shear": 15.0,
    "brightness": 0.4,
    "contrast": 0.4,
    "saturation": 0.4,
    "hue": 0.1,
    "grey": 0.2,
    "noise": 0.1,
    "pca_colour": 0.1,
    "erase": 0.5,
    "randaugment": 2,
}


@dataclasses.dataclass(frozen=True)
class Row:
    """One operation on the sheet.

    Args:
      title: key and amount, or what the row shows.
      detail: whether the config has it on; '' for nothing to say.
      images: uint8 [draws, images, H, W, C].
      captions: below each image, [draws][images]; empty for none.
    """

    title: str
    detail: str
    images: np.ndarray
    captions: Sequence[Sequence[str]] = ()


def rows_of(config: ConfigDict, num_images: int, num_draws: int) -> Iterator[Row]:
    """The rows of the sheet of a config, computed one by one.

    Args:
      config: of a run.
      num_images: training images that are shown, evenly spread.
      num_draws: of each operation.

    Raises:
      UserError: numbers out of range; data or a section `augment` that could not be
        trained with.
    """
    if not 2 <= num_images <= MOST_IMAGES or not 1 <= num_draws <= MOST_DRAWS:
        raise UserError(
            f"--images is {num_images} and --draws is {num_draws}: give 2 to "
            f"{MOST_IMAGES} images and 1 to {MOST_DRAWS} draws"
        )
    dataset = load_dataset(splat("data", Request, config.data))
    sheet = _Sheet(config, dataset, min(num_images, len(dataset.train)))
    yield Row("training images", "as they are stored", sheet.stored[None])
    on = {name: amount for name, amount in sheet.amounts.items() if amount}
    together = [name for name in OPERATIONS if name in on]
    note = ", ".join(together) or "nothing is on in this config"
    yield sheet.row("all together", note, on, num_draws)
    for name in OPERATIONS:
        if name in on:
            detail = "on in this config"
            yield sheet.row(_shown(name, on[name]), detail, {name: on[name]}, num_draws)
    for name, operation in OPERATIONS.items():
        grey = dataset.image_shape[2] == 1
        if name not in on and not (operation.of_colours and grey):
            amount = sheet.usual(name)
            detail = "off in this config; a usual amount"
            yield sheet.row(_shown(name, amount), detail, {name: amount}, num_draws)


class _Sheet:
    """The images of a sheet, and what is measured on their data set."""

    def __init__(self, config: ConfigDict, dataset: Dataset, num_images: int):
        section = config.augment.to_dict()
        self._kind = section.pop("standardize")
        self._dataset, self.amounts = dataset, section
        places = np.arange(num_images) * len(dataset.train) // num_images
        self.stored, self._labels = dataset.train.read(places)
        of_images = dataset.train, dataset.fingerprint
        self._statistics = measure_split(self._kind, *of_images)
        self._axes = colour_axes(*of_images)
        self._build(section)  # refuses what a training would refuse

    def _build(self, amounts: dict[str, Any]) -> Augment:
        return splat(
            "augment",
            make_augment,
            amounts,
            standardize=self._kind,
            statistics=self._statistics,
            image_shape=self._dataset.image_shape,
            num_classes=self._dataset.num_classes,
            colour_axes=self._axes,
        )

    def usual(self, name: str) -> Any:
        """An amount for an operation that is off."""
        side = min(self._dataset.image_shape[:2])
        return USUAL.get(name, max(1, side // (8 if name == "crop_pad" else 2)))

    def row(self, title: str, detail: str, on: dict[str, Any], num_draws: int) -> Row:
        """Draws of some operations, of which no other one is on."""
        off = dict.fromkeys(OPERATIONS, 0)
        options = {name: self.amounts[name] for name in OPTIONS}
        augment = self._build(off | options | on)

        def draw(seed, images, labels):
            return augment.train(jax.random.key(seed), images, labels)

        batch = self.stored, self._labels
        program = compile_program(draw, (np.int32(0), *batch))
        drawn = [program(np.int32(seed), *batch) for seed in range(num_draws)]
        images, targets = (np.stack(arrays) for arrays in zip(*drawn, strict=True))
        captions: list[list[str]] = []
        if any(name in on for name in MIXES):
            names = self._dataset.class_names
            captions = [[_mixture(t, names) for t in of_draw] for of_draw in targets]
        shown = _as_seen(images, self.stored, self._statistics)
        return Row(title, detail, shown, captions)


def _as_seen(
    images: np.ndarray, stored: np.ndarray, statistics: Statistics
) -> np.ndarray:
    """Standardised images [draws, n, H, W, C] as uint8; 0 is the mean again."""
    if statistics.per_image:
        unit = stored / np.float32(255)
        std = unit.std(axis=(1, 2, 3), keepdims=True)
        images = images * std + unit.mean(axis=(1, 2, 3), keepdims=True)
    images = images * statistics.std + statistics.mean
    return np.round(255 * np.clip(images, 0, 1)).astype(np.uint8)


def _shown(name: str, amount: Any) -> str:
    """Key and amount; what is on or off needs none."""
    return name if amount is True else f"{name}={amount:g}"


def _mixture(target: np.ndarray, names: Sequence[str]) -> str:
    """'70% cat, 30% dog'."""
    order = [i for i in np.argsort(-target, kind="stable") if target[i] >= 0.005]
    return ", ".join(f"{100 * target[i]:.0f}% {names[i]}" for i in order)
