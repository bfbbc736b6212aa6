"""What probabilities are worth: errors, loss, calibration, confusion of classes."""

import dataclasses
from collections.abc import Sequence

import numpy as np

BINS = 15  # Guo et al. 2017
LEAST = 1e-12  # probability, so that the loss of a certain mistake is finite


@dataclasses.dataclass(frozen=True)
class Scores:
    """Attributes:
    error: percent of images whose likeliest class is wrong.
    top: k -> percent of images whose class is not among the k likeliest.
    loss: mean of that of training, in nats, see `loss_of`.
    calibration: expected calibration error in points, see `reliability`.
    """

    error: float
    top: dict[int, float]
    loss: float
    calibration: float


@dataclasses.dataclass(frozen=True)
class Reliability:
    """Confidence against accuracy in bins of equal width.

    Attributes:
      confidence: mean probability of the likeliest class, [bins]; nan for empty bins.
      accuracy: share of images that are right, [bins].
      counts: images, [bins].
    """

    confidence: np.ndarray
    accuracy: np.ndarray
    counts: np.ndarray

    @property
    def error(self) -> float:
        """Expected calibration error: mean distance of the two, weighted by images.

        Source: Naeini et al. 2015, AAAI; Guo et al. 2017, arXiv 1706.04599, eq. 3.
        """
        full = self.counts > 0
        apart = np.abs(self.confidence - self.accuracy)[full]
        return float(apart @ self.counts[full] / self.counts.sum())


def scores(
    probabilities: np.ndarray,
    labels: np.ndarray,
    tops: Sequence[int] = (5,),
    kind: str = "cross_entropy",
) -> Scores:
    """Scores of one net, or of an ensemble.

    A net that answers nothing finite is never right, as in `training/evaluate.py`.

    Shapes: probabilities [N, classes], labels [N].

    Args:
      probabilities: of `Loss.probabilities`, or means of them.
      labels: int.
      tops: numbers of guesses.
      kind: of the loss: 'cross_entropy' or 'sigmoid'.
    """
    places = np.arange(len(labels))
    own = probabilities[places, labels]
    # How many classes are ahead; ties go to the lower class, as in argmax.
    ahead = (probabilities > own[:, None]) | (
        (probabilities == own[:, None])
        & (np.arange(probabilities.shape[1]) < labels[:, None])
    )
    rank = np.where(np.isfinite(own), ahead.sum(1), probabilities.shape[1])
    return Scores(
        error=100 * float(np.mean(rank > 0)),
        top={k: 100 * float(np.mean(rank >= k)) for k in tops},
        loss=float(loss_of(probabilities, labels, kind).mean()),
        calibration=100 * reliability(probabilities, labels).error,
    )


def loss_of(probabilities: np.ndarray, labels: np.ndarray, kind: str) -> np.ndarray:
    """The loss of each image by what `Loss.probabilities` gives: [N], in nats."""
    own = probabilities[np.arange(len(labels)), labels]
    of_class = -np.log(np.maximum(own, LEAST))
    if kind != "sigmoid":
        return of_class
    others = -np.log(np.maximum(1 - probabilities, LEAST))
    return of_class + others.sum(1) - others[np.arange(len(labels)), labels]


def reliability(
    probabilities: np.ndarray, labels: np.ndarray, bins: int = BINS
) -> Reliability:
    """The reliability curve of the likeliest class; nan where any answer is nan."""
    guess, confidence = probabilities.argmax(1), probabilities.max(1)
    # Bins are open below, so that a confidence of 1 falls into the last.
    known = np.where(np.isfinite(confidence), confidence, 0.0)
    at = np.clip(np.ceil(known * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(at, minlength=bins)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(at, confidence, bins) / counts
        right = np.bincount(at, guess == labels, bins) / counts
    return Reliability(mean, right, counts)


def confusion(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Counts [classes, classes]: row is the class, column the likeliest one.

    Images without a finite answer are in no column.
    """
    classes = probabilities.shape[1]
    known = np.isfinite(probabilities).all(1)
    flat = (labels * classes + probabilities.argmax(1))[known]
    return np.bincount(flat, minlength=classes**2).reshape(classes, classes)
