import io
import re

import pytest

from cnnjax.train.progress import Forecast, Progress


class Clock:
    """A clock that a test sets."""

    seconds = 0.0

    def __call__(self):
        return self.seconds


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock():
    return Clock()


def run(forecast, clock, name, start_seconds, seconds_per_step, total_steps=10):
    """One whole run that updates every step; yields after each update."""
    forecast.start_run(name, total_steps, first_step=0)
    for step in range(1, total_steps + 1):
        clock.seconds += start_seconds if step == 1 else seconds_per_step
        forecast.update(step)
        yield
    forecast.end_run()


def test_forecast_is_exact_when_time_is_start_plus_work(clock):
    # 5 s to start, then 2 s per unit of work.
    forecast = Forecast({"a": 10.0, "b": 30.0}, clock)
    updates = run(forecast, clock, "a", 5.0, 2.0)
    next(updates)
    assert forecast.seconds_left() == (None, None)
    next(updates)
    assert forecast.seconds_left() == (16.0, 16.0 + 5.0 + 60.0)
    assert len(list(updates)) == 8
    updates = run(forecast, clock, "b", 5.0, 6.0)
    next(updates)
    # Nothing of b has been measured, but a's rate is known.
    assert forecast.seconds_left() == pytest.approx((54.0, 54.0))
    assert len(list(updates)) == 9
    assert forecast.seconds_left() == (0.0, 0.0)


def test_forecast_counts_only_the_rest_of_a_resumed_run(clock):
    forecast = Forecast({"a": 10.0}, clock)
    forecast.start_run("a", total_steps=10, first_step=6)
    for step in (7, 8):
        clock.seconds += 1.0
        forecast.update(step)
    assert forecast.seconds_left() == (2.0, 2.0)


def test_plain_lines_are_rare_and_the_last_one_is_shown(clock):
    stream = io.StringIO()
    with Progress(
        {"plain-20": 1.0}, stream=stream, now=clock, interval_seconds=5
    ) as progress:
        progress.start_run("plain-20", total_steps=100)
        for step in range(1, 101):
            clock.seconds += 0.125
            progress.update(step, {"loss": 2.5}, images_per_second=12345.6)
        progress.end_run("done")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "plain-20  starts, 100 steps"
    assert re.match(
        r"plain-20  step 41/100  loss 2.5  12,346 images/s  left 0:07$", lines[2]
    )
    assert lines[-2].startswith("plain-20  step 100/100")
    assert lines[-1] == "plain-20  done  (1/1 runs)"
    assert len(lines) == 6


def test_plain_lines_name_a_resume_a_failure_and_the_whole(clock):
    stream = io.StringIO()
    with Progress({"a": 1.0, "b": 1.0}, stream=stream, now=clock) as progress:
        progress.start_run("a", total_steps=10, first_step=4)
        progress.update(6, {})
        progress.say("a checkpoint is damaged")
        progress.end_run("failed: the loss is not finite at step 6")
    text = stream.getvalue()
    assert "a  resumes at step 4, 10 steps\n" in text
    assert "left -:--, of all -:--\n" in text
    assert "a checkpoint is damaged\n" in text
    assert "a  failed: the loss is not finite at step 6  (1/2 runs)\n" in text


def test_terminal_shows_bars_with_name_step_loss_rate_and_times(monkeypatch):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    stream, clock = Terminal(), Clock()
    with Progress({"[plain]-20": 1.0, "b": 1.0}, stream=stream, now=clock) as progress:
        progress.start_run("[plain]-20", total_steps=1000)
        for step in (100, 200):
            clock.seconds += 10
            progress.update(step, {"loss": 2.5}, images_per_second=1000.0)
        progress.say("something to know")
        progress._bars.refresh()
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
        progress.end_run("done")
    assert re.search(
        r"\[plain\]-20 .*200/1,000  loss 2.5  1,000 images/s  1:20 left", shown
    )
    assert re.search(r"all runs .* 3:10 left", shown)
    assert "something to know" in shown
