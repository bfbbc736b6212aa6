"""Numbers of every ablation at scale smoke are those of another commit, bit for bit.

Rounding differs between processors and releases of JAX, so the other commit runs here,
on the same machine, and no number is stored:

    ./launch.sh test -m slow tests/test_smoke_numbers.py --against=HEAD~1

Those of every published report are also compared with the commit that its runs were
made with; where they differ, its page says so.
"""

import contextlib
import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cnnjax.ablation.judge.collect import COST_KEYS
from cnnjax.ablation.plan import ablation_names
from cnnjax.ablation.report.definition import CHANGED, FILE

ROOT = Path(__file__).parents[1]
GIT = ["git", "-C", str(ROOT)]
PUBLISHED = sorted(path.parent for path in (ROOT / "docs/results").glob(f"*/{FILE}"))


@contextlib.contextmanager
def checkout(folder, commit):
    """The files of another commit."""
    subprocess.run([*GIT, "worktree", "add", "--detach", folder, commit], check=True)
    yield folder
    subprocess.run([*GIT, "worktree", "remove", "--force", folder], check=True)


@pytest.fixture(scope="module")
def other(request, tmp_path_factory):
    """A checkout of the commit of --against."""
    commit = request.config.getoption("--against")
    if not commit:
        pytest.skip("compares with another commit: give --against=COMMIT")
    with checkout(tmp_path_factory.mktemp("against") / "checkout", commit) as folder:
        yield folder


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


def differing(now, then):
    """The first row of a commit that is not among those of today; None if all are."""
    # Columns may be added.
    wrong = (row for row in then if not any(row.items() <= new.items() for new in now))
    return next(wrong, None if len(now) == len(then) else "the number of rows")


@pytest.mark.slow
@pytest.mark.parametrize("name", ablation_names())
def test_numbers_of(name, other, tmp_path):
    now = smoke_numbers(ROOT, name, tmp_path / "now")
    assert now
    assert differing(now, smoke_numbers(other, name, tmp_path / "then")) is None


@pytest.mark.slow
@pytest.mark.parametrize("folder", PUBLISHED, ids=lambda folder: folder.name)
def test_a_report_is_still_what_its_code_gives(folder, tmp_path):
    made_with = json.loads((folder / FILE).read_text())
    commit = made_with["commits"][-1]
    has_it = subprocess.run([*GIT, "cat-file", "-e", commit], capture_output=True)
    if has_it.returncode:
        pytest.skip(f"this copy of the repository has no commit {commit[:10]}")
    name = made_with["ablation"]
    now = smoke_numbers(ROOT, name, tmp_path / "now")
    with checkout(tmp_path / "checkout", commit) as root:
        wrong = differing(now, smoke_numbers(root, name, tmp_path / "then"))
    assert wrong is None or made_with.get(CHANGED), (
        f"{folder.name} was made with commit {commit[:10]}, which gives other numbers "
        f"at scale smoke ({wrong}): publish it again, or say on its page what changed: "
        f"./launch.sh publish --refresh --reports={folder.name} "
        "--numbers_changed='what, and in which commit'"
    )
