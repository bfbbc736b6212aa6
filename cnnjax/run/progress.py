"""What the user sees during training: a live display, or plain lines in a log."""

import sys
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, TextIO

from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bars

from cnnjax.screen import NARROW, terminal
from cnnjax.texts import one_line, sentence

_UNKNOWN = "-:--"


class Forecast:
    """Estimates the time left of runs that train side by side.

    A run takes some time until its first update (set-up, compilation) and from there on
    a time in proportion to its work. The two are estimated apart, because compilation
    is a large part of a short run.

    Args:
      work: work of each run still to do, by name, in a unit common to all, such as
        multiply-adds.
      now: gives the time in seconds.
    """

    def __init__(self, work: Mapping[str, float], now: Callable[[], float]):
        self._work, self._left, self._now = dict(work), dict(work), now
        self._started: dict[str, float] = {}
        # (time, work left) at the first and at the last update of each run.
        self._first: dict[str, tuple[float, float]] = {}
        self._last: dict[str, tuple[float, float]] = {}
        self._active: set[str] = set()

    def start(self, name: str, fraction: float) -> None:
        """A run starts with this share of its work done by an earlier process."""
        self._started[name] = self._now()
        self._left[name] = (1 - fraction) * self._work[name]
        self._active.add(name)

    def update(self, name: str, fraction: float) -> None:
        """This share of a run's work is done."""
        self._left[name] = (1 - fraction) * self._work[name]
        self._last[name] = (self._now(), self._left[name])
        self._first.setdefault(name, self._last[name])

    def end(self, name: str) -> None:
        """A run is over, done or not."""
        self._left[name] = 0.0
        self._active.discard(name)

    def seconds_left(self) -> float | None:
        """Of all runs; None as long as no rate has been measured."""
        pairs = [(self._first[name], self._last[name]) for name in self._first]
        done = sum(first[1] - last[1] for first, last in pairs)
        seconds = sum(last[0] - first[0] for first, last in pairs)
        if done <= 0 or seconds <= 0:
            return None
        starts = [self._first[name][0] - self._started[name] for name in self._first]
        to_start = sum(n not in self._first and self._left[n] > 0 for n in self._work)
        alone = sum(self._left.values()) * seconds / done
        alone += to_start * sum(starts) / len(starts)
        return alone / max(len(self._active), 1)


class Progress:
    """Shows runs in progress: name, step, loss, images per second, time left.

    On a terminal there is a bar for each run in progress and one for all of them, at
    the bottom; elsewhere, and on a narrow one, a plain line at most every
    `interval_seconds`, and one when a run starts and ends. Runs may report from several
    threads.

    Args:
      work: as in `Forecast`; the runs still to do, in any order.
      interval_seconds: least time between two plain lines of a run.
      stream: where to show it; None is the standard output.
      now: gives the time in seconds.
    """

    def __init__(
        self,
        work: Mapping[str, float],
        *,
        interval_seconds: float = 5.0,
        stream: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
    ):
        self._stream = stream or sys.stdout
        self.forecast = Forecast(work, now)
        self.num_runs, self._num_ended = len(work), 0
        self.interval_seconds, self.now = interval_seconds, now
        self._lock = threading.RLock()
        wide = terminal(self._stream).width >= NARROW
        self.bars = self._make_bars() if self._stream.isatty() and wide else None

    def __enter__(self) -> "Progress":
        if self.bars is not None:
            self.bars.start()
        return self

    def __exit__(self, *exception: Any) -> None:
        if self.bars is not None:
            self.bars.stop()

    def say(self, text: str) -> None:
        """Prints a sentence, above the bars if there are any."""
        line = sentence(text)
        with self._lock:
            if self.bars is not None:
                self.bars.console.print(line, markup=False, highlight=False)
            else:
                print(line, file=self._stream, flush=True)

    def start_run(
        self, name: str, total_steps: int, first_step: int = 0
    ) -> "RunProgress":
        """A run starts, or resumes at `first_step`; its updates go to the result."""
        self.forecast.start(name, first_step / total_steps)
        return RunProgress(self, name, total_steps, first_step)

    def ended(self, name: str, status: str) -> None:
        """Counts and names a run that is over."""
        with self._lock:
            self._num_ended += 1
            if self.bars is not None:
                self.bars.update(self._all_bar, completed=self._num_ended)
            self.say(f"{name}  {status}  ({self._num_ended}/{self.num_runs} runs)")

    def all_left(self) -> str:
        """Time left of all runs in words; also shown on its bar."""
        left = duration(self.forecast.seconds_left())
        if self.bars is not None:
            self.bars.update(self._all_bar, text=f"{left} left")
        return left

    def _make_bars(self) -> Bars:
        bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[text]}", markup=False),
            console=terminal(self._stream),
            # Two redraws a second: on a small machine the display competes for a core.
            refresh_per_second=2,
        )
        self._all_bar = bars.add_task("all runs", total=self.num_runs, text="")
        return bars


class RunProgress:
    """One run in the display, from its start to `end`."""

    def __init__(self, whole: Progress, name: str, total_steps: int, first_step: int):
        self._whole, self._name, self._total_steps = whole, name, total_steps
        self._first_step, self._started = first_step, whole.now()
        self._last_shown, self._last_line = whole.now(), ""
        if whole.bars is not None:
            self._bar = whole.bars.add_task(
                one_line(name), total=total_steps, completed=first_step, text=""
            )
        else:
            where = f"resumes at step {first_step:,}" if first_step else "starts"
            whole.say(f"{name}  {where}, {total_steps:,} steps")

    def update(
        self, step: int, metrics: Mapping[str, float], images_per_second: float
    ) -> None:
        """Shows how far the run is; cheap enough to call after every dispatch.

        Args:
          step: steps done.
          metrics: name to value, shown in this order, such as {'loss': 1.2}.
          images_per_second: of the whole run (all its seeds together).
        """
        whole = self._whole
        whole.forecast.update(self._name, step / self._total_steps)
        words = [f"{name} {value:.4g}" for name, value in metrics.items()]
        words.append(f"{images_per_second:,.0f} images/s")
        text, count = "  ".join(words), f"{step:,}/{self._total_steps:,}"
        elapsed = whole.now() - self._started
        rest = self._total_steps - step
        left = duration(rest * elapsed / max(step - self._first_step, 1))
        all_left = whole.all_left()
        if whole.bars is not None:
            whole.bars.update(
                self._bar, completed=step, text=f"{count}  {text}  {left} left"
            )
            return
        of_all = f", of all {all_left}" if whole.num_runs > 1 else ""
        self._last_line = f"{self._name}  step {count}  {text}  left {left}{of_all}"
        if whole.now() - self._last_shown >= whole.interval_seconds:
            self._show_line()

    def end(self, status: str) -> None:
        """The run is over; `status` is 'done' or what went wrong."""
        self._whole.forecast.end(self._name)
        if self._whole.bars is not None:
            self._whole.bars.remove_task(self._bar)
        elif self._last_line:
            self._show_line()
        self._whole.ended(self._name, status)

    def _show_line(self) -> None:
        self._whole.say(self._last_line)
        self._last_shown, self._last_line = self._whole.now(), ""


def duration(seconds: float | None) -> str:
    """'1:02:03', '2:03', or '-:--' where unknown."""
    if seconds is None:
        return _UNKNOWN
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
