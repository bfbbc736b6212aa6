"""Processes of a sweep that are killed, as the system does for want of memory."""

import contextlib
import os
import random
import signal
import time

import psutil
import pytest

from tests.ablation.execute.slurm import CannotStart, Slurm
from tests.programs import QUICK_TO_COMPILE, ROOT, Programs, keeping_programs
from tests.run.test_interruption import ABLATE, finish, is_running, numbers

pytestmark = pytest.mark.slow

CELL = "run/*/checkpoints/*[0-9]"
NUM_KILLS = 6


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return keeping_programs(tmp_path_factory.mktemp("compiled"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, kept):
    """The numbers of a sweep in one process that nobody disturbed."""
    here = tmp_path_factory.mktemp("whole")
    server = Programs(**kept)
    finish(server, here, *ABLATE, "--jobs=2")
    server.close()
    return numbers(here / "run")


@pytest.fixture(params=["local", "slurm"])
def launched(request, kept):
    """A server of programs, the command of the sweep, and how to end its jobs."""
    launcher = request.param
    command = (*ABLATE, f"--launcher={launcher}", "--jobs=2")
    with contextlib.ExitStack() as stack:
        variables = kept | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": QUICK_TO_COMPILE}
        if launcher == "slurm":
            try:
                slurm = stack.enter_context(Slurm())
            except CannotStart as reason:
                pytest.skip(f"no SLURM: {reason}")
            variables |= slurm.variables
        server = Programs(**variables)
        yield server, command
        server.close()


def of_sweep(here):
    """Processes in a folder, those whose parent has died among them."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.cwd() == str(here) and process.status() != "zombie":
                found.append(process)
    return found


def wait_for_a_moment(here, driver, draw):
    """Until a cell has saved once more, or for a random time."""
    seen, end = set(here.glob(CELL)), time.monotonic() + draw.uniform(2, 20)
    while is_running(driver) and time.monotonic() < end:
        if draw.random() < 0.01 and set(here.glob(CELL)) > seen:
            return
        time.sleep(0.01)


def test_any_process_may_be_killed(whole, launched, here):
    """A cell, what watches over it, or the command itself; then the command again."""
    programs, command = launched
    draw = random.Random(command[-2])
    for _ in range(NUM_KILLS):
        driver = programs.start(here, *command)
        wait_for_a_moment(here, driver, draw)
        victims = [process for process in of_sweep(here) if process.pid != driver]
        if victims and draw.random() < 0.7:
            with contextlib.suppress(psutil.Error):
                draw.choice(victims).kill()
            time.sleep(draw.uniform(0, 2))
        if is_running(driver):
            with contextlib.suppress(ProcessLookupError):
                os.kill(driver, draw.choice([signal.SIGKILL, signal.SIGTERM]))
        ended = programs.wait()
        assert "Traceback" not in ended.out + ended.err
    for _ in range(3):  # a cell that was killed twice in one command is tried anew
        ended = programs.run(here, *command)
        if ended.code == 0:
            break
    assert (ended.code, ended.err) == (0, "")
    assert numbers(here / "run") == whole
    assert of_sweep(here) == []
