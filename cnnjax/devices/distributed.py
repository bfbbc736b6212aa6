"""Several processes that train one run: joining, agreeing, noticing a lost one.

JAX connects the processes (`jax.distributed`) and finds them by itself under SLURM,
Open MPI, on TPU pods and Kubernetes. Where one of them dies, JAX would wait, or end the
others with a page of C++. Here every process gives a sign of life each second, the
first one watches them, and whoever is left ends within `LOST_AFTER_SECONDS`, in one
sentence; the last checkpoint counts.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils

from cnnjax.errors import UserError
from cnnjax.records import only_read

# A process without a sign of life for so long is lost; longer than a machine that swaps
# may keep it from giving one.
LOST_AFTER_SECONDS = 20.0
# The same where a collective operation has failed already.
LOST_AFTER_FAILURE_SECONDS = 4.0
EVERY_SECONDS = 1.0
JOIN_SECONDS = 300
# EX_TEMPFAIL of sysexits.h: try again.
EXIT_LOST = 75

# How the environment variables begin that tell JAX of other processes.
CLUSTERS = ("SLURM_", "OMPI_", "PMIX_", "KUBERNETES_", "TPU_")
GO_ON = "the same command goes on from the last checkpoint"
# Speaks at the end of its input, unless that held a word.
LAST_WORDS = "import sys; sys.stdin.read() or print(sys.argv[1], file=sys.stderr)"

_watch: "Watch | None" = None


def num_processes() -> int:
    """How many processes train together; 1 unless they were joined."""
    return 1 if _watch is None else _watch.num


def is_first() -> bool:
    """Whether this process writes the records and talks to the person."""
    return _watch is None or _watch.index == 0


def process_index() -> int:
    """Number of this process, from 0."""
    return 0 if _watch is None else _watch.index


def total(array: np.ndarray) -> np.ndarray:
    """The sum of an int64 array over all processes, exactly; all of them must ask."""
    if num_processes() == 1:
        return array
    # As bytes, because JAX would make 32 bits of 64.
    found = multihost_utils.process_allgather(array.reshape(-1).view(np.uint8))
    return found.view(np.int64).sum(axis=0).reshape(array.shape)


def largest(value: int) -> int:
    """The largest value in any process; all of them must ask."""
    if num_processes() == 1:
        return value
    return int(multihost_utils.process_allgather(np.array([value])).max())


def require_same(value: int, what: str) -> None:
    """Refuses to go on where the processes have different ideas.

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


def by_first(check: Callable[[], None]) -> None:
    """Lets the first process check something that may be refused; all must ask.

    Args:
      check: called in the first process alone.

    Raises:
      UserError: what it raised; in the other processes, that it did.
    """
    by_all(lambda: check() if is_first() else None)


