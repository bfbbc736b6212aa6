"""The wheel alone, in an environment without the repository: it trains and ablates."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.programs import ROOT

PARTS = ("cnnjax", "configs", "pyproject.toml", "setup.py", "README.md", "LICENSE")
BUILD = "import sys, setuptools.build_meta as b; b.build_wheel(sys.argv[1])"
USE = """
import cnnjax
assert "/site-packages/cnnjax/" in cnnjax.__file__, cnnjax.__file__
run = cnnjax.train("convnet_digits", "run", train={"steps": 4}, verbose=False)
assert run.rows[0]["status"] == "done"
run = cnnjax.train(model="mlp", dataset="digits", workdir="mlp", train={"steps": 4})
assert run.load("last").step == 4
assert len(cnnjax.list_ablations()) > 20
import configs
assert configs.mine == "theirs"
from cnnjax.ablation.plan import load_ablation
assert load_ablation("degradation").scale("smoke").recipe == "resnet_digits"
"""


@pytest.mark.slow
def test_a_wheel_works_from_any_folder(tmp_path):
    source, place = tmp_path / "source", tmp_path / "here"
    source.mkdir()
    for part in PARTS:
        copy = shutil.copytree if (ROOT / part).is_dir() else shutil.copy
        copy(ROOT / part, source / part)
    clean = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    build = [sys.executable, "-c", BUILD, str(tmp_path)]
    subprocess.run(build, cwd=source, env=clean, check=True, capture_output=True)
    wheel = next(tmp_path.glob("*.whl"))
    venv.create(tmp_path / "venv", with_pip=False)
    python = tmp_path / "venv/bin/python"
    site = next((tmp_path / "venv").glob("lib/python*/site-packages"))
    shutil.unpack_archive(wheel, site, "zip")
    # What it needs comes from here, behind it, and nothing is downloaded.
    others = {sysconfig.get_path("purelib"), str(Path(pytest.__file__).parents[1])}
    (site / "others.pth").write_text("\n".join(sorted(others)))
    (place / "configs").mkdir(parents=True)
    (place / "configs/__init__.py").write_text('mine = "theirs"\n')
    ended = subprocess.run(
        [python, "-c", USE], cwd=place, env=clean, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr
