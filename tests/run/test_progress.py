import io
import re

import pytest

from cnnjax.run.progress import Forecast, Progress


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


def test_forecast_is_exact_when_time_is_start_plus_work_side_by_side(clock):
    """5 s to start and 2 s per unit of work, two runs at a time, a third to come."""
    forecast = Forecast({"a": 10.0, "b": 30.0, "c": 20.0}, clock)
    forecast.start("a", 0.0)
    forecast.start("b", 0.0)
    clock.seconds = 5.0 + 2.0
    forecast.update("a", 1 / 10)
    forecast.update("b", 1 / 30)
    assert forecast.seconds_left() is None  # compiled, but no rate yet
    clock.seconds += 8.0
    forecast.update("a", 5 / 10)
    forecast.update("b", 5 / 30)
    # 50 of 60 units are left, and one start (7 s, its first update included), for two.
    assert forecast.seconds_left() == pytest.approx((50 * 2 + 7) / 2)
    forecast.end("b")  # failed: nothing of it is left
    assert forecast.seconds_left() == pytest.approx(25 * 2 + 7)


def test_forecast_counts_only_the_rest_of_a_resumed_run(clock):
    forecast = Forecast({"a": 10.0}, clock)
    forecast.start("a", 0.6)
    assert forecast.seconds_left() is None
    for share in (0.7, 0.8):
        clock.seconds += 2.0
        forecast.update("a", share)
    assert forecast.seconds_left() == pytest.approx(4.0)


def test_plain_lines_are_rare_and_the_last_one_is_shown(clock):
    stream = io.StringIO()
    with Progress(
        {"plain-20": 1.0}, stream=stream, now=clock, interval_seconds=5
    ) as progress:
        shown = progress.start_run("plain-20", total_steps=100)
        for step in range(1, 101):
            clock.seconds += 0.125
            shown.update(step, {"loss": 2.5}, images_per_second=12345.6)
        shown.end("done")
    lines = stream.getvalue().splitlines()
    assert lines[0] == "plain-20  starts, 100 steps"
    assert lines[1] == ("plain-20  step 40/100  loss 2.5  12,346 images/s  left 0:08")
    assert lines[-2].startswith("plain-20  step 100/100")
    assert lines[-1] == "plain-20  done  (1/1 runs)"
    assert len(lines) == 5


def test_plain_lines_name_a_resume_a_failure_and_the_whole(clock):
    stream = io.StringIO()
    with Progress({"a": 1.0, "b": 1.0}, stream=stream, now=clock) as progress:
        shown = progress.start_run("a", total_steps=10, first_step=4)
        for step in (5, 6):
            clock.seconds += 1.0
            shown.update(step, {}, 1.0)
        progress.say("a checkpoint is damaged")
        shown.end("failed: the loss is not finite at step 6")
    text = stream.getvalue()
    assert "a  resumes at step 4, 10 steps\n" in text
    # Four steps of a, ten of b, and a second to start b.
    assert "left 0:04, of all 0:15\n" in text
    assert "a checkpoint is damaged\n" in text
    assert "a  failed: the loss is not finite at step 6  (1/2 runs)\n" in text


def test_terminal_shows_a_bar_per_run_and_one_for_all(monkeypatch, clock):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with Progress({"[plain]-20": 1.0, "b": 1.0}, stream=stream, now=clock) as progress:
        first = progress.start_run("[plain]-20", total_steps=1000)
        second = progress.start_run("b", total_steps=100)
        for part in (1, 2):
            clock.seconds += 10.0
            first.update(100 * part, {"loss": 2.5}, images_per_second=1000.0)
            second.update(10 * part, {"loss": 1.5}, images_per_second=500.0)
        progress.say("something to know")
        progress.bars.refresh()
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
        first.end("done")
        second.end("done")
    assert re.search(
        r"\[plain\]-20 .*200/1,000  loss 2.5  1,000 images/s  1:20 left", shown
    )
    assert re.search(r"b .*20/100  loss 1.5  500 images/s", shown)
    assert re.search(r"all runs .* 1:20 left", shown)
    assert "something to know" in shown
