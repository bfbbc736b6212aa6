"""`--help` of every program: description and flags, without importing jax."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROGRAMS = sorted(p.stem for p in (ROOT / "experiments").glob("[a-z]*.py"))
# Runs a program as `python -m` does, and prints at exit whether jax was imported.
WATCHED = """
import runpy, sys
sys.argv = [sys.argv[1], "--help"]
try:
    runpy.run_module("experiments." + sys.argv[0], run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code
    assert "jax" not in sys.modules
    sys.exit(0)
sys.exit("no exit")
"""


def flags_of(program):
    """Names of the flags that a program defines, read off its source."""
    tree = ast.parse((ROOT / "experiments" / f"{program}.py").read_text())
    return [
        call.args[0].value
        for call in ast.walk(tree)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr.startswith("DEFINE_")
    ]


@pytest.mark.parametrize("program", PROGRAMS)
def test_help(program):
    ended = subprocess.run(
        [sys.executable, "-c", WATCHED, program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert f"./launch.sh {program}" in ended.stdout
    assert flags_of(program)
    for name in flags_of(program):
        assert f"--{name}" in ended.stdout


@pytest.mark.parametrize("word", ["--help", "-h"])
def test_help_after_other_flags(programs, here, word):
    ended = programs.run(here, "train", "--config=resnet_digits", word)
    assert ended.code == 0
    assert "--seeds" in ended.out
