"""A run's arrays on disk: with a leaf per block, however the blocks are executed."""

from collections.abc import Callable
from typing import Any

from cnnjax.models.stacks import stack_up, stacks_of, write_out
from cnnjax.train import hosts
from cnnjax.train.checkpoint import Checkpoints
from cnnjax.train.setup import Run

BLOCK_AXIS = 1  # blocks are stacked behind the seeds


def save(
    checkpoints: Checkpoints, run: Run, step: int, tree: Any, metadata: dict[str, Any]
) -> None:
    """`Checkpoints.save` of a tree like that of `saved_example`."""
    if hosts.num_processes() == 1:
        tree = run.parallel.to_host(tree)
    written = write_out(tree, stacks_of(run.declared), BLOCK_AXIS)
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
      run: what goes on.
      example: of `saved_example`.
      accept: as there.

    Returns:
      (step, tree, metadata), or None if there is no whole checkpoint.
    """
    stacks = stacks_of(run.declared)
    written = write_out(example, stacks, BLOCK_AXIS)
    found = checkpoints.restore_latest(written, accept)
    if found is None:
        return None
    step, tree, metadata = found
    return step, stack_up(tree, stacks, BLOCK_AXIS), metadata
