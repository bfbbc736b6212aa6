"""Checkpoints that cannot be read now: no error of the system is taken for damage."""

import errno
import os
import subprocess
import sys

import numpy as np
import pytest

from cnnjax.run.checkpoints.manager import Checkpoints
from tests.programs import ROOT

pytestmark = pytest.mark.slow

# Reads in a fork for each call that fails, as the settings are read anew there.
READ = """
import os, sys
import numpy as np
from cnnjax.errors import UserError
from cnnjax.run.checkpoints.manager import Checkpoints

def read(folder):
    warned = []
    try:
        with Checkpoints(folder, keep_last=2, warn=warned.append) as checkpoints:
            step = checkpoints.restore_latest({"a": np.zeros(6)})[0]
            checkpoints.set_aside_after(step)
    except UserError as error:
        return f"refused: {error}"
    return f"{step} {warned}"

for number in range(int(sys.argv[2])):
    settings = open(os.environ["FAULTS"]).read().splitlines()
    kept = [line for line in settings if not line.startswith(("first", "last"))]
    with open(os.environ["FAULTS"], "w") as file:
        file.write("\\n".join([*kept, f"first={number}", f"last={number}", ""]))
    if (child := os.fork()) == 0:
        print(number, read(sys.argv[1]), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
"""


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "checkpoints"
    with Checkpoints(path, keep_last=2) as checkpoints:
        checkpoints.save(1, {"a": np.arange(6.0)}, {})
        checkpoints.save(2, {"a": np.arange(6.0)}, {})
    return path


def contents(folder):
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


@pytest.mark.parametrize(
    ("call", "name"),
    [
        ("open", "EACCES"),
        ("open", "EMFILE"),
        ("open", "ENXIO"),
        ("open", "ENODEV"),
        ("read", "EIO"),
        ("read", "ESTALE"),
        ("read", "ETIMEDOUT"),
        ("opendir", "EACCES"),
        ("opendir", "EIO"),
    ],
)
def test_every_call_that_reads(faults, folder, call, name):
    """A run that is refused one of them ends; it does not start again at 0."""
    before = contents(folder)
    faults.fail(folder, (call,), name)
    num_calls = 60  # more than there are
    done = subprocess.run(
        [sys.executable, "-c", READ, folder, str(num_calls)],
        env=os.environ | faults.variables | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    lines = [line.partition(" ")[2] for line in done.stdout.splitlines()]
    assert len(lines) == num_calls, done
    refused = [line for line in lines if line != "2 []"]
    assert refused
    for line in refused:
        assert line.startswith("refused: cannot read")
        assert os.strerror(getattr(errno, name)) in line
    assert contents(folder) == before
