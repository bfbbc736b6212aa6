"""What the user sees during training: a live display, or plain lines; the time left."""

import dataclasses
import heapq
import math
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
# Of the time of training, where nothing but errors is measured at the end.
SHARE_OF_END = 0.02


@dataclasses.dataclass(frozen=True)
class Load:
    """What a run has to do, in units common to all runs of a forecast.

    Attributes:
      work: of its training, such as multiply-adds.
      layers: variables of its net, blocks counted one by one.
      probed: whether anything is measured at its end beside errors.
    """

    work: float
    layers: int = 1
    probed: bool = False

    def of(self, phase: str) -> float:
        """The size of a phase, to which its time is in proportion.

        Compiling grows slower than the net, whose equal blocks are compiled once.
        Probes are compiled for every layer; without any, only splits are evaluated.
        """
        if phase == "training":
            return self.work
        if phase == "start":
            return math.sqrt(self.layers)
        return float(self.layers) if self.probed else self.work


class _Seen:
    """One run so far: when each phase began, and which part of the training is done."""

    def __init__(self, load: Load):
        self.load = load
        self.began: dict[str, float] = {}
        self.first = self.fraction = (
            0.0  # of the training, by earlier processes and now
        )
        self.updated: float | None = None
        self.ended: float | None = None

    def took(self, phase: str) -> tuple[float, float] | None:
        """(seconds, size) of what is over of a phase; None if nothing is."""
        if phase not in self.began:
            return None
        size = self.load.of(phase)
        if phase == "training":
            if self.updated is None:
                return None
            done = self.fraction - self.first
            return self.updated - self.began[phase], size * done
        over = self.began.get("training") if phase == "start" else self.ended
        return None if over is None else (over - self.began[phase], size)

    def left(self, phase: str, rate: float, now: float) -> float:
        """Seconds of a phase that are still to come."""
        if self.ended is not None:
            return 0.0
        whole = rate * self.load.of(phase)
        if phase == "training":
            since = now - self.updated if self.updated is not None else 0.0
            return max((1 - self.fraction) * whole - since, 0.0)
        if phase == "start" and "training" in self.began:
            return 0.0
        return max(whole - (now - self.began.get(phase, now)), 0.0)


class Forecast:
    """Estimates the time left of runs that train side by side.

    A run has three phases: its start (programs are compiled), its training, and its end
    (evaluation and probes). The time of each is taken to be in proportion to its size,
    by what was seen of all runs so far; then runs are dealt out to those who train
    them, as they will be.

    Args:
      loads: of each run still to do, by name, in the order in which they start.
      now: gives the time in seconds.
      jobs: runs that train at a time.
    """

    def __init__(
        self, loads: Mapping[str, Load], now: Callable[[], float], jobs: int = 1
    ):
        self._runs = {name: _Seen(load) for name, load in loads.items()}
        self._now, self._jobs = now, jobs

    def prepare(self, name: str) -> None:
        """A run begins: it is compiled next."""
        self._runs[name].began["start"] = self._now()

    def start(self, name: str, fraction: float) -> None:
        """A run trains from here, with this share of its work done before."""
        run = self._runs[name]
        run.began["training"] = self._now()
        run.first = run.fraction = fraction

    def update(self, name: str, fraction: float) -> None:
        """This share of a run's training is done."""
        run = self._runs[name]
        run.fraction, run.updated = fraction, self._now()
        if fraction >= 1:
            run.began["end"] = self._now()

    def end(self, name: str) -> None:
        """A run is over, done or not."""
        self._runs[name].ended = self._now()

    def seconds_left(self, name: str | None = None) -> float | None:
        """Of a run, or of all; None as long as no rate of training has been seen."""
        training = self._rate("training")
        if training is None:
            return None
        start = self._rate("start") or 0.0
        end = self._rate("end") or self._guess_of_end(start, training)
        rates = {"start": start, "training": training, "end": end}
        left = {key: self._left(run, rates) for key, run in self._runs.items()}
        if name is not None:
            return left[name]
        active = {key for key, run in self._runs.items() if run.began}
        # When each of those who train is free for the next run.
        free = [left[key] for key in active if self._runs[key].ended is None]
        free += [0.0] * (self._jobs - len(free))
        heapq.heapify(free)
        for key in self._runs:
            if key not in active:
                heapq.heappush(free, heapq.heappop(free) + left[key])
        return max(free)

    def _left(self, run: _Seen, rates: Mapping[str, float]) -> float:
        now = self._now()
        return sum(run.left(phase, rate, now) for phase, rate in rates.items())

    def _rate(self, phase: str) -> float | None:
        """Seconds per unit of a phase, over all runs."""
        seen = [took for run in self._runs.values() if (took := run.took(phase))]
        size = sum(size for _, size in seen)
        seconds = sum(seconds for seconds, _ in seen)
        return seconds / size if size > 0 and seconds > 0 else None

    def _guess_of_end(self, start: float, training: float) -> float:
        """Before the first end: probes take as long as a start."""
        loads = [run.load for run in self._runs.values()]
        if not any(load.probed for load in loads):
            return SHARE_OF_END * training
        starts = sum(load.of("start") for load in loads)
        return start * starts / sum(load.of("end") for load in loads)


class Progress:
    """Shows runs in progress: name, step, loss, images per second, time left.

    On a terminal there is a bar for each run in progress and one for all of them, at
    the bottom; elsewhere, and on a narrow one, a plain line at most every
    `interval_seconds`, and one when a run starts and ends. Runs may report from several
    threads.

    Args:
      loads: as in `Forecast`; the runs still to do.
      jobs: likewise.
      interval_seconds: least time between two plain lines of a run.
      stream: where to show it; None is the standard output.
      now: gives the time in seconds.
    """

    def __init__(
        self,
        loads: Mapping[str, Load],
        *,
        jobs: int = 1,
        interval_seconds: float = 5.0,
        stream: TextIO | None = None,
        now: Callable[[], float] = time.monotonic,
    ):
        self._stream = stream or sys.stdout
        self.forecast = Forecast(loads, now, jobs)
        self.num_runs, self._num_ended = len(loads), 0
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

    def prepare_run(self, name: str) -> None:
        """A run begins; its programs are compiled before it starts."""
        self.forecast.prepare(name)
        if self.bars is None:
            self.say(f"{name}  compiling")

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
        left = duration(whole.forecast.seconds_left(self._name))
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
