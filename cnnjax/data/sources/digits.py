"""Handwritten digits that ship inside scikit-learn: real images, no network."""

import numpy as np

from cnnjax.data.images import resize_batch
from cnnjax.data.request import Request
from cnnjax.data.sources.source import Pool, Source

NOTE = (
    "digits: 1,797 images of 8x8 grey pixels from scikit-learn; too few and too easy "
    "to rank architectures"
)


def open_source(request: Request) -> Source:
    """The 1,797 digits as one pool; validation and test are carved out of it.

    Args:
      request: `image_size` other than 0 enlarges the 8x8 images.

    Returns:
      The source; grey levels 0..16 become 0..255.

    Source:
      Alpaydin and Kaynak 1998, "Optical Recognition of Handwritten Digits", UCI Machine
      Learning Repository; `sklearn.datasets.load_digits`.
    """
    # Importing scikit-learn takes a second: only those who use the set pay for it.
    from sklearn.datasets import load_digits

    table = load_digits()
    images = np.rint(table.images * (255 / 16)).astype(np.uint8)[..., None]
    labels = table.target.astype(np.int32)

    size = request.image_size or images.shape[1]

    def read(pool: str, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return resize_batch(images[indices], size), labels[indices]

    names = tuple(str(name) for name in table.target_names)
    pools = {"train": Pool(len(labels), labels)}
    return Source(pools, names, (size, size, 1), read, NOTE)