def by_all(check: Callable[[], None]) -> None:
    """Lets each process check its share of something that may be refused.

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
    if largest(refused is not None):
        raise refused or UserError("another process was refused, see its message")


@contextlib.contextmanager
def joined(coordinator: str, num: int | None, index: int | None) -> Iterator[None]:
    """Within, this process is one of those that train together.

    Args:
      coordinator: host:port of the first process; '' to let JAX find the others, or
        that there are none.
      num: number of processes; None as above.
      index: of this process; None as above.

    Raises:
      UserError: they cannot be joined.
    """
    global _watch
    if not _join(coordinator, num, index) or jax.process_count() == 1:
        yield
        return
    _watch = Watch(jax.process_index(), jax.process_count())
    try:
        with _voice():
            yield
    except UserError as error:
        _watch.leave(f"{error}", 2)
    except BaseException as error:
        if (lost := _watch.explain()) is not None:
            _watch.end(lost)
        sys.excepthook(type(error), error, error.__traceback__)
        first_line = str(error).partition("\n")[0]
        _watch.leave(f"{type(error).__name__}: {first_line}", 1)
    _watch.close()
    jax.distributed.shutdown()


@contextlib.contextmanager
def _voice() -> Iterator[None]:
    """Only the first process writes records and talks; all may tell errors."""
    if is_first():
        yield
        return
    only_read()
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):
        yield


def _join(coordinator: str, num: int | None, index: int | None) -> bool:
    """Whether there are processes that were joined."""
    # It would take SIGTERM for itself.
    jax.config.update("jax_enable_preemption_service", False)
    given = (bool(coordinator), num is not None, index is not None)
    if any(given) and not all(given):
        raise UserError(
            "--coordinator, --num_processes and --process_id go together: give all "
            "three, or none where SLURM, Open MPI, a TPU pod or Kubernetes tells JAX"
        )
    # A single task has nobody to meet, and two steps of a job would share a port.
    if not any(given) and os.environ.get("SLURM_NTASKS") == "1":
        return False
    not_met = contextlib.nullcontext()
    if any(given) or any(name.startswith(CLUSTERS) for name in os.environ):
        not_met = LastWords(
            f"a process did not meet the others within {JOIN_SECONDS} s: start all of "
            "them (under SLURM with srun), and check that process 0 can be reached"
            f"{f' at --coordinator={coordinator}' if coordinator else ''}"
        )
    try:
        with not_met:
            jax.distributed.initialize(
                coordinator or None,
                num,
                index,
                initialization_timeout=JOIN_SECONDS,
                heartbeat_timeout_seconds=int(3 * LOST_AFTER_SECONDS),
            )
    except ValueError as error:
        if not any(given) and "coordinator_address" in str(error):
            return False  # nothing in the environment speaks of others
        raise UserError(
            f"--coordinator={coordinator} --num_processes={num} --process_id={index} "
            f"will not do: {error}"
        ) from error
    except RuntimeError as error:
        raise UserError(
            f"the processes could not meet at {coordinator or 'the first of them'}: "
            f"{str(error).partition(chr(10))[0]}; check --coordinator"
        ) from error
    return True


class LastWords:
    """A child process that says a sentence if this one ends without taking it back.

    Where the C++ below JAX ends a process, Python can say nothing any more.

    Args:
      sentence: what is said.
    """

    def __init__(self, sentence: str):
        self._child = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", LAST_WORDS, f"error: {sentence}"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is not for it
        )

    def __enter__(self) -> "LastWords":
        return self

    def __exit__(self, *exception: Any) -> None:
        self.unsay()

    def unsay(self) -> None:
        """Takes the sentence back."""
        with contextlib.suppress(OSError):
            self._child.communicate(b"done")


class Lost(NamedTuple):
    """Why the processes cannot go on, and the exit code that says so."""

    sentence: str
    code: int


class Watch:
    """Signs of life of the processes, through the store of JAX's coordinator.

    Args:
      index: of this process.
      num: number of processes.
    """

    def __init__(self, index: int, num: int):
        # The store has no public name; Orbax uses the same.
        from jax._src.distributed import global_state

        self.index, self.num = index, num
        self._store: Any = global_state.client
        self._ending = threading.Lock()
        self._seen = dict.fromkeys(range(num), (-1, time.monotonic()))
        self._last_words = LastWords(
            f"process {index} of {num} was killed, or could not go on without process "
            f"0, which holds all together; {GO_ON}"
        )
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._go_on, daemon=True)
        self._thread.start()

    def leave(self, reason: str, code: int) -> None:
        """Ends this process for a reason of its own, which the others are told."""
        lost = Lost(f"{reason} (process {self.index} of {self.num})", code)
        self._tell(lost)
        self.end(lost)

    def end(self, lost: Lost) -> None:
        """Ends this process at once: a clean end would wait for the others."""
        self._ending.acquire()  # for good: only one thread may say why
        print(f"error: {lost.sentence}", file=sys.stderr, flush=True)
        self._last_words.unsay()
        if self.index == 0:
            time.sleep(3 * EVERY_SECONDS)  # the others read what the store holds
        os._exit(lost.code)

    def close(self) -> None:
        """This process is through with its work, like all others."""
        self._over.set()
        # Python would kill the thread at its exit, in the middle of C++.
        self._thread.join()
        self._last_words.unsay()

    def explain(self) -> Lost | None:
        """After a failed operation: whom it lacked, or None if nobody is missing."""
        until = time.monotonic() + LOST_AFTER_FAILURE_SECONDS + 3 * EVERY_SECONDS
        while time.monotonic() < until:
            lost = self._told() or self._silent(LOST_AFTER_FAILURE_SECONDS)
            if lost is not None:
                return lost
            time.sleep(EVERY_SECONDS / 4)
        return None

    def _go_on(self) -> None:
        beat = 0
        while not self._over.wait(EVERY_SECONDS):
            beat += 1
            with contextlib.suppress(Exception):
                self._store.key_value_set(
                    f"alive/{self.index}", str(beat), allow_overwrite=True
                )
                lost = self._told()
                # One process watches all: a thousand that do would keep it busy.
                if lost is None and self.index == 0:
                    lost = self._silent(LOST_AFTER_SECONDS)
                if lost is not None:
                    self.end(lost)

    def _told(self) -> Lost | None:
        """What another process says why all must end; None if nothing."""
        for key, told in self._store.key_value_dir_get("lost/"):
            if key != f"lost/{self.index}":
                code, _, sentence = told.partition(" ")
                return Lost(sentence, int(code))
        return None

    def _silent(self, after_seconds: float) -> Lost | None:
        """A process that has given no sign for so long, as far as this one looked."""
        now = time.monotonic()
        for key, beat in self._store.key_value_dir_get("alive/"):
            index = int(key.rpartition("/")[2])
            if int(beat) > self._seen[index][0]:
                self._seen[index] = (int(beat), now)
        silent = [i for i, (_, at) in self._seen.items() if now - at > after_seconds]
        if not silent:
            return None
        lost = Lost(
            f"process {silent[0]} of {self.num} gives no sign of life since "
            f"{after_seconds:g} s: its machine, its job step or it itself was ended; "
            f"{GO_ON}",
            EXIT_LOST,
        )
        self._tell(lost)
        return lost

    def _tell(self, lost: Lost) -> None:
        with contextlib.suppress(Exception):  # the coordinator may be gone
            self._store.key_value_set(
                f"lost/{self.index}",
                f"{lost.code} {lost.sentence}",
                allow_overwrite=True,
            )
