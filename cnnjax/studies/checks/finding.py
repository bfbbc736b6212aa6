"""What a check before training says."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from cnnjax.layers.norm import norm_of
from cnnjax.net.eval_statistics import of_whole_batch
from cnnjax.run.setup import Run, initial_state

PASSED, FAILED, UNKNOWN = "passed", "failed", "not applicable"
# Images that most checks look at; evenly spread over the training set.
MOST_IMAGES = 64
# Images of the check that looks at the fewest, by which those of all others divide.
FEWEST_IMAGES = 4


@dataclasses.dataclass(frozen=True)
class Finding:
    """The result of one check.

    Attributes:
      status: `PASSED`, `FAILED` or `UNKNOWN`.
      number: what was measured, in words.
      advice: what to look at where it failed, or why it says nothing.
    """

    status: str
    number: str
    advice: str = ""


@dataclasses.dataclass(frozen=True)
class Subject:
    """What the checks look at.

    Attributes:
      run: of `set_up`; batch norm takes its statistics over all images of a check,
        where these are fewer than share them in training.
      variables: initial ones of its first seed: 'params' and the other collections.
      images: uint8 [N, H, W, C], of the training set.
      labels: int32 [N].
      seconds_left: until the checks should be done.
    """

    run: Run
    variables: Mapping[str, Any]
    images: Any
    labels: Any
    seconds_left: Callable[[], float]

    @property
    def numbers(self) -> dict[str, Any]:
        """Numbers of the loss, without label smoothing."""
        return {**self.run.hyperparameters["loss"], "label_smoothing": np.float32(0)}

    @property
    def floats(self) -> jax.Array:
        """The images as the net sees them in evaluation."""
        return self.run.augment.preprocess(self.images)

    @property
    def targets(self) -> Any:
        """One-hot, [N, classes]."""
        return np.eye(self.run.dataset.num_classes, dtype=np.float32)[self.labels]


def subject_of(run: Run, seconds_left: Callable[[], float]) -> Subject:
    """The first seed of a run, and some of its training images."""
    norm = norm_of(run.model)
    if norm and FEWEST_IMAGES % (norm.examples_per_statistic or FEWEST_IMAGES):
        run = dataclasses.replace(run, model=of_whole_batch(run.model))
    images, labels = some_images(run, MOST_IMAGES)
    state = jax.tree.map(lambda leaf: leaf[0], initial_state(run))
    variables = {"params": state.params, **state.model_state}
    return Subject(run, variables, images, labels, seconds_left)


def some_images(run: Run, most: int) -> tuple[np.ndarray, np.ndarray]:
    """Images and labels that are evenly spread over the training set."""
    train = run.dataset.train
    num = min(len(train), most)
    # A folder of images is in the order of its classes.
    return train.read(np.arange(num) * len(train) // num)
