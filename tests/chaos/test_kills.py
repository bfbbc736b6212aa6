"""Processes of a sweep that are killed, as the system does for want of memory."""

import contextlib
import os
import random
import signal
import time

import psutil
import pytest

from tests.programs import Programs, keeping_programs
from tests.run.test_interruption import ABLATE, finish, is_running, numbers

pytestmark = pytest.mark.slow

LOCAL = (*ABLATE, "--launcher=local", "--jobs=2")
LONGEST_SECONDS = 240


@pytest.fixture(scope="module")
def caching(tmp_path_factory):
    server = Programs(**keeping_programs(tmp_path_factory.mktemp("compiled")))
    yield server
    server.close()


@pytest.fixture(scope="module")
def whole_ablation(tmp_path_factory, caching):
    here = tmp_path_factory.mktemp("whole")
    finish(caching, here, *ABLATE, "--jobs=2")
    return numbers(here / "run")


def of_sweep(here):
    """Processes in a folder, those whose parent has died among them."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(here) and process.status() != "zombie":
                found.append(process)
        except psutil.Error:
            continue
    return found


@pytest.mark.parametrize("seed", [0, 1])
def test_any_process_of_a_sweep_may_be_killed(whole_ablation, here, caching, seed):
    draw = random.Random(seed)
    for _ in range(6):
        driver = caching.start(here, *LOCAL)
        end = time.monotonic() + draw.uniform(1, 12)
        while is_running(driver) and time.monotonic() < end:
            time.sleep(0.01)
        processes = of_sweep(here)
        if processes and is_running(driver):
            victim = draw.choice(processes)
            with contextlib.suppress(psutil.Error):
                victim.kill()
            time.sleep(draw.uniform(0, 2))
        if is_running(driver):
            os.kill(driver, draw.choice([signal.SIGKILL, signal.SIGTERM]))
        ended = caching.wait()
        assert "Traceback" not in ended.out + ended.err
    start = time.monotonic()
    finish(caching, here, *LOCAL)
    assert time.monotonic() - start < LONGEST_SECONDS
    assert numbers(here / "run") == whole_ablation
    assert of_sweep(here) == []
