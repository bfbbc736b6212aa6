"""The heartbeat of a run on disk: how far it is, and which process trains it.

It is for people and `status`. What keeps a second process out is the lock of the folder
(`claimed`, see `cnnjax.lock`).
"""

import contextlib
import resource
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cnnjax.errors import UserError, printable
from cnnjax.lock import LOCK, held, locked
from cnnjax.process import bytes_of, identity, slurm_start
from cnnjax.record_kinds import PROGRESS
from cnnjax.records import is_writer, sift_record, write_json

# Least time between two heartbeats of a run in progress.
EVERY_SECONDS = 2.0


@contextlib.contextmanager
def claimed(folder: Path, say: Callable[[str], None]) -> Iterator[None]:
    """Within, this process alone trains a run; of several, process 0 sees to it.

    Args:
      folder: of the run; made if it is not there.
      say: is told when the lock of a dead process is taken over.

    Raises:
      TakenError: another process trains it.
      UserError: the folder cannot be made or written.
    """
    if not is_writer():
        yield
        return
    busy = f"{printable(folder)} is being trained"
    with locked(folder / LOCK, busy, otherwise="choose another --workdir", say=say):
        write_heartbeat(folder, "starting")
        yield


def check_claim(folder: Path) -> None:
    """Raises if the lock of a run was lost, with its folder or alone.

    Before anything is written, so that no folder is made anew for it.

    Raises:
      LostError: this process has held it, and it is gone.
    """
    if lock := held(folder / LOCK):
        lock.check(every=0)


def read_heartbeat(folder: Path) -> dict[str, Any]:
    """The last heartbeat of a run, without what none tells.

    Empty if there is none, or it cannot be read.
    """
    return sift_record(folder / "progress.json", PROGRESS)[0] or {}


def write_heartbeat(folder: Path, status: str, **known: Any) -> None:
    """Writes `progress.json` into the folder of a run; the last known steps stay.

    Args:
      folder: of the run.
      status: 'waiting' (for a launcher to start it), 'starting', 'running', 'stopped'
        (saved on request), 'crashed', 'refused', 'done' or how else the run ended.
      **known: what else the file tells, such as 'reason'.
    """
    path = folder / "progress.json"
    # A full disk is for the metrics and checkpoints to complain about, and a lost
    # folder for the loop; nothing is written there, or it would be made anew.
    with contextlib.suppress(UserError):
        check_claim(folder)
        old = read_heartbeat(folder)
        for stale in ("reason", "slurm_job", "slurm_restarts"):
            old.pop(stale, None)
        new = {"status": status, **identity(), **slurm_start(), **known}
        new["peak_memory_bytes"] = bytes_of(resource.getrusage(resource.RUSAGE_SELF))
        new["updated"] = time.time()
        write_json(path, old | new)


class Heartbeat:
    """A display for one run that also writes its heartbeat.

    It tells 'step', 'total_steps', 'loss' and 'seconds_per_step', which counts
    evaluation and saving, but not compiling.

    Args:
      display: has `start_run`, as a `Progress`.
      folder: of the run.
      now: gives the time in seconds.
    """

    def __init__(
        self, display: Any, folder: Path, now: Callable[[], float] = time.monotonic
    ):
        self._display = display
        self._shown: Any = None  # the run, once it has started
        self._folder, self._now = folder, now
        self._known: dict[str, Any] = {}
        self._first: tuple[float, int] | None = None  # time and step, first update
        self._lock = held(folder / LOCK)
        self._write("starting")

    def start_run(
        self, name: str, total_steps: int, first_step: int = 0
    ) -> "Heartbeat":
        """The run starts, or resumes at `first_step`; its updates come here."""
        self._shown = self._display.start_run(name, total_steps, first_step)
        self._known |= {"step": first_step, "total_steps": total_steps}
        self._write("running")
        return self

    def update(
        self, step: int, metrics: Mapping[str, float], images_per_second: float
    ) -> None:
        """The run is at this step; writes at most every `EVERY_SECONDS`.

        Raises:
          LostError: the folder is gone, or another process has it.
        """
        if self._lock is not None:
            self._lock.check()
        self._shown.update(step, metrics, images_per_second)
        now = self._now()
        self._first = self._first or (now, step)
        self._known |= {"step": step, **metrics}
        if step > self._first[1]:
            pace = (now - self._first[0]) / (step - self._first[1])
            self._known["seconds_per_step"] = pace
        if now - self._written >= EVERY_SECONDS:
            self._write("running")

    def end(self, status: str) -> None:
        """The run is over, done or not."""
        self._shown.end(status)
        self._write(status)

    def _write(self, status: str) -> None:
        self._written = self._now()
        write_heartbeat(self._folder, status, **self._known)
