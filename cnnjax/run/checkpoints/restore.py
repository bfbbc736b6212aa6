"""How a run saves its arrays and finds those to resume from: one copy per block."""

import zlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from flax import traverse_util

from cnnjax.devices import distributed
from cnnjax.errors import UserError
from cnnjax.files import open_regular
from cnnjax.net.stacked import stack, stacks_of, unstack
from cnnjax.records import unreadable, write_bytes
from cnnjax.run.checkpoints.manager import Checkpoints
from cnnjax.run.folder import RunFolder, require_own
from cnnjax.run.setup import Run

BLOCK_AXIS = 1  # blocks are stacked behind the seeds
# Beside the checkpoints, where config.eval.statistics is 'precise'.
STATISTICS = "statistics.safetensors"
_MOST_BYTES = 2**34


def save(
    checkpoints: Checkpoints, run: Run, step: int, tree: Any, metadata: dict[str, Any]
) -> None:
    """`Checkpoints.save` of a tree like that of `saved_example`."""
    if distributed.num_processes() == 1:
        tree = run.parallel.to_host(tree)
    written = unstack(tree, stacks_of(run.declared), BLOCK_AXIS)
    checkpoints.save(step, written, metadata)


def restore_latest(
    checkpoints: Checkpoints,
    run: Run,
    example: Any,
    accept: Callable[[dict[str, Any]], None],
) -> tuple[int, Any, dict[str, Any]] | None:
    """`Checkpoints.restore_latest`, in the form in which the run executes its blocks.

    Args:
      checkpoints: of this run, or of one that executed its blocks otherwise.
      run: the one to be resumed.
      example: of `saved_example`.
      accept: as there.

    Returns:
      (step, tree, metadata), or None if there is no whole checkpoint.
    """
    stacks = stacks_of(run.declared)
    written = unstack(example, stacks, BLOCK_AXIS)
    found = checkpoints.restore_latest(written, accept)
    if found is None:
        return None
    step, tree, metadata = found
    return step, stack(tree, stacks, BLOCK_AXIS), metadata


def save_statistics(folder: RunFolder, step: int, settled: dict[str, Any]) -> None:
    """Keeps the re-estimated statistics that the reported errors were computed with.

    Args:
      folder: of the run.
      step: its last.
      settled: 'final' and 'best' -> model state of all seeds, or None.
    """
    run = folder.run
    known = {name: state for name, state in settled.items() if state is not None}
    on_host = run.parallel.to_host(known)
    written = unstack(on_host, stacks_of(run.declared), BLOCK_AXIS)
    flat = traverse_util.flatten_dict(written, sep=".")
    leaves = {name: np.ascontiguousarray(leaf) for name, leaf in flat.items()}
    sums = {f"crc.{which}": _crc(_part(leaves, which)) for which in settled}
    about = {"step": str(step), **folder.identity, "seeds": seeds_in_words(run.seeds)}
    content = safetensors.numpy.save(leaves, about | sums)
    write_bytes(folder.path / STATISTICS, content)


def seeds_in_words(seeds: Sequence[int]) -> str:
    """The seeds of a run as the file of its statistics names them."""
    return " ".join(map(str, seeds))


def read_statistics(
    folder: Path, which: str, step: int, ours: Mapping[str, str]
) -> dict[str, Any] | None:
    """What `save_statistics` kept as 'final' or 'best': name -> leaf of all seeds.

    None where nothing was kept for this last step.

    Args:
      folder: of the run.
      which: 'final' or 'best'.
      step: the last of the run.
      ours: the 'config_hash', 'data_fingerprint' and 'seeds' of the run, which the file
        must have; files of earlier versions say nothing of their run.

    Raises:
      UserError: the file is damaged, is of another run, or cannot be read now.
    """
    path = folder / STATISTICS
    try:
        open_regular(path, _MOST_BYTES).close()  # a pipe would never open
        with safetensors.safe_open(path, "numpy") as file:
            known = file.metadata() or {}
            if known.get("step") != str(step):
                return None
            require_own(path, known, ours)
            names = [name for name in file.keys() if name.startswith(f"{which}.")]  # noqa: SIM118
            leaves = {name: file.get_tensor(name) for name in names}
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error
    except safetensors.SafetensorError as error:
        raise _damaged(path, str(error)) from error
    # Files of before have no sums.
    part = _part(leaves, which)
    if known.get(f"crc.{which}", _crc(part)) != _crc(part):
        raise _damaged(path, "its checksum is another")
    return part or None


def _part(leaves: dict[str, Any], which: str) -> dict[str, Any]:
    start = f"{which}."
    return {n.removeprefix(start): v for n, v in leaves.items() if n.startswith(start)}


def _crc(leaves: dict[str, Any]) -> str:
    crc = 0
    for name in sorted(leaves):
        crc = zlib.crc32(leaves[name].tobytes(), zlib.crc32(name.encode(), crc))
    return f"{crc:08x}"


def _damaged(path: Path, why: str) -> UserError:
    return UserError(
        f"{path} is damaged ({why}): move it away, and the running statistics stand in "
        "for those in it"
    )
