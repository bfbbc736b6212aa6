import io
import re

import pytest

from cnnjax.run.progress import Load, Progress


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


def test_plain_lines_are_rare_and_the_last_one_is_shown(clock):
    stream = io.StringIO()
    with Progress(
        {"plain-20": Load(1.0)}, stream=stream, now=clock, interval_seconds=5
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
    with Progress(
        {"a": Load(1.0), "b": Load(1.0)}, stream=stream, now=clock
    ) as progress:
        shown = progress.start_run("a", total_steps=10, first_step=4)
        for step in (5, 6):
            clock.seconds += 1.0
            shown.update(step, {}, 1.0)
        progress.say("a checkpoint is damaged")
        shown.end("failed: the loss is not finite at step 6")
    text = stream.getvalue()
    assert "a  resumes at step 4, 10 steps\n" in text
    # Four steps of a and ten of b.
    assert "left 0:04, of all 0:14\n" in text
    assert "a checkpoint is damaged\n" in text
    assert "a  failed: the loss is not finite at step 6  (1/2 runs)\n" in text


def test_terminal_shows_a_bar_per_run_and_one_for_all(monkeypatch, clock):
    monkeypatch.setenv("COLUMNS", "160")
    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with Progress(
        {"[plain]-20": Load(1.0), "b": Load(1.0)}, stream=stream, now=clock
    ) as progress:
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
        r"\[plain\]-20 .*200/1,000  loss 2.5  1,000 images/s  1:22 left", shown
    )
    assert re.search(r"b .*20/100  loss 1.5  500 images/s", shown)
    assert re.search(r"all runs .* 1:22 left", shown)
    assert "something to know" in shown
