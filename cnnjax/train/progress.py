"""What a person sees while runs go on: a live display, or plain lines in a log."""

import dataclasses
import sys
import time
from collections.abc import Callable, Mapping
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, TextColumn
from rich.progress import Progress as Bars

_UNKNOWN = "-:--"


@dataclasses.dataclass
class _Run:
    """The run in progress; `measured_*` are counted from its first update on."""

    name: str
    work_per_step: float
    total_steps: int
    step: int
    started: float
    first_update: float | None = None
    measured_steps: int = 0
    measured_seconds: float = 0.0

    @property
    def steps_left(self) -> int:
        return max(self.total_steps - self.step, 0)


class Forecast:
    """Estimates the time left from the work of each run and the rate so far.

    A run takes some time until its first update (initialisation, compilation), and from
    there on a time proportional to its work. The two are estimated apart, because
    compilation is a large part of a short run.

    Args:
      work: work of each run still to do, by name, in a unit common to all, such as
        multiply-adds per step times number of steps.
      now: gives the time in seconds.
    """

    def __init__(self, work: Mapping[str, float], now: Callable[[], float]):
        self._todo = dict(work)
        self._now = now
        self._run: _Run | None = None
        self._start_seconds: list[float] = []
        self._work = self._seconds = 0.0

    def start_run(self, name: str, total_steps: int, first_step: int) -> None:
        """A run begins (or goes on at `first_step`)."""
        work = self._todo.pop(name, 0.0)
        per_step = work / max(total_steps, 1)
        self._run = _Run(name, per_step, total_steps, first_step, self._now())

    def update(self, step: int) -> None:
        """The run has now done `step` steps."""
        run = self._run
        if run.first_update is None:
            run.first_update = self._now()
            self._start_seconds.append(run.first_update - run.started)
        else:
            run.measured_steps += step - run.step
            run.measured_seconds = self._now() - run.first_update
        run.step = step

    def end_run(self) -> None:
        """The run is over; its rate counts for the runs to come."""
        self._work += self._run.measured_steps * self._run.work_per_step
        self._seconds += self._run.measured_seconds
        self._run = None

    def seconds_left(self) -> tuple[float | None, float | None]:
        """(of this run, of all runs); None where nothing has been measured yet."""
        of_run = self._of_run()
        later = [self._of_work(work) for work in self._todo.values()]
        if of_run is None or None in later:
            return of_run, None
        start = sum(self._start_seconds) / max(len(self._start_seconds), 1)
        return of_run, of_run + sum(later) + start * len(later)

    def _of_run(self) -> float | None:
        run = self._run
        if run is None or run.steps_left == 0:
            return 0.0
        if run.measured_steps:
            return run.measured_seconds / run.measured_steps * run.steps_left
        return self._of_work(run.work_per_step * run.steps_left)

    def _of_work(self, work: float) -> float | None:
        """Seconds for some work, by all that has been measured."""
        done, seconds = self._work, self._seconds
        if self._run is not None:
            done += self._run.measured_steps * self._run.work_per_step
            seconds += self._run.measured_seconds
        return work * seconds / done if done else None


class Progress:
    """Shows runs as they go: name, step, loss, images per second, time left.

    On a terminal there are two bars that stay at the bottom; elsewhere a plain line
    at most every `interval_seconds`, and one when a run starts and ends.

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
        self._forecast = Forecast(work, now)
        self._num_runs, self._num_ended = len(work), 0
        self._interval_seconds, self._now = interval_seconds, now
        self._name, self._total_steps, self._last_line = "", 0, ""
        self._last_shown: float | None = None
        self._bars = self._make_bars() if self._stream.isatty() else None

    def __enter__(self) -> "Progress":
        if self._bars is not None:
            self._bars.start()
        return self

    def __exit__(self, *exception) -> None:
        if self._bars is not None:
            self._bars.stop()

    def say(self, sentence: str) -> None:
        """Prints a sentence, above the bars if there are any."""
        if self._bars is not None:
            self._bars.console.print(sentence, markup=False, highlight=False)
        else:
            print(sentence, file=self._stream, flush=True)

    def start_run(self, name: str, total_steps: int, first_step: int = 0) -> None:
        """A run begins (or goes on at `first_step`)."""
        self._forecast.start_run(name, total_steps, first_step)
        self._name, self._total_steps = name, total_steps
        self._last_shown, self._last_line = None, ""
        if self._bars is not None:
            self._bars.reset(self._run_bar, total=total_steps, visible=True)
            self._bars.update(
                self._run_bar, description=name, completed=first_step, text="compiling"
            )
        else:
            where = f"resumes at step {first_step:,}" if first_step else "starts"
            self.say(f"{name}  {where}, {total_steps:,} steps")

    def update(
        self,
        step: int,
        metrics: Mapping[str, float],
        images_per_second: float | None = None,
    ) -> None:
        """Shows how far the run is; cheap enough to call after every dispatch.

        Args:
          step: steps done.
          metrics: name to value, shown in this order, such as {'loss': 1.2}.
          images_per_second: of the whole run (all its seeds together).
        """
        self._forecast.update(step)
        run_left, all_left = map(_duration, self._forecast.seconds_left())
        words = [f"{name} {value:.4g}" for name, value in metrics.items()]
        if images_per_second is not None:
            words.append(f"{images_per_second:,.0f} images/s")
        text = "  ".join(words)
        if self._bars is not None:
            count = f"{step:,}/{self._total_steps:,}"
            self._bars.update(
                self._run_bar, completed=step, text=f"{count}  {text}  {run_left} left"
            )
            self._bars.update(
                self._all_bar,
                completed=self._num_ended + step / max(self._total_steps, 1),
                text=f"{all_left} left",
            )
            return
        left = f"left {run_left}"
        if self._num_runs > 1:
            left += f", of all {all_left}"
        self._last_line = (
            f"{self._name}  step {step:,}/{self._total_steps:,}  {text}  {left}"
        )
        now = self._now()
        last = self._last_shown
        if last is None or now - last >= self._interval_seconds:
            self._show_line()

    def end_run(self, status: str) -> None:
        """The run is over; `status` is 'done' or says what went wrong."""
        self._forecast.end_run()
        self._num_ended += 1
        if self._bars is not None:
            self._bars.update(self._all_bar, completed=self._num_ended)
            self._bars.update(self._run_bar, visible=False)
        elif self._last_line:
            self._show_line()
        self.say(f"{self._name}  {status}  ({self._num_ended}/{self._num_runs} runs)")

    def _show_line(self) -> None:
        self.say(self._last_line)
        self._last_shown, self._last_line = self._now(), ""

    def _make_bars(self) -> Bars:
        bars = Bars(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[text]}", markup=False),
            console=Console(file=self._stream),
            # Two redraws a second: on a small machine the display competes for a core.
            refresh_per_second=2,
        )
        self._all_bar = bars.add_task("all runs", total=self._num_runs, text="")
        self._run_bar = bars.add_task("", text="", visible=False)
        return bars


def _duration(seconds: float | None) -> str:
    """'1:02:03', '2:03', or '-:--' where unknown."""
    if seconds is None:
        return _UNKNOWN
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
