"""The time left of runs that train side by side."""

import json
from pathlib import Path

import pytest

from cnnjax.run.progress import Forecast, Load


class Clock:
    """A clock that a test sets."""

    seconds = 0.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


def test_exact_when_each_phase_takes_time_in_proportion_to_its_size(clock):
    """3 s to start per root of layers, 2 s per unit of work, 1 s to end per layer."""
    loads = {
        "a": Load(10.0, 4, probed=True),
        "b": Load(30.0, 9, probed=True),
        "c": Load(20.0, 16, probed=True),
    }
    forecast = Forecast(loads, clock, jobs=2)
    forecast.prepare("a")
    forecast.prepare("b")
    clock.seconds = 6.0
    forecast.start("a", 0.0)
    assert forecast.seconds_left() is None  # compiled, but no rate yet
    clock.seconds = 9.0
    forecast.start("b", 0.0)
    clock.seconds = 26.0
    forecast.update("a", 1.0)
    clock.seconds = 30.0
    forecast.end("a")
    clock.seconds = 39.0
    forecast.update("b", 0.5)
    # b: 30 s and 9 s; c begins at once where a was, with 12, 40 and 16 s.
    assert forecast.seconds_left("b") == pytest.approx(30 + 9)
    assert forecast.seconds_left("c") == pytest.approx(12 + 40 + 16)
    assert forecast.seconds_left() == pytest.approx(12 + 40 + 16)
    forecast.prepare("c")
    clock.seconds += 2.0
    assert forecast.seconds_left("c") == pytest.approx(10 + 40 + 16)
    assert forecast.seconds_left("b") == pytest.approx(28 + 9)


def test_waiting_runs_go_to_whoever_is_free_first(clock):
    loads = {
        name: Load(work)
        for name, work in zip("abcd", (4.0, 3.0, 2.0, 2.0), strict=True)
    }
    forecast = Forecast(loads, clock, jobs=2)
    for name in "ab":
        forecast.prepare(name)
        forecast.start(name, 0.0)
    clock.seconds = 2.0
    forecast.update("a", 0.5)
    forecast.update("b", 2 / 3)
    # 1 s a unit, and a fiftieth of that at the end: c follows b, and d follows a.
    assert forecast.seconds_left() == pytest.approx(4, rel=0.1)


def test_only_the_rest_of_a_resumed_run_counts(clock):
    forecast = Forecast({"a": Load(10.0)}, clock)
    forecast.start("a", 0.6)
    assert forecast.seconds_left() is None
    for share in (0.7, 0.8):
        clock.seconds += 2.0
        forecast.update("a", share)
    assert forecast.seconds_left() == pytest.approx(4.0, rel=0.1)


def test_nothing_is_left_of_a_run_that_failed(clock):
    forecast = Forecast({"a": Load(10.0), "b": Load(10.0)}, clock)
    forecast.prepare("a")
    forecast.start("a", 0.0)
    clock.seconds = 1.0
    forecast.update("a", 0.1)
    forecast.end("a")
    assert forecast.seconds_left("a") == 0
    assert forecast.seconds_left() == pytest.approx(10.0, rel=0.1)


RECORDS = sorted((Path(__file__).parent / "recorded_progress").glob("*.json"))


@pytest.mark.parametrize("path", RECORDS, ids=lambda path: path.stem)
def test_the_time_left_of_a_real_ablation(path, clock):
    """Within a fifth at every event after the first cell; two seconds at the end."""
    stored = json.loads(path.read_text())
    loads = {name: Load(*load) for name, load in stored["loads"].items()}
    forecast = Forecast(loads, clock, stored["jobs"])
    whole, ended, num_compared = stored["events"][-1][0], False, 0
    for seconds, kind, name, *fraction in stored["events"]:
        clock.seconds = seconds
        getattr(forecast, kind)(name, *fraction)
        ended = ended or kind == "end"
        if ended:
            left = whole - seconds
            assert forecast.seconds_left() == pytest.approx(left, rel=0.2, abs=2.0)
            num_compared += 1
    assert num_compared > 20
    assert forecast.seconds_left() == 0
