"""A clock that is set ahead or back while a training runs, or between two starts.

It is that of Python, in our code and in Orbax. Deadlines that TensorStore computes with
the clock of the machine are out of reach here.
"""

import json
import signal
import time

import pytest

from tests.chaos.training import TRAIN, assert_resumes
from tests.run.test_interruption import finish, interrupt, is_running, numbers

pytestmark = pytest.mark.slow

DAY = 86400.0
CHECKPOINT = "run/checkpoints/*[0-9]"


@pytest.mark.parametrize("jump", [400 * DAY, -400 * DAY])
def test_a_clock_that_jumps_while_training(faults, faulty, whole, here, jump):
    faults.keep_clock()
    process = faulty.start(here, *TRAIN)
    while is_running(process) and not list(here.glob(CHECKPOINT)):
        time.sleep(0.002)
    faults.set_clock(jump)
    time.sleep(0.1)
    faults.set_clock(-jump)
    ended = faulty.wait()
    assert (ended.code, ended.err) == (0, "")
    assert numbers(here / "run") == whole


@pytest.mark.parametrize("jump", [400 * DAY, -400 * DAY])
def test_a_clock_that_jumps_between_two_starts(faults, faulty, whole, here, jump):
    faults.keep_clock()
    faults.set_clock(jump)
    ended = interrupt(faulty, here, TRAIN, CHECKPOINT, 0)
    assert ended.code == -signal.SIGKILL
    beat = json.loads((here / "run" / "progress.json").read_text())
    assert abs(beat["updated"] - time.time() - jump) < 1000
    # On this machine it is known to be dead, whatever the time.
    assert "resumes at step" in finish(faulty, here, *TRAIN)
    faults.none()
    assert_resumes(faulty, here, whole)
