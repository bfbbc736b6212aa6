"""Numbers of every ablation at scale smoke are those of another commit, bit for bit.

Rounding differs between processors and releases of JAX, so the other commit runs here,
on the same machine, and no number is stored:

    ./launch.sh test -m slow tests/test_smoke_numbers.py --against=HEAD~1
"""

import csv
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cnnjax.ablation.judge.collect import COST_KEYS
from cnnjax.ablation.plan import ablation_names

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def other(request, tmp_path_factory):
    """A checkout of the commit of --against."""
    commit = request.config.getoption("--against")
    if not commit:
        pytest.skip("compares with another commit: give --against=COMMIT")
    folder = tmp_path_factory.mktemp("against") / "checkout"
    git = ["git", "-C", str(ROOT), "worktree"]
    subprocess.run([*git, "add", "--detach", folder, commit], check=True)
    yield folder
    subprocess.run([*git, "remove", "--force", folder], check=True)


def smoke_numbers(root, name, workdir):
    """The rows of results.csv without what depends on speed."""
    arguments = (f"--ablation={name}", "--scale=smoke", f"--workdir={workdir}")
    subprocess.run(
        [sys.executable, "-P", "-m", "experiments.ablate", *arguments],
        env=os.environ | {"PYTHONPATH": str(root), "XLA_FLAGS": ""},
        cwd=workdir.parent,
        stdout=subprocess.DEVNULL,
        check=True,
    )
    with open(workdir / "results.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    return [{k: v for k, v in row.items() if k not in COST_KEYS} for row in rows]


@pytest.mark.slow
@pytest.mark.parametrize("name", ablation_names())
def test_numbers_of(name, other, tmp_path):
    now = smoke_numbers(ROOT, name, tmp_path / "now")
    then = smoke_numbers(other, name, tmp_path / "then")
    assert now
    for row in then:  # columns may be added
        assert any(row.items() <= new.items() for new in now), row
    assert len(now) == len(then)
