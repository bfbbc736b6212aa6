"""A sign of life on disk: how far a run is, and which process trains it."""

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cnnjax.errors import UserError
from cnnjax.process import identity
from cnnjax.records import read_json, write_json

# Least time between two signs of a run that goes on.
EVERY_SECONDS = 2.0


def write_sign(folder: Path, status: str, **known: Any) -> None:
    """Writes `progress.json` into the folder of a run, keeping what it told of steps.

    Args:
      folder: of the run.
      status: 'waiting' (for a launcher to start it), 'starting', 'running', 'stopped'
        (saved on request), 'crashed', 'refused', 'done' or how else the run ended.
      **known: what else the file tells, such as 'reason'.
    """
    path = folder / "progress.json"
    # A full disk is for the metrics and checkpoints to complain about.
    with contextlib.suppress(UserError):
        old = read_json(path) if path.is_file() else {}
        old.pop("reason", None)
        new = {"status": status, **identity(), **known, "updated": time.time()}
        write_json(path, old | new)


class Heartbeat:
    """A display for one run that also writes signs of it.

    They tell 'step', 'total_steps', 'loss' and 'seconds_per_step', which counts
    evaluation and saving, but not compiling.

    Args:
      display: has `start_run`, as a `Progress`.
      folder: of the run.
      now: gives the time in seconds.
    """

    def __init__(
        self, display: Any, folder: Path, now: Callable[[], float] = time.monotonic
    ):
        self._display, self._shown = display, None
        self._folder, self._now = folder, now
        self._known: dict[str, Any] = {}
        self._first: tuple[float, int] | None = None  # time and step, first update
        self._write("starting")

    def start_run(
        self, name: str, total_steps: int, first_step: int = 0
    ) -> "Heartbeat":
        """The run begins, or goes on at `first_step`; its updates come here."""
        self._shown = self._display.start_run(name, total_steps, first_step)
        self._known |= {"step": first_step, "total_steps": total_steps}
        self._write("running")
        return self

    def update(
        self, step: int, metrics: Mapping[str, float], images_per_second: float
    ) -> None:
        """The run is at this step; writes at most every `EVERY_SECONDS`."""
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
        write_sign(self._folder, status, **self._known)
