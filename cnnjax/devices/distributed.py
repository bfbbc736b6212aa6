"""Several processes that train one run: joining, and agreeing.

JAX connects the processes (`jax.distributed`) and finds them by itself under SLURM,
Open MPI, on TPU pods and Kubernetes. `watchdog.py` ends them all if one is lost.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator

import jax
import numpy as np
from jax.experimental import multihost_utils

from cnnjax.devices.watchdog import LOST_AFTER_SECONDS, Messenger, Watchdog
from cnnjax.errors import UserError
from cnnjax.records import only_read

JOIN_SECONDS = 300
# How the environment variables begin that tell JAX of other processes.
CLUSTERS = ("SLURM_", "OMPI_", "PMIX_", "KUBERNETES_", "TPU_")

_index, _num = 0, 1


def num_processes() -> int:
    """How many processes train together; 1 unless they were joined."""
    return _num


def process_index() -> int:
    """Number of this process, from 0."""
    return _index


def sum_over_processes(array: np.ndarray) -> np.ndarray:
    """The exact sum of an int64 array over all processes; all of them must call it."""
    if num_processes() == 1:
        return array
    # As bytes, because JAX would make 32 bits of 64.
    found = multihost_utils.process_allgather(array.reshape(-1).view(np.uint8))
    return found.view(np.int64).sum(axis=0).reshape(array.shape)


def max_over_processes(value: int) -> int:
    """The largest value of any process; all of them must call it."""
    if num_processes() == 1:
        return value
    return int(multihost_utils.process_allgather(np.array([value])).max())


def require_same(value: int, what: str) -> None:
    """Refuses to continue where the processes have found different values.

    Args:
      value: what this process found.
      what: in words.

    Raises:
      UserError: another process found something else.
    """
    if num_processes() > 1:
        found = multihost_utils.process_allgather(np.array([value])).reshape(-1)
        if len(set(found.tolist())) > 1:
            raise UserError(
                f"the processes differ in {what} ({', '.join(map(str, found))}): "
                "--workdir must be a folder that all hosts share"
            )


def check_together(check: Callable[[], None]) -> None:
    """Lets each process check its local slice of something; all refuse it or none.

    Args:
      check: called in every process.

    Raises:
      UserError: what it raised; where it did so in others alone, that it did.
    """
    refused: UserError | None = None
    try:
        check()
    except UserError as error:
        refused = error
    if max_over_processes(refused is not None):
        raise refused or UserError("another process was refused, see its message")


@contextlib.contextmanager
def joined(coordinator: str, num: int | None, index: int | None) -> Iterator[None]:
    """Within, this process is one of those that train together.

    Args:
      coordinator: host:port of process 0; '' to let JAX find the others, or that there
        are none.
      num: number of processes; None as above.
      index: of this process; None as above.

    Raises:
      UserError: they cannot be joined.
    """
    global _index, _num
    if not _join(coordinator, num, index) or jax.process_count() == 1:
        yield
        return
    _index, _num = jax.process_index(), jax.process_count()
    watchdog = Watchdog(_index, _num)
    try:
        with _only_process_0_prints():
            yield
    except UserError as error:
        watchdog.leave(f"{error}", 2)
    except BaseException as error:
        if (lost := watchdog.explain()) is not None:
            watchdog.end(lost)
        sys.excepthook(type(error), error, error.__traceback__)
        first_line = str(error).partition("\n")[0]
        watchdog.leave(f"{type(error).__name__}: {first_line}", 1)
    watchdog.close()
    jax.distributed.shutdown()


@contextlib.contextmanager
def _only_process_0_prints() -> Iterator[None]:
    """Only process 0 writes files and prints; all may print errors."""
    if _index == 0:
        yield
        return
    only_read()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def _join(coordinator: str, num: int | None, index: int | None) -> bool:
    """Joins the other processes; False if nothing tells of any."""
    # It would take SIGTERM for itself.
    jax.config.update("jax_enable_preemption_service", False)
    given = (bool(coordinator), num is not None, index is not None)
    if any(given) and not all(given):
        raise UserError(
            "--coordinator, --num_processes and --process_id go together: give all "
            "three, or none where SLURM, Open MPI, a TPU pod or Kubernetes tells JAX"
        )
    # A single task has no others to join, and two steps of a job would share a port.
    if not any(given) and os.environ.get("SLURM_NTASKS") == "1":
        return False
    messenger: contextlib.AbstractContextManager = contextlib.nullcontext()
    if any(given) or any(name.startswith(CLUSTERS) for name in os.environ):
        messenger = Messenger(
            f"a process did not meet the others within {JOIN_SECONDS} s: start all of "
            "them (under SLURM with srun), and check that process 0 can be reached"
            f"{f' at --coordinator={coordinator}' if coordinator else ''}"
        )
    try:
        with messenger:
            jax.distributed.initialize(
                coordinator or None,
                num,
                index,
                initialization_timeout=JOIN_SECONDS,
                heartbeat_timeout_seconds=int(3 * LOST_AFTER_SECONDS),
            )
    except ValueError as error:
        if not any(given) and "coordinator_address" in str(error):
            return False
        raise UserError(
            f"--coordinator={coordinator} --num_processes={num} --process_id={index} "
            f"will not do: {error}"
        ) from error
    except RuntimeError as error:
        raise UserError(
            f"the processes could not meet at {coordinator or 'process 0'}: "
            f"{str(error).partition(chr(10))[0]}; check --coordinator"
        ) from error
    return True
