"""The space of features: its axes, neighbours and classes.

scikit-learn is imported late: probes of a training need other views alone.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from cnnjax.views.passes import DoesNotApply


@dataclasses.dataclass(frozen=True)
class Plane:
    """Features in two dimensions.

    Attributes:
      points: float [N, 2].
      explained: share of the variance along each axis; None where there is no such.
    """

    points: np.ndarray
    explained: np.ndarray | None


def principal_plane(features: np.ndarray) -> Plane:
    """The first two principal components of features [N, D]; signs are settled.

    Of each component, the feature with the largest weight counts as positive.
    """
    centred = features.astype(float) - features.mean(axis=0, dtype=float)
    if centred.shape[1] < 2:
        centred = np.pad(centred, ((0, 0), (0, 2 - centred.shape[1])))
    left, sizes, right = np.linalg.svd(centred, full_matrices=False)
    largest = np.abs(right[:2]).argmax(axis=1)
    signs = np.sign(right[np.arange(2), largest])
    signs[signs == 0] = 1
    total = (sizes**2).sum()
    explained = sizes[:2] ** 2 / (total if total > 0 else 1)
    return Plane(left[:, :2] * sizes[:2] * signs, explained)


def tsne_plane(features: np.ndarray, seed: int = 0, perplexity: float = 30.0) -> Plane:
    """t-SNE of features [N, D] by scikit-learn, started from the principal plane.

    Source: van der Maaten and Hinton 2008, JMLR 9.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    few = min(perplexity, (len(features) - 1) / 3)
    start = principal_plane(features).points
    spread = start[:, 0].std()
    start = (start / (spread if spread > 0 else 1) * 1e-4).astype(np.float32)
    found = TSNE(perplexity=few, init=start, random_state=seed)
    # Threads of OpenMP that wait for a core that is busy take longer than one alone.
    with threadpool_limits(1):
        return Plane(found.fit_transform(features.astype(np.float32)), None)


def neighbours(
    features: np.ndarray, queries: Sequence[int], count: int
) -> tuple[np.ndarray, np.ndarray]:
    """The images nearest to some of them by the angle between their features.

    Args:
      features: [N, D].
      queries: which images.
      count: neighbours of each, itself left out.

    Returns:
      (numbers [queries, count], cosines [queries, count]), nearest first.
    """
    length = np.linalg.norm(features, axis=1, keepdims=True)
    unit = features / np.where(length > 0, length, 1)
    cosines = unit[list(queries)] @ unit.T
    cosines[np.arange(len(queries)), list(queries)] = -np.inf
    order = np.argsort(-cosines, axis=1, kind="stable")[:, :count]
    return order, np.take_along_axis(cosines, order, axis=1)


def pooled(maps: np.ndarray, cells: int = 2) -> np.ndarray:
    """Maps [N, h, w, c] averaged over cells x cells regions: [N, cells^2 c] at most."""
    if maps.ndim != 4:
        return maps.reshape(len(maps), -1)
    rows = np.array_split(np.arange(maps.shape[1]), min(cells, maps.shape[1]))
    columns = np.array_split(np.arange(maps.shape[2]), min(cells, maps.shape[2]))
    means = [maps[:, r][:, :, c].mean(axis=(1, 2)) for r in rows for c in columns]
    return np.concatenate(means, axis=1)


def linear_error(
    features: np.ndarray, labels: np.ndarray, seed: int = 0, strength: float = 0.1
) -> float:
    """Error in percent of a logistic regression on half of the images, on the others.

    Args:
      features: [N, D].
      labels: int [N].
      seed: of the halves.
      strength: inverse of the L2 penalty, on standardised features.

    Raises:
      DoesNotApply: fewer than two classes in a half.

    Source: Alain and Bengio 2016, arXiv 1610.01644.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    order = np.random.RandomState(seed).permutation(len(labels))
    train, test = order[::2], order[1::2]
    if len(np.unique(labels[train])) < 2:
        raise DoesNotApply(
            "a linear classifier needs images of two classes: give more images"
        )
    regression = LogisticRegression(C=strength, tol=1e-3, max_iter=2000)
    model = make_pipeline(StandardScaler(), regression)
    model.fit(features[train], labels[train])
    return 100 * float(np.mean(model.predict(features[test]) != labels[test]))
