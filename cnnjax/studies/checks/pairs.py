"""Whether labels belong to their images, asked of the nearest neighbours.

No net is trained: a classifier that is right more often than chance on the pixels
themselves shows that labels and images have something to do with each other.
"""

import numpy as np
from scipy import stats

from cnnjax.data.images import resize_batch
from cnnjax.studies.checks.finding import (
    FAILED,
    PASSED,
    UNKNOWN,
    Finding,
    Subject,
    some_images,
)

MOST_IMAGES = 2000
MOST_CLASSES = 10  # the most frequent
FEWEST_OF_A_CLASS = 20
SIDE = 16  # pixels
NEIGHBOURS = 5
LEVEL = 1e-3


def labels_fit(subject: Subject) -> Finding:
    """Nearest neighbours by pixels, each image by all others, against chance."""
    from sklearn.neighbors import KNeighborsClassifier

    images, labels = some_images(subject.run, MOST_IMAGES)
    classes, counts = np.unique(labels, return_counts=True)
    chosen = classes[np.argsort(-counts)][:MOST_CLASSES]
    kept = np.isin(labels, chosen)
    if kept.sum() < FEWEST_OF_A_CLASS * len(chosen) or len(chosen) < 2:
        why = f"fewer than {FEWEST_OF_A_CLASS} images of a class"
        return Finding(UNKNOWN, f"{len(labels)} images of {len(classes)} classes", why)
    images, labels = images[kept], labels[kept]
    small = resize_batch(images, min(SIDE, *images.shape[1:3])).astype(np.float32)
    pixels = small.reshape(len(small), -1)
    pixels -= pixels.mean(1, keepdims=True)
    pixels /= np.maximum(pixels.std(1, keepdims=True), 1e-6)
    # The image itself is the nearest one: a neighbour more, without it.
    model = KNeighborsClassifier(NEIGHBOURS + 1).fit(pixels, labels)
    near = model.kneighbors(return_distance=False, n_neighbors=NEIGHBOURS)
    votes = (labels[near][:, :, None] == chosen).sum(1)
    right = int((chosen[votes.argmax(1)] == labels).sum())
    chance = float(max(np.mean(labels == c) for c in chosen))
    p = stats.binomtest(right, len(labels), chance, alternative="greater").pvalue
    number = (
        f"neighbours are right for {100 * right / len(labels):.0f}% of "
        f"{len(labels):,} images, chance {100 * chance:.0f}%"
    )
    if p > LEVEL:
        why = "labels seem to have nothing to do with the images: look at their order"
        return Finding(FAILED, number, why)
    return Finding(PASSED, number)
