"""Small disks: of bytes, and of files."""

import os
import shutil
import subprocess
import sys
import time

import pytest

from tests.chaos.training import TRAIN, assert_resumes
from tests.programs import QUICK_TO_COMPILE, ROOT, keeping_programs

pytestmark = pytest.mark.slow

# From the sentence to the end of the process.
LONGEST_SECONDS = 10


@pytest.fixture
def disk(here):
    """Mounts a small file system where the program is started, or makes it larger."""

    def mount(*options):
        words = ("mount", "-t", "tmpfs", "-o", ",".join(options), "none", here)
        return subprocess.run(words, capture_output=True).returncode == 0

    if not shutil.which("mount") or not mount("size=1m"):
        pytest.skip("this user may mount nothing here")
    yield lambda *options: mount("remount", *options)
    subprocess.run(("umount", "--lazy", here))


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    return keeping_programs(tmp_path_factory.mktemp("compiled"))


def ended(here, kept):
    """Exit code, and stderr, of a process of its own; its end is waited for shortly."""
    command = [sys.executable, "-P", "-m", f"experiments.{TRAIN[0]}", *TRAIN[1:]]
    variables = {"PYTHONPATH": str(ROOT), "XLA_FLAGS": QUICK_TO_COMPILE, **kept}
    with subprocess.Popen(
        command,
        cwd=here,
        env=os.environ | variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        said = process.stderr.readline()
        start = time.monotonic()
        said += process.stderr.read()
        try:
            process.wait(timeout=LONGEST_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        assert time.monotonic() - start < LONGEST_SECONDS
        return process.returncode, said


@pytest.mark.parametrize("small", ["nr_inodes", "size"])
def test_a_disk_that_fills_up(faulty, whole, here, disk, kept, small):
    """It grows little by little: full at another place each time, then large enough."""
    sizes = [12, 17, 21, 26, 33, 45] if small == "nr_inodes" else [64, 160, 300, 460]
    unit = "" if small == "nr_inodes" else "k"
    others = "size=100m" if small == "nr_inodes" else "nr_inodes=100000"
    refused = 0
    for size in sizes:
        assert disk(f"{small}={size}{unit}", others)
        code, said = ended(here, kept)
        assert code in (0, 2), said
        if code == 2:
            refused += 1
            assert said.startswith("error: cannot write "), said
            assert "No space left on device; free space there" in said
            assert said.count("\n") == 1, said
    assert refused > 2
    assert disk("size=100m", "nr_inodes=100000")
    assert_resumes(faulty, here, whole)
