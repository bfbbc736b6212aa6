"""What `progress.json` tells of a run, and how often."""

import json
import os

import pytest

from cnnjax.run.heartbeat import EVERY_SECONDS, Heartbeat, write_heartbeat
from tests.run.tiny import Shown


class Clock:
    """A time that moves when it is told to."""

    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


def read(folder):
    return json.loads((folder / "progress.json").read_text())


def test_from_start_to_end(tmp_path, clock):
    shown = Shown()
    beat = Heartbeat(shown, tmp_path, clock)
    assert read(tmp_path)["status"] == "starting"
    assert read(tmp_path)["pid"] == os.getpid()
    run = beat.start_run("a", 40, 10)
    assert {"status": "running", "step": 10, "total_steps": 40}.items() <= (
        read(tmp_path).items()
    )
    # The first dispatch may have waited for much; what follows gives the pace.
    for step, seconds in ((12, 150.0), (20, 152.0), (22, 152.5)):
        clock.seconds = seconds
        run.update(step, {"loss": 2.0 - step / 100}, 1000.0)
    run.end("done")
    last = read(tmp_path)
    assert (last["status"], last["step"], last["loss"]) == ("done", 22, 1.78)
    assert last["seconds_per_step"] == 2.5 / 10
    assert shown.updates == [12, 20, 22]
    assert shown.ended == "done"


def test_it_is_written_now_and_then_only(tmp_path, clock):
    run = Heartbeat(Shown(), tmp_path, clock).start_run("a", 1000, 0)
    written = []
    for step in range(1, 101):
        clock.seconds += EVERY_SECONDS / 10
        run.update(step, {}, 1.0)
        written.append(read(tmp_path)["step"])
    assert len(set(written) - {0}) in (9, 10)


def test_a_later_sign_keeps_the_steps_and_drops_the_reason(tmp_path):
    write_heartbeat(tmp_path, "crashed", step=7, reason="by zero")
    write_heartbeat(tmp_path, "waiting")
    assert read(tmp_path)["step"] == 7
    assert "reason" not in read(tmp_path)


def test_a_disk_that_takes_nothing_does_not_end_the_run(tmp_path, clock):
    (tmp_path / "run").write_text("in the way")
    run = Heartbeat(Shown(), tmp_path / "run", clock).start_run("a", 10)
    clock.seconds += 10
    run.update(5, {"loss": 1.0}, 1.0)
    run.end("done")
