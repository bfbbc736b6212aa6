"""Probabilities that trained nets give to images, one by one and as an ensemble."""

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
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
from cnnjax.run.trained.cells import seeds_of
from cnnjax.run.trained.load import load_run
from cnnjax.run.trained.net import TrainedNet
from cnnjax.training.loss import Loss
from cnnjax.training.multi_view import PLAIN, Views

SPLITS = ("train", "validation", "test")
BATCH = 250  # images


@dataclasses.dataclass(frozen=True)
class Predictions:
    """What several nets say of the same images.

    Attributes:
      members: names of the nets: folder and seed.
      steps: optimizer steps that each of them has seen.
      notes: what there is to know about each of them; may be empty.
      probabilities: float32 [M, N, classes], of each of them.
      labels: int32 [N].
      class_names: of the labels.
      loss: the kind that all were trained with.
    """

    members: tuple[str, ...]
    steps: tuple[int, ...]
    notes: tuple[str, ...]
    probabilities: np.ndarray
    labels: np.ndarray
    class_names: tuple[str, ...]
    loss: str

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
    nets = load_nets(workdirs, weights, data_dir)
    return predict_with(nets, split, views=views, data_dir=data_dir)


def predict_with(
    nets: Mapping[str, TrainedNet], split: str, *, views: Views, data_dir: str
) -> Predictions:
    """Predicts a split with the nets of `load_nets`; arguments as of `predict`."""
    members = list(nets.items())
    dataset, loss = _data(members, data_dir), _loss(members)
    images = getattr(dataset, split)
    if not len(images):
        raise UserError(
            f"data set {dataset.name} has no {split} images: choose --split"
        )
    labels, rows = np.empty(0, np.int32), []
    for _, net in members:
        probabilities, labels = _of_net(net, loss, images, views)
        rows.append(probabilities)
    if (labels < 0).any():
        raise UserError(
            f"the {split} images of {dataset.name} have no labels to compare with"
        )
    return Predictions(
        members=tuple(nets),
        steps=tuple(net.step for net in nets.values()),
        notes=tuple(map(_note, nets.values(), rows)),
        probabilities=np.stack(rows),
        labels=labels,
        class_names=tuple(dataset.class_names),
        loss=loss.kind,
    )


def load_nets(
    workdirs: Sequence[str | Path], weights: str, data_dir: str
) -> dict[str, TrainedNet]:
    """Name -> net, of all seeds of some runs; arguments and errors as of `predict`."""
    if not workdirs:
        raise UserError("--workdir is missing: give the folder of a run, or several")
    found: dict[str, TrainedNet] = {}
    same: dict[str, str] = {}
    for workdir, run in zip(workdirs, _told_apart(workdirs), strict=True):
        for seed in _seeds(Path(workdir)):
            net = load_run(workdir, weights, seed, data_dir=data_dir)
            name = f"{run} seed {seed}"
            first = next(iter(found), name)
            if found and net.class_names != found[first].class_names:
                raise UserError(
                    f"{name} has other classes than {first}: give runs of the same data"
                )
            twin = same.setdefault(_digest(net), name)
            if name in found:
                raise UserError(f"{name} is given twice: leave one of them out")
            if twin != name:
                raise UserError(
                    f"{name} has the very weights of {twin}, so it is no further "
                    "member of an ensemble: leave one of them out"
                )
            found[name] = net
    return found


def _told_apart(workdirs: Sequence[str | Path]) -> list[str]:
    """Names of folders: the last parts of their paths, as many as it takes."""
    paths = [Path(workdir).expanduser().resolve() for workdir in workdirs]
    most = max(len(path.parts) for path in paths)
    for num in range(1, most + 1):
        names = ["/".join(path.parts[-num:]) for path in paths]
        if len(set(names)) == len(set(paths)):
            break
    return names


def _digest(net: TrainedNet) -> str:
    """Of the weights and whatever else decides what a net says."""
    found = hashlib.sha256(repr((net.network, net.preprocess)).encode())
    for path, leaf in jax.tree_util.tree_leaves_with_path(net.variables):
        found.update(jax.tree_util.keystr(path).encode())
        found.update(np.ascontiguousarray(leaf).tobytes())
    return found.hexdigest()


def _note(net: TrainedNet, probabilities: np.ndarray) -> str:
    silent = int((~np.isfinite(probabilities).all(-1)).sum())
    nothing = f"no finite answer to {silent:,} of {len(probabilities):,} images"
    return "; ".join(part for part in (net.note, nothing if silent else "") if part)


def _loss(members: Sequence[tuple[str, TrainedNet]]) -> Loss:
    """The loss of all: only what was trained alike can be averaged."""
    first, of_first = members[0]
    kind = _kind(of_first)
    for name, net in members:
        if _kind(net) != kind:
            raise UserError(
                f"{name} was trained with loss {_kind(net)!r} and {first} with "
                f"{kind!r}, whose probabilities mean something else: give runs of one "
                "loss"
            )
    loss = Loss(kind)
    # Refuses a hinge before anything is computed.
    jax.eval_shape(loss.probabilities, jnp.zeros((1, len(of_first.class_names))))
    return loss


def _kind(net: TrainedNet) -> str:
    """Of the loss; the first versions had one alone."""
    return net.config.loss.kind if "loss" in net.config else "cross_entropy"


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


def _data(members: Sequence[tuple[str, TrainedNet]], data_dir: str) -> Dataset:
    """The data of the first run, which must be those of all, image by image."""
    request = data_request(members[0][1].config)
    if data_dir:
        request = dataclasses.replace(request, data_dir=data_dir)
    dataset = load_dataset(request)
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
    net: TrainedNet, loss: Loss, images: Any, views: Views
) -> tuple[np.ndarray, np.ndarray]:
    """(probabilities [N, classes], labels [N]) of one net."""
    params, state = _divided(net.variables)
    views.check(net.network, net.variables, net.preprocess.image_shape)

    def probabilities(params, state, x):
        def forward(x):
            return forward_eval(net.network, params, state, x)

        logits = views.logits(forward, x, loss.kind == "cross_entropy")
        return loss.probabilities(logits)

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
