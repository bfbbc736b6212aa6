"""Where the weights of a run come from: a file, a run on disk, or one that is planned.

What is asked before training (shapes, classes, standardisation) needs no weights, so
that an arm can be planned before the arm that it starts from is trained.
"""

import dataclasses
import functools
import hashlib
import importlib
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from flax import traverse_util
from flax.core import meta
from ml_collections import ConfigDict

from cnnjax.data.standardize import Statistics
from cnnjax.errors import UserError, printable
from cnnjax.interop import load_taken, sources_of
from cnnjax.interop.preparation import standardisation_of
from cnnjax.layers.norm import Norm
from cnnjax.net.execution import unscanned
from cnnjax.net.initialize import abstract_variables
from cnnjax.net.stacked import paths_of_blocks, stacks_of
from cnnjax.record_kinds import RESULT
from cnnjax.records import sift_record
from cnnjax.seal import outcome_digest
from cnnjax.start.section import OF_FILES, Start, require_unchanged

Leaves = Mapping[str, np.ndarray]


class NoStart(UserError):
    """A run has no weights that another could start from."""


@dataclasses.dataclass(frozen=True, eq=False)
class Origin:
    """Weights that a run starts from.

    Args:
      words: what they are, for the user.
      shapes: path such as 'params/stem_conv/kernel' -> shape, blocks stored separately.
      class_names: of the head; None where they are not known.
      standardize: a key of `standardize.STANDARDIZE`.
      statistics: of the standardisation.
      read: seed -> the leaves; a seed that failed has none that are numbers.
      notes: for the user.
      unfinished: a caution where they are of a run that has not ended; '' otherwise.
      outcomes: seeds -> those of the other run, each with its `outcome_digest`.
    """

    words: str
    shapes: Mapping[str, tuple[int, ...]]
    class_names: tuple[str, ...] | None
    standardize: str
    statistics: Statistics
    read: Callable[[int], Leaves]
    notes: tuple[str, ...] = ()
    unfinished: str = ""
    outcomes: Callable[[Sequence[int]], dict[str, str]] = lambda seeds: {}

    def digest(self, seeds: Sequence[int]) -> str:
        """SHA-256 of the leaves of some seeds."""
        total = hashlib.sha256()
        for seed in seeds:
            for path, leaf in sorted(self.read(seed).items()):
                total.update(f"{seed} {path} {leaf.dtype} {leaf.shape}\n".encode())
                total.update(np.ascontiguousarray(leaf).data)
        return total.hexdigest()


def of_file(
    start: Start,
    model: ConfigDict,
    norm: Norm,
    image_shape: tuple[int, int, int],
    num_classes: int,
) -> Origin:
    """A file of published weights.

    Args:
      start: section `start`.
      model: section `model`: the net of the file, but for the number of classes.
      norm: of the net.
      image_shape: of the images.
      num_classes: of the data.

    Raises:
      UserError: the file is not that of the digest, or belongs to another net.
    """
    require_unchanged(start)
    arguments = dict(model)
    name = arguments.pop("name")
    sources = (start.source,) if start.source else sources_of(name)
    if not sources:
        raise UserError(
            f"config.start.weights is the file {printable(start.weights)}, and no "
            f"source has weights for config.model.name={name!r}: give the folder of a "
            "run, or another net"
        )
    leaves, source, notes = load_taken(
        name,
        start.path,
        sources,
        image_shape,
        norm=norm,
        num_classes=num_classes,
        **arguments,
    )
    mean, std = (
        np.asarray(values, np.float32).reshape(1, 1, 1, -1)
        for values in standardisation_of(name, source, arguments)
    )
    return Origin(
        f"{printable(start.weights)} ({source}, SHA-256 {start.digest[:12]})",
        {path: leaf.shape for path, leaf in leaves.items()},
        None,
        OF_FILES,
        Statistics(mean, std),
        lambda seed: leaves,
        tuple(notes),
    )


def of_run(start: Start, seed: int) -> Origin:
    """A run on disk; its weights are read when they are asked for.

    Args:
      start: section `start`.
      seed: one of those that start from it.

    Raises:
      UserError: there is no run, or another one.
    """
    require_unchanged(start)
    wanted = seed if start.seed < 0 else start.seed
    parts = _load().parts_of(start.path, wanted)
    image_shape = parts.preprocess.image_shape
    shapes = shapes_of(abstract_variables(unscanned(parts.network), image_shape))
    return Origin(
        _words(start),
        shapes,
        parts.class_names,
        parts.preprocess.standardize,
        parts.preprocess.statistics,
        _reader(start, shapes),
        unfinished=_unfinished(start, parts.folder / f"seed-{wanted}"),
        outcomes=_outcomes(start),
    )


