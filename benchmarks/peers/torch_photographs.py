"""Listing and reading photographs as users of torchvision write it, to time it."""

import io
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

# The import of torchvision asks for two compiled operators, which nothing here calls.
_LIBRARY = torch.library.Library("torchvision", "FRAGMENT")
for _operator in ("nms", "qnms"):
    if not hasattr(torch.ops.torchvision, _operator):
        _LIBRARY.define(f"{_operator}(Tensor dets, Tensor scores, float iou) -> Tensor")

from torchvision import transforms  # noqa: E402
from torchvision.datasets import ImageFolder  # noqa: E402

TRANSFORMS = {
    "random_resized_crop": transforms.RandomResizedCrop,
    "evaluation": lambda size: transforms.Compose(
        [transforms.Resize(int(size / 0.875)), transforms.CenterCrop(size)]
    ),
}


class Files(Dataset):
    """One decoded, cut photograph at a time, as Pillow does it."""

    def __init__(
        self, contents: list[bytes], cut: Callable[[Image.Image], Image.Image]
    ):
        self._contents, self._cut = contents, cut

    def __len__(self) -> int:
        return len(self._contents)

    def __getitem__(self, index: int) -> torch.Tensor:
        content = io.BytesIO(self._contents[index])
        image = Image.open(content, formats=["JPEG"]).convert("RGB")
        return torch.from_numpy(np.array(self._cut(image)))


def reading(
    contents: list[bytes], cut: str, size: int, batch_size: int, workers: int
) -> Callable[[], object]:
    """One pass over photographs with a DataLoader."""
    data = Files(contents, TRANSFORMS[cut](size))
    loader = DataLoader(
        data, batch_size, num_workers=workers, persistent_workers=workers > 0
    )
    return lambda: sum(len(batch) for batch in loader)


def listing(root: str) -> Callable[[], object]:
    """ImageFolder, which lists when it is made."""
    return lambda: ImageFolder(root, loader=None)
