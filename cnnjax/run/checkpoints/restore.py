"""How a run saves its arrays and finds those to resume from: one copy per block."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from flax import traverse_util

from cnnjax.devices import distributed
from cnnjax.net.stacked import stack, stacks_of, unstack
from cnnjax.records import write_bytes
from cnnjax.run.checkpoints.manager import Checkpoints
from cnnjax.run.setup import Run

BLOCK_AXIS = 1  # blocks are stacked behind the seeds
# Beside the checkpoints, where config.eval.statistics is 'precise'.
STATISTICS = "statistics.safetensors"


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


def save_statistics(folder: Path, run: Run, step: int, settled: dict[str, Any]) -> None:
    """Keeps the re-estimated statistics that the reported errors were computed with.

    Args:
      folder: of the run.
      run: what was trained there.
      step: its last.
      settled: 'final' and 'best' -> model state of all seeds, or None.
    """
    known = {name: state for name, state in settled.items() if state is not None}
    on_host = run.parallel.to_host(known)
    written = unstack(on_host, stacks_of(run.declared), BLOCK_AXIS)
    flat = traverse_util.flatten_dict(written, sep=".")
    content = safetensors.numpy.save(
        {name: np.ascontiguousarray(leaf) for name, leaf in flat.items()},
        {"step": str(step)},
    )
    write_bytes(folder / STATISTICS, content)


def read_statistics(folder: Path, which: str, step: int) -> dict[str, Any] | None:
    """What `save_statistics` kept as 'final' or 'best': name -> leaf of all seeds.

    None where nothing was kept for this last step.
    """
    try:
        with safetensors.safe_open(folder / STATISTICS, "numpy") as file:
            if file.metadata()["step"] != str(step):
                return None
            names = [name for name in file.keys() if name.startswith(f"{which}.")]  # noqa: SIM118
            leaves = {n.removeprefix(f"{which}."): file.get_tensor(n) for n in names}
    except (OSError, safetensors.SafetensorError):
        return None
    return leaves or None
