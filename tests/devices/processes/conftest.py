"""Starts several real processes that train together on this machine."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from tests.programs import QUICK_TO_COMPILE

ROOT = Path(__file__).parents[3]
SMALL = f"--config={ROOT}/tests/devices/processes/small.py"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="session")
def shared_cache(tmp_path_factory):
    """Compiled programs that the processes of these tests have in common."""
    return tmp_path_factory.mktemp("compiled")


def launch(folder, cache, *flags, program="experiments.train"):
    """A program in a process with one device, started in a folder."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", program, *flags],
        cwd=folder,
        env=os.environ
        | {
            "PYTHONPATH": str(ROOT),
            "XLA_FLAGS": QUICK_TO_COMPILE,
            "CNNJAX_CACHE_DIR": str(cache),
        },
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.fixture
def start(shared_cache, tmp_path):
    """start(num, *flags): a program in so many processes; `ended` waits for one."""
    started = []

    def start(num, *flags, program="experiments.train"):
        meeting = [f"--coordinator=127.0.0.1:{free_port()}", f"--num_processes={num}"]
        for i in range(num):
            own = [*meeting, f"--process_id={i}"]
            flags_of_one = (*flags, *own)
            started.append(
                launch(tmp_path, shared_cache, *flags_of_one, program=program)
            )
        return started[-num:]

    yield start
    for process in started:
        process.kill()
        process.communicate()


@pytest.fixture
def ended():
    """ended(process): its exit code, output and errors, once it has ended."""

    def wait(process, timeout=120):
        out, err = process.communicate(timeout=timeout)
        # The lines of the C++ below JAX are not ours.
        sentences = [line for line in err.splitlines() if line.startswith("error: ")]
        return SimpleNamespace(
            code=process.returncode, out=out, err=err, sentences=sentences
        )

    return wait