def of_planned(start: Start, parent: Any) -> Origin:
    """A run that is set up and not trained yet.

    Args:
      start: section `start`, of a run whose folder is known.
      parent: its `Run`.
    """
    shapes = shapes_of(parent.declared)
    return Origin(
        _words(start),
        shapes,
        parent.dataset.class_names,
        parent.preprocess.standardize,
        parent.preprocess.statistics,
        _reader(start, shapes),
        outcomes=_outcomes(start),
    )


def kept_statistics(folder: Path, config: ConfigDict, seed: int) -> Statistics:
    """The standardisation that a trained run took over, out of its own folder.

    Args:
      folder: of the run.
      config: of the run.
      seed: any of the run.

    Raises:
      UserError: files in the folder are of different runs.
    """
    parts = _load().parts_of(folder, seed, data_dir=config.data.data_dir)
    return parts.preprocess.statistics


def again(origin: Origin) -> Origin:
    """The same, read anew from the disk at each call; nothing is kept in memory."""
    return dataclasses.replace(origin, read=inspect.unwrap(origin.read))


def _words(start: Start) -> str:
    seed = "" if start.seed < 0 else f", seed {start.seed}"
    return f"{printable(start.weights)} ({start.which} weights{seed})"


def shapes_of(declared: Any) -> dict[str, tuple[int, ...]]:
    """Path of each leaf, blocks stored separately -> its shape.

    Args:
      declared: of `abstract_variables`.
    """
    stacks = stacks_of(declared)
    flat = traverse_util.flatten_dict(dict(meta.unbox(declared)), sep="/")
    found = {}
    for path, leaf in flat.items():
        for block in paths_of_blocks(path, stacks):
            found[block] = tuple(leaf.shape[block != path :])
    return found


def _load() -> Any:
    """What loads a run: it knows how a run is set up, and that asks for this file."""
    return importlib.import_module("cnnjax.run.trained.load")


def _reader(start: Start, shapes: Mapping[str, tuple]) -> Callable[[int], Leaves]:
    @functools.cache
    def read(seed: int) -> Leaves:
        wanted = seed if start.seed < 0 else start.seed
        if start.which != "initial" and _failed(start.path, wanted):
            # Its own first loss is then not finite, and the other seeds train.
            nan = np.float32(np.nan)
            return {path: np.full(shape, nan) for path, shape in shapes.items()}
        try:
            net = _load().load_run(start.path, start.which, wanted).plain()
        except UserError as error:
            hint = "" if start.seed >= 0 else "; one seed for all: config.start.seed"
            raise NoStart(
                f"the start weights {printable(start.weights)} cannot be had "
                f"({error}){hint}"
            ) from error
        return traverse_util.flatten_dict(meta.unbox(net.variables), sep="/")

    return read


def _unfinished(start: Start, folder: Path) -> str:
    result, _ = sift_record(folder / "result.json", RESULT)
    if start.which == "initial" or (result and not result.get("crashed")):
        return ""
    return (
        f"config.start.weights is the run {printable(start.weights)}, which is "
        "unfinished: taken are the weights of its newest checkpoint, and not those "
        "that it will end with"
    )


def _outcomes(start: Start) -> Callable[[Sequence[int]], dict[str, str]]:
    def of(seeds: Sequence[int]) -> dict[str, str]:
        wanted = seeds if start.seed < 0 else (start.seed,)
        found = {seed: _result(start.path, seed) for seed in wanted}
        return {str(s): outcome_digest(result) for s, result in found.items() if result}

    return of


def _failed(folder: Path, seed: int) -> bool:
    """Whether a seed diverged; a crash is something else."""
    result = _result(folder, seed)
    return result is not None and result["status"] == "failed"


def _result(folder: Path, seed: int) -> dict[str, Any] | None:
    """The result of a seed that has ended by itself, in any cell of an arm."""
    for cell in (folder, *sorted(folder.glob("seeds-*"))):
        result, _ = sift_record(cell / f"seed-{seed}" / "result.json", RESULT)
        if result and not result.get("crashed"):
            return result
    return None
