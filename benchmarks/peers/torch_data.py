"""Crop and flip of images in memory as users of torch write it, to time it."""

from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

PAD = 4


class Images(Dataset):
    """One augmented image at a time."""

    def __init__(self, images: np.ndarray, labels: np.ndarray):
        self.images = torch.tensor(images.transpose(0, 3, 1, 2))
        self.labels = torch.tensor(labels, dtype=torch.long)

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, i):
        image = self.images[i].float() / 255
        padded = functional.pad(image, (PAD,) * 4)
        size = image.shape[-1]
        y, x = torch.randint(2 * PAD + 1, (2,)).tolist()
        image = padded[:, y : y + size, x : x + size]
        if torch.rand(()) < 0.5:
            image = image.flip(-1)
        return (image - 0.5) / 0.25, self.labels[i]


def ways(
    images: np.ndarray, labels: np.ndarray, batch_size: int
) -> dict[str, Callable[[], object]]:
    """One pass over the images each: a loader without and with a worker process."""
    data = Images(images, labels)

    def passing(workers: int):
        loader = DataLoader(
            data,
            batch_size,
            shuffle=True,
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        return lambda: sum(float(batch.sum()) for batch, _ in loader)

    return {"torch DataLoader": passing(0), "torch DataLoader, 2 workers": passing(2)}
