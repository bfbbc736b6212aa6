"""Training images that nets which never saw them find unlikely: wrong labels, odd ones.

Each image is judged by the nets of the fold that held it out. Those whose label is
likely wrong follow from the confident joint of Northcutt et al. 2021, "Confident
learning", arXiv 1911.00068, section 3.1.
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cnnjax.config import splat
from cnnjax.data.dataset import open_source
from cnnjax.data.labels import planted
from cnnjax.data.request import Request
from cnnjax.data.sources.source import Source
from cnnjax.data.split import choose
from cnnjax.errors import UserError, printable
from cnnjax.records import is_there
from cnnjax.run.single import stored_config
from cnnjax.studies.predictions import Predictions, predict
from cnnjax.studies.scores import LEAST


@dataclasses.dataclass(frozen=True)
class Outliers:
    """The training images of a set, judged by nets that never saw them.

    Attributes:
      source: of the images.
      labels: int [N], of all images of the training pool, in its order, as they train.
      probabilities: float [N, classes], out of fold; the mean over seeds.
      planted: bool [N], whose label `label_noise` made wrong; None without any.
      num_nets: nets that judge each image.
    """

    source: Source
    labels: np.ndarray
    probabilities: np.ndarray
    planted: np.ndarray | None
    num_nets: int

    @property
    def loss(self) -> np.ndarray:
        """Negative logarithm of the probability of the label, [N], in nats."""
        own = self.probabilities[np.arange(len(self.labels)), self.labels]
        return -np.log(np.maximum(own, LEAST))

    @property
    def margin(self) -> np.ndarray:
        """Probability of the label minus the largest of another class, [N]."""
        return margins(self.probabilities, self.labels)

    @property
    def suspect(self) -> np.ndarray:
        """Whether the label is likely wrong, [N]; see `suspects`."""
        return suspects(self.probabilities, self.labels)

    def worst(self) -> np.ndarray:
        """Positions of all images, those with the highest loss first."""
        return np.argsort(-self.loss, kind="stable")


def margins(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Probability of the label minus the largest of another class, in [-1, 1].

    Shapes: probabilities [N, classes], labels [N] -> [N].
    """
    places = np.arange(len(labels))
    others = probabilities.copy()
    others[places, labels] = -np.inf
    return probabilities[places, labels] - others.max(1)


def suspects(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Whether an image is confidently of another class than its label says.

    A class is confident of an image whose probability is at least the mean that the
    images labelled so have. Of several confident classes the likeliest counts. It is
    the label that is suspect if this is another class, and the likeliest of all is.

    Shapes: probabilities [N, classes], labels [N] -> bool [N].

    Source: Northcutt et al. 2021, arXiv 1911.00068, eqs. 1 and 2.
    """
    classes = probabilities.shape[1]
    own = [probabilities[labels == k, k] for k in range(classes)]
    # A class without images is confident of none.
    threshold = np.array([p.mean() if len(p) else np.inf for p in own])
    confident = np.where(probabilities >= threshold, probabilities, -1)
    some = (confident >= 0).any(1)
    guess = probabilities.argmax(1)
    return some & (confident.argmax(1) != labels) & (guess != labels)


def precision_at(worst: np.ndarray, planted: np.ndarray, k: int) -> float:
    """Share of the first k images of a ranking whose label was made wrong."""
    return float(planted[worst[:k]].mean())


def find_outliers(
    workdir: str | Path, weights: str = "last", *, data_dir: str = ""
) -> Outliers:
    """Judges every training image by the nets of the fold that held it out.

    Args:
      workdir: of `train --folds=K` or of an arm of `ablate --folds=K`: a folder for
        each fold.
      weights: see `load_run`.
      data_dir: folder of the data set; '' for that of the configs.

    Raises:
      UserError: folds are missing or of different data; a net has not been trained to
        the end, or has no finite answer; or see `predict`.
    """
    folders, requests = _folds(Path(workdir), data_dir)
    source = open_source(requests[0])
    labels = np.asarray(source.pools["train"].labels)
    probabilities = np.zeros((len(labels), len(source.class_names)))
    num_nets = 0
    for folder, request in zip(folders, requests, strict=True):
        held_out = choose(source.pools, request, source.in_splits)["test"][1]
        found = predict([folder], "test", weights, data_dir=data_dir)
        _require_judges(folder, found)
        probabilities[held_out] = found.ensemble()
        num_nets = len(found.members)
    wrong = None
    if share := requests[0].label_noise:
        true, seed = labels, requests[0].split_seed
        labels = planted(true, len(source.class_names), share, seed)
        wrong = labels != true
    return Outliers(source, labels, probabilities, wrong, num_nets)


def _require_judges(folder: Path, found: Predictions) -> None:
    """Refuses nets that would call images odd because they know nothing themselves."""
    for name, note, rows in zip(
        found.members, found.notes, found.probabilities, strict=True
    ):
        if "unfinished" in note or not np.isfinite(rows).all():
            raise UserError(
                f"{name} ({printable(folder)}) cannot judge images ({note}): the "
                "command that trained it goes on where it ended; a net that diverged "
                "needs another --workdir, with a lower learning rate"
            )


def _folds(workdir: Path, data_dir: str) -> tuple[list[Path], list[Request]]:
    """Folders of all folds and what they read, in order."""
    folders = sorted(workdir.glob("fold-*")) if workdir.is_dir() else []
    folders = [folder for folder in folders if is_there(folder / "config.json")]
    if not folders:
        raise UserError(
            f"{printable(workdir)} has no folders of folds (fold-0, fold-1, ...): give "
            "the --workdir of `train --folds=K`, or of an arm of `ablate --folds=K`"
        )
    requests = []
    for folder in folders:
        config = stored_config(folder / "config.json")
        if data_dir:
            config.data.data_dir = data_dir
        requests.append(splat("data", Request, config.data))
    folders, requests = map(
        list,
        zip(*sorted(zip(folders, requests, strict=True), key=_place), strict=True),
    )
    have = [request.fold for request in requests]
    if have != list(range(requests[0].num_folds)):
        raise UserError(
            f"{printable(workdir)} has the folds {_listed(have)} of "
            f"{requests[0].num_folds}: train the others first"
        )
    alike = {dataclasses.replace(request, fold=0) for request in requests}
    if len(alike) > 1:
        raise UserError(
            f"the folds in {printable(workdir)} differ in section data of their "
            "config.json: give an arm whose folds were trained together"
        )
    return folders, requests


def _place(pair: tuple[Path, Request]) -> int:
    return pair[1].fold


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
