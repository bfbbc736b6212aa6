"""A program that may take little memory: XLA aborts, Python raises, neither hangs."""

import shutil
import subprocess
import sys
import time

import pytest

from tests.chaos.training import LONGEST_SECONDS, TRAIN, assert_resumes
from tests.programs import QUICK_TO_COMPILE, ROOT, keeping_programs

pytestmark = pytest.mark.slow

# KiB of address space; a whole training takes about four million.
SIZES = (900_000, 1_500_000, 2_000_000, 2_500_000, 3_000_000)


def test_any_size(faulty, whole, here, tmp_path_factory):
    if not shutil.which("sh"):
        pytest.skip("no shell to set a limit")
    kept = keeping_programs(tmp_path_factory.mktemp("compiled"))
    variables = {"PYTHONPATH": str(ROOT), "XLA_FLAGS": QUICK_TO_COMPILE, **kept}
    command = [sys.executable, "-P", "-m", f"experiments.{TRAIN[0]}", *TRAIN[1:]]
    failed = 0
    for size in SIZES:
        start = time.monotonic()
        ended = subprocess.run(
            ["sh", "-c", f'ulimit -v {size}; exec "$@"', "sh", *command],
            cwd=here,
            env={"PATH": "/usr/bin:/bin", "JAX_PLATFORMS": "cpu", **variables},
            capture_output=True,
            text=True,
        )
        assert time.monotonic() - start < LONGEST_SECONDS
        failed += ended.returncode != 0
        if ended.returncode == 0:
            break
        # Nothing that looks like a result, whether it was aborted or has raised.
        assert not list(here.glob("run/seed-*/result.json"))
    assert failed
    assert_resumes(faulty, here, whole)
