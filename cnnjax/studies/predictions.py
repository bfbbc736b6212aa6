"""Probabilities that trained nets give to images, one by one and as an ensemble."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cnnjax.data.dataset import Dataset, load_dataset
from cnnjax.devices.parallel import compile_program
from cnnjax.errors import UserError, unknown_name
from cnnjax.net.forward import forward_eval
from cnnjax.record_kinds import WHOLE_CONFIG
from cnnjax.records import read_record
from cnnjax.run.settings import data_request
from cnnjax.run.single import stored_config
from cnnjax.run.trained.cells import find_cell, seeds_of
from cnnjax.run.trained.load import load_run
from cnnjax.run.trained.net import TrainedNet
from cnnjax.training.views import PLAIN, Views

SPLITS = ("train", "validation", "test")
BATCH = 250  # images


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What several nets say of the same images.

    Attributes:
      members: names of the nets: folder and seed.
      probabilities: float32 [M, N, classes], of each of them.
      labels: int32 [N].
      class_names: of the labels.
      note: caveat about the data; may be empty.
    """

    members: tuple[str, ...]
    probabilities: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    note: str

    def ensemble(self, members: Sequence[int] | None = None) -> np.ndarray:
        """Mean of the probabilities of some members, or of all: [N, classes]."""
        chosen = slice(None) if members is None else list(members)
        return self.probabilities[chosen].mean(axis=0)


def predict(
    workdirs: Sequence[str | Path],
    split: str = "test",
    weights: str = "last",
    *,
    views: Views = PLAIN,
    data_dir: str = "",
) -> Predictions:
    """Predicts a split with all seeds of some runs.

    Args:
      workdirs: folders of trainings, or of arms of ablations.
      split: 'train', 'validation' or 'test' of the first of them.
      weights: see `load_run`.
      views: of each image, over which probabilities are averaged.
      data_dir: folder of the data set; '' for that of the first run's config.

    Raises:
      UserError: no such run, split or weights; runs of other classes or other data.
    """
    if split not in SPLITS:
        raise unknown_name("split", split, SPLITS, "--split")
    if not workdirs:
        raise UserError("--workdir is missing: give the folder of a run, or several")
    members = _members(workdirs, weights, data_dir)
    dataset = _data(Path(workdirs[0]), members, data_dir)
    images = getattr(dataset, split)
    if not len(images):
        raise UserError(
            f"data set {dataset.name} has no {split} images: choose --split"
        )
    labels, rows = np.empty(0, np.int32), []
    for _, net in members:
        probabilities, labels = _of_net(net, images, views)
        rows.append(probabilities)
    if (labels < 0).any():
        raise UserError(
            f"the {split} images of {dataset.name} have no labels to compare with"
        )
    return Predictions(
        members=tuple(name for name, _ in members),
        probabilities=np.stack(rows),
        labels=labels,
        class_names=tuple(dataset.class_names),
        note=dataset.note,
    )


def _members(
    workdirs: Sequence[str | Path], weights: str, data_dir: str
) -> list[tuple[str, TrainedNet]]:
    found: list[tuple[str, TrainedNet]] = []
    for workdir in workdirs:
        for seed in _seeds(Path(workdir)):
            net = load_run(workdir, weights, seed, data_dir=data_dir)
            name = f"{Path(workdir).name} seed {seed}"
            if found and net.class_names != found[0][1].class_names:
                raise UserError(
                    f"{name} has other classes than {found[0][0]}: give runs of the "
                    "same data"
                )
            found.append((name, net))
    names = [name for name, _ in found]
    if len(set(names)) < len(names):
        raise UserError(
            f"{max(names, key=names.count)} is given twice: leave one of them out"
        )
    return found


def _seeds(workdir: Path) -> list[int]:
    """All seeds of a run, those of further cells of an arm included."""
    folders = [workdir, *sorted(workdir.glob("seeds-*"))]
    seeds = [
        seed
        for folder in folders
        if (folder / "config.json").is_file()
        for seed in seeds_of(read_record(folder / "config.json", WHOLE_CONFIG))
    ]
    return seeds or [0]  # which `load_run` refuses with a sentence


def _data(
    workdir: Path, members: Sequence[tuple[str, TrainedNet]], data_dir: str
) -> Dataset:
    """The data of the first run, which must be those of all, image by image."""
    config = stored_config(find_cell(workdir, members[0][1].seed) / "config.json")
    if data_dir:
        config.data.data_dir = data_dir
    dataset = load_dataset(data_request(config))
    for name, net in members:
        if net.data_fingerprint != dataset.fingerprint:
            raise UserError(
                f"{name} was trained on other images, or splits, than data set "
                f"{dataset.name} has now (fingerprints {net.data_fingerprint} and "
                f"{dataset.fingerprint}): give the same data (--data_dir), or runs of "
                "the same"
            )
        if net.class_names != tuple(dataset.class_names):
            raise UserError(
                f"{name} has other classes than data set {dataset.name} has now: give "
                "the same data (--data_dir)"
            )
    return dataset


def _of_net(
    net: TrainedNet, images: Any, views: Views
) -> tuple[np.ndarray, np.ndarray]:
    """(probabilities [N, classes], labels [N]) of one net."""
    params, state = _divided(net.variables)
    views.check(net.network, net.variables, net.preprocess.image_shape)

    def probabilities(params, state, x):
        def forward(x):
            return forward_eval(net.network, params, state, x)

        return jax.nn.softmax(views.logits(forward, x))

    size, program = min(BATCH, len(images)), None
    rows, labels = [], []
    for start in range(0, len(images), size):
        # The last batch is filled up with the end of the one before.
        first = min(start, len(images) - size)
        pixels, of_batch = images.read(np.arange(first, first + size))
        x = jnp.asarray(net.preprocess(pixels))
        if program is None:
            program = compile_program(probabilities, (params, state, x))
        new = start - first
        rows.append(np.asarray(program(params, state, x))[new:])
        labels.append(np.asarray(of_batch)[new:])
    return np.concatenate(rows), np.concatenate(labels)


def _divided(variables: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    state = dict(variables)
    return state.pop("params"), state
