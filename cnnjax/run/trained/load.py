"""Loads a trained net from the folder of a run or of an arm."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import linen as nn
from flax import traverse_util
from flax.core import meta
from ml_collections import ConfigDict

from cnnjax.config import differences, digest, splat, to_dict
from cnnjax.data.preprocess import Preprocess
from cnnjax.errors import UserError, printable, unknown_name
from cnnjax.net.execution import unscanned
from cnnjax.net.initialize import KernelInit, abstract_variables, draw_variables
from cnnjax.net.stacked import stack, stacks_of_net
from cnnjax.record_kinds import PROVENANCE
from cnnjax.records import is_there, read_record
from cnnjax.run.checkpoints.manager import Checkpoints
from cnnjax.run.checkpoints.restore import read_statistics, seeds_in_words
from cnnjax.run.folder import (
    PREPROCESSING,
    read_result,
    refuse_without_weights,
    require_metadata,
    require_own,
)
from cnnjax.run.settings import TrainSettings
from cnnjax.run.single import stored_config
from cnnjax.run.trained.cells import find_cell, name_of, seeds_of
from cnnjax.run.trained.fed import Fed, read_fed
from cnnjax.run.trained.net import WEIGHTS, TrainedNet, architecture_of, build_network

# Where a checkpoint keeps (params, model_state).
_PLACES = {
    "last": ("state.params", "state.model_state"),
    "best": ("best.0", "best.1"),
    "ema": ("state.ema.params", "state.ema.model_state"),
}
# Before the statistics were averaged along with the parameters.
_OLD_EMA = ("state.ema", "state.model_state")


def load_run(
    workdir: str | os.PathLike,
    weights: str = "best",
    seed: int = 0,
    *,
    data_dir: str = "",
) -> TrainedNet:
    """A trained net with its preprocessing, out of the folder of its run.

        net = cnnjax.load_run("runs/train/mine", weights="last")
        logits = net.network.apply(net.variables, net.preprocess(images), train=False)

    >>> import cnnjax
    >>> net = cnnjax.load_run("runs/mlp", weights="last")
    >>> net.step, net.seed, net.network.apply(
    ...     net.variables,
    ...     net.preprocess(cnnjax.load_dataset("digits").test.images[:4]),
    ...     train=False,
    ... ).shape
    (8, 0, (4, 10))

    Args:
      workdir: folder of a training, of an arm of an ablation or of one of its cells;
        it may have been copied from elsewhere, and the data set need not be there.
      weights: 'best' (on validation), 'last' (of the newest checkpoint), 'ema' (its
        moving average) or 'initial' (as drawn from the seed).
      seed: one of those of the run.
      data_dir: folder of the data set, for runs that are older than the file
        preprocessing.json; '' for that of their config.

    Returns:
      The net; where a reported error is not exactly that of these weights and their
      statistics, its note tells what differs.

    Raises:
      UserError: no run there, or no such seed or weights (names those that are), or
        files in the folder are of different runs.
    """
    if weights not in WEIGHTS:
        raise unknown_name("weights", weights, WEIGHTS, "weights (--weights)")
    folder = find_cell(Path(workdir).expanduser(), seed)
    if weights != "initial":
        refuse_without_weights(folder)
    _, config, ours, fed, network = parts_of(folder, seed, data_dir=data_dir)
    image_shape = fed.preprocess.image_shape
    loaded = _load(folder, config, ours, network, image_shape, weights, seed)
    # Of its config last: the checkpoint tells more of what differs.
    require_own(folder / PREPROCESSING, fed.record, ours)
    notes = [*fed.notes, *loaded.notes, _data_of(folder).get("note", "")]
    return TrainedNet(
        network=network,
        variables=loaded.variables,
        preprocess=fed.preprocess,
        class_names=fed.class_names,
        config=config.lock(),
        arm=name_of(folder),
        seed=seed,
        weights=weights,
        step=loaded.step,
        test_error=loaded.test_error,
        note="; ".join(note for note in notes if note),
        data_fingerprint=ours["data_fingerprint"],
    )


class Parts(NamedTuple):
    """What a folder says of the net of a run, without its weights."""

    folder: Path
    config: ConfigDict
    ours: dict[str, str]
    fed: Fed
    network: nn.Module

    @property
    def preprocess(self) -> Preprocess:
        return self.fed.preprocess

    @property
    def class_names(self) -> tuple[str, ...]:
        return self.fed.class_names


def parts_of(workdir: str | os.PathLike, seed: int = 0, *, data_dir: str = "") -> Parts:
    """The parts of a run that need no checkpoint; arguments as of `load_run`.

    Raises:
      UserError: as `load_run`.
    """
    folder = find_cell(Path(workdir).expanduser(), seed)
    config = stored_config(folder / "config.json")
    ours = _identity_of(folder, config)
    fed = read_fed(folder, config, ours, data_dir)
    architecture = architecture_of(config, len(fed.class_names), plain=False)
    return Parts(folder, config, ours, fed, build_network(architecture))


class _Loaded(NamedTuple):
    """The weights of one seed."""

    variables: dict[str, Any]
    step: int
    test_error: float | None
    notes: list[str]


class _Checkpoint(NamedTuple):
    """The newest whole one, of all seeds."""

    step: int
    leaves: dict[str, np.ndarray]
    loop: dict[str, Any]
    warnings: list[str]


def _identity_of(folder: Path, config: ConfigDict) -> dict[str, str]:
    """What every file in the folder must say of its run, where it says anything."""
    return {
        "config_hash": digest(config),
        "data_fingerprint": _data_of(folder)["fingerprint"],
        "seeds": seeds_in_words(seeds_of(config)),
    }


def _load(
    folder: Path,
    config: ConfigDict,
    ours: Mapping[str, str],
    network: nn.Module,
    image_shape: tuple[int, ...],
    weights: str,
    seed: int,
) -> _Loaded:
    if weights == "initial":
        return _Loaded(_initial(config, network, image_shape, seed), 0, None, [])
    result = read_result(folder / f"seed-{seed}", {"seed": seed, **ours})
    _require_arm(folder, result)
    found = _newest(folder, config, ours)
    i = seeds_of(config).index(seed)
    _refuse_failed(folder, config, found, result, seed)
    places = _places(folder, found, weights, i)
    step = found.loop["best_step"][i] if weights == "best" else found.step
    test_error = _reported(config, result, weights, step)
    notes = [*found.warnings]
    if result is None or result.get("crashed"):
        notes.append(f"unfinished: step {found.step:,} of {_total(folder, config)}")
    if weights == "ema" and places == _OLD_EMA:
        notes.append("statistics of the raw weights, as the run averaged none")
    leaves = found.leaves
    if test_error is not None:
        settled, words = _settled(folder, config, ours, weights, places[1], found.step)
        leaves = leaves | settled
        notes += [words]
    variables = _variables(folder, network, image_shape, leaves, places, i)
    return _Loaded(variables, step, test_error, notes)


def _require_arm(folder: Path, result: Mapping[str, Any] | None) -> None:
    """Refuses the cell of an ablation that was copied to the place of another arm."""
    cell = name_of(folder)
    inside = any(is_there(root / "plan.json") for root in folder.resolve().parents[:3])
    arm = (result or {}).get("arm")
    if inside and arm is not None and arm not in (cell, cell.partition("/")[0]):
        require_own(folder, {"arm": arm}, {"arm": cell})


def _initial(
    config: ConfigDict, network: nn.Module, image_shape: tuple[int, ...], seed: int
) -> dict[str, Any]:
    if config.start.weights:
        raise UserError(
            f"this run started from {printable(config.start.weights)} in "
            f"{printable(config.start.folder)}, which it does not hold: load it there"
        )
    declared = abstract_variables(network, image_shape)
    if "init" in config:  # which the first versions had not
        declared = splat("init", KernelInit, config.init).applied(declared)
    return jax.tree.map(lambda leaf: leaf[0], draw_variables(declared, (seed,)))


def _data_of(folder: Path) -> dict[str, Any]:
    """What is known of the data that a run was trained on."""
    return read_record(folder / "provenance.json", PROVENANCE)["data"]


def _newest(folder: Path, config: ConfigDict, ours: Mapping[str, str]) -> _Checkpoint:
    warnings: list[str] = []
    found = None
    if (folder / "checkpoints").is_dir():
        with Checkpoints(
            folder / "checkpoints", keep_last=None, warn=warnings.append
        ) as checkpoints:
            found = checkpoints.restore_latest(None)
    if found is None:
        why = "all are damaged" if warnings else "there is none yet"
        raise UserError(
            f"{folder} holds no whole checkpoint ({why}): its initial weights are all "
            "there is (weights='initial')"
        )
    step, leaves, metadata = found
    require_metadata(folder, metadata)
    if changed := differences(metadata["config"], to_dict(config)):
        raise UserError(
            f"{folder} holds checkpoints of another config than its config.json "
            f"({'; '.join(changed)}): restore the file, or move the checkpoints away"
        )
    of_data = {"data_fingerprint": ours["data_fingerprint"]}
    require_own(folder / "checkpoints" / str(step), metadata, of_data)
    return _Checkpoint(step, leaves, metadata["loop"], warnings)


def _refuse_failed(
    folder: Path,
    config: ConfigDict,
    found: _Checkpoint,
    result: Mapping[str, Any] | None,
    seed: int,
) -> None:
    seeds, failed_at = seeds_of(config), found.loop["failed_at"]
    crashed = result is not None and bool(result.get("crashed"))
    step = failed_at[seeds.index(seed)]
    reason = f"the loss was not finite at step {step}"
    if result is not None and result["status"] == "failed" and not crashed:
        reason = result["reason"]
    elif step < 0:
        return
    others = [str(s) for s, at in zip(seeds, failed_at, strict=True) if at < 0]
    others = [other for other in others if other != str(seed)]
    raise UserError(
        f"seed {seed} of {folder} failed ({reason}): "
        + (f"seeds that did not: {', '.join(others)}; " if others else "")
        + "of this one there are the initial weights (weights='initial')"
    )


def _places(folder: Path, found: _Checkpoint, weights: str, i: int) -> tuple[str, str]:
    """Where the wanted weights lie in the checkpoint.

    Raises:
      UserError: they do not; names those that are.
    """

    def holds(place: str) -> bool:
        return any(name.startswith(f"{place}.") for name in found.leaves)

    there = {"last": f"step {found.step}"}
    if holds("best.0") and np.isfinite(float(found.loop["best_error"][i])):
        there["best"] = f"step {found.loop['best_step'][i]}"
    if holds("state.ema"):
        there["ema"] = f"step {found.step}"
    if weights in there:
        if weights == "ema" and not holds("state.ema.params"):
            return _OLD_EMA
        return _PLACES[weights]
    why = "config.train.ema_decay was 0"
    if weights == "best":
        why = "config.eval.keep_best was False, or there were no validation images"
        if holds("best.0"):
            why = f"nothing was validated up to step {found.step}"
    named = ", ".join(f"{name} ({step})" for name, step in there.items())
    raise UserError(
        f"{folder} has no {weights!r} weights ({why}): it has {named}, initial "
        "(weights, --weights)"
    )


def _reported(
    config: ConfigDict, result: Mapping[str, Any] | None, weights: str, step: int
) -> float | None:
    """The test error in percent that was reported for these weights, if one was."""
    if result is None or result["status"] != "done":
        return None
    reported = result.get("best") or {}
    if weights != "best":
        same = (weights == "ema") == (config.eval.weights == "ema")
        final = (result.get("final") or {}) if same else {}
        reported = {"step": result.get("step"), "test": final.get("test", {})}
    return reported["test"].get("error") if reported.get("step") == step else None


def _settled(
    folder: Path,
    config: ConfigDict,
    ours: Mapping[str, str],
    weights: str,
    place: str,
    step: int,
) -> tuple[dict[str, np.ndarray], str]:
    """Statistics that the reported error was computed with, by the checkpoint's names.

    Returns:
      What to put over the leaves of the checkpoint, and a note where that is not what
      was evaluated.
    """
    kind = config.eval.statistics
    if kind == "batch":
        return {}, (
            "the reported error was computed with the statistics of each batch; here "
            "are the running ones"
        )
    if kind == "running":
        return {}, ""
    which = "best" if weights == "best" else "final"
    kept = read_statistics(folder, which, step, ours)
    if kept is None:
        return {}, (
            "the reported error was computed with re-estimated statistics, which the "
            "folder does not hold; here are the running ones"
        )
    return {f"{place}.{name}": leaf for name, leaf in kept.items()}, ""


def _variables(
    folder: Path,
    network: nn.Module,
    image_shape: tuple[int, ...],
    leaves: Mapping[str, np.ndarray],
    places: tuple[str, str],
    i: int,
) -> dict[str, Any]:
    """The tree of the network, of seed number i.

    Raises:
      UserError: the checkpoint was written by another form of the network.
    """
    wanted = abstract_variables(unscanned(network), image_shape)
    flat = {}
    for path, leaf in traverse_util.flatten_dict(meta.unbox(wanted)).items():
        in_params = path[0] == "params"
        place = [places[0], *path[1:]] if in_params else [places[1], *path]
        found = leaves.get(".".join(place))
        if found is None or found.shape[1:] != leaf.shape:
            what = "missing" if found is None else f"{list(found.shape[1:])}"
            raise UserError(
                f"the checkpoint in {folder} does not fit its network as this version "
                f"builds it: {'/'.join(path)} is {what} there and {list(leaf.shape)} "
                "here; load it with the version in its provenance.json"
            )
        flat[path] = found[i].copy()
    tree = traverse_util.unflatten_dict(flat)
    return stack(tree, stacks_of_net(network, image_shape))


def _total(folder: Path, config: ConfigDict) -> str:
    """Steps of the whole run."""
    num_train = _data_of(folder).get("num_train")
    if num_train is None:
        return "an unknown number"
    return f"{splat('train', TrainSettings, config.train).total_steps(num_train):,}"
