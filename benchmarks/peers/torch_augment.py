"""Augmentation by torchvision's second transforms, to time it."""

import contextlib
from collections.abc import Callable

import numpy as np
import torch

# torchvision wants two compiled operators that its transforms never call.
with contextlib.suppress(RuntimeError):
    _library = torch.library.Library("torchvision", "DEF")
    _library.define("nms(Tensor dets, Tensor scores, float iou) -> Tensor")
    _library.define("qnms(Tensor dets, Tensor scores, float iou) -> Tensor")

from torchvision.transforms import v2


def transforms_of(amounts: dict[str, float], size: int) -> list:
    """The transforms of a section `augment`, in torchvision's usual order."""
    found: list = []
    if pad := amounts.get("crop_pad"):
        found.append(v2.RandomCrop(size, padding=int(pad)))
    if least := amounts.get("resized_crop"):
        found.append(v2.RandomResizedCrop(size, scale=(least, 1.0)))
    if amounts.get("rotation"):
        found.append(
            v2.RandomAffine(
                amounts["rotation"],
                (amounts["translation"],) * 2,
                (1 - amounts["scale"], 1 + amounts["scale"]),
                amounts["shear"],
                interpolation=v2.InterpolationMode.BILINEAR,
            )
        )
    if amounts.get("flip"):
        found.append(v2.RandomHorizontalFlip())
    if number := amounts.get("randaugment"):
        bilinear = v2.InterpolationMode.BILINEAR
        found.append(v2.RandAugment(int(number), interpolation=bilinear))
    if amounts.get("brightness"):
        names = ("brightness", "contrast", "saturation", "hue")
        found.append(v2.ColorJitter(*(amounts[name] for name in names)))
    return found


def batch_maker(
    images: np.ndarray, amounts: dict[str, float], *, each: bool
) -> Callable[[], object]:
    """What makes one batch.

    Args:
      images: uint8 [B, H, W, C].
      amounts: of section `augment`.
      each: whether each image has draws of its own, or all have the same.
    """
    batch = torch.tensor(images.transpose(0, 3, 1, 2))
    # Bytes as long as may be: that is faster, and RandAugment wants it.
    change = v2.Compose(
        [
            *transforms_of(amounts, images.shape[1]),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize([0.5] * 3, [0.25] * 3),
        ]
    )
    if each:
        torch.set_num_threads(1)  # as in the worker of a DataLoader
        return lambda: torch.stack([change(image) for image in batch])
    return lambda: change(batch)
