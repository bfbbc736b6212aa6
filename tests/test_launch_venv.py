"""What launch.sh keeps of a .venv, and what it says where it cannot be one."""

import importlib.metadata
import os
import subprocess

import pytest

from tests.test_launch import ROOT, Sandbox


@pytest.fixture
def sandbox(tmp_path):
    sandbox = Sandbox(tmp_path)
    sandbox.add_python()
    return sandbox


@pytest.fixture
def ready(sandbox):
    """A .venv that is set up, with a file of the user, and whose pins have changed."""
    assert sandbox.run("train")[0] == 0
    (sandbox.root / ".venv" / "mine").touch()
    with (sandbox.root / "constraints.txt").open("a") as file:
        file.write("# changed\n")
    return sandbox


def test_an_incomplete_set_up_that_was_there_is_kept(ready):
    code, _, err = ready.run("train", FAKE_HARM="OSError: core.py is cut off")
    assert code == 1
    assert "is incomplete (OSError: core.py is cut off): inst" in err.splitlines()[-1]
    venv = ready.root / ".venv"
    assert (venv / "mine").exists()
    assert not (venv / "cnnjax-ready").exists()
    assert not (venv / "cnnjax-setup-pid").exists()
    assert ready.run("train")[0] == 0


@pytest.mark.parametrize("number", ["99999999", "-1", "0", "00", "1e9", "x"])
def test_an_interrupted_set_up_of_what_was_there_keeps_it(ready, number):
    """`kill -0 -1` and `kill -0 0` ask for groups of processes, and succeed."""
    (ready.root / ".venv" / "cnnjax-setup-pid").write_text(f"{number}\n")
    code, _, err = ready.run("train")
    assert (code, "was interrupted" in err) == (0, True)
    assert (ready.root / ".venv" / "mine").exists()


def test_a_set_up_of_another_machine_is_waited_for(ready):
    mark = ready.root / ".venv" / "cnnjax-setup-pid"
    mark.write_text("7 elsewhere\n")
    process = ready.start("train")
    said = process.stderr.readline()
    mark.unlink()
    process.communicate(timeout=30)
    assert said == "launch.sh: waiting for the set-up of process 7 on elsewhere\n"
    assert process.returncode == 0


def test_a_set_up_of_another_machine_that_is_old_was_interrupted(ready):
    """So does one in a container that has another name each time."""
    mark = ready.root / ".venv" / "cnnjax-setup-pid"
    mark.write_text("7 elsewhere\n")
    os.utime(mark, (0, 0))
    code, _, err = ready.run("train")
    assert (code, "was interrupted" in err) == (0, True)


def test_the_marks_of_a_set_up_are_gone_after_it(sandbox):
    assert sandbox.run("train", FAKE_CODE="1")[0] == 1
    assert (sandbox.root / ".venv" / "cnnjax-unfinished").exists()
    assert sandbox.run("train")[0] == 0
    left = {path.name for path in (sandbox.root / ".venv").glob("cnnjax-*")}
    assert left == {"cnnjax-ready"}


@pytest.mark.parametrize(("name", "whole"), [("Big_Net", True), ("Flax.Net", False)])
def test_packages_that_are_not_ours_are_not_looked_at(
    monkeypatch, tmp_path, name, whole
):
    text = (ROOT / "launch.sh").read_text()
    check = text.split("is_whole='\n")[1].split("\ntry:")[0]
    (tmp_path / "constraints.txt").write_text("# flax==9\nflax-net==1; x < '3'\n")
    info = tmp_path / f"{name}-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Name: {name}\nVersion: 1\n")
    (info / "RECORD").write_text("edited.py,,5\n")
    (tmp_path / "edited.py").touch()
    found = list(importlib.metadata.distributions(path=[str(tmp_path)]))
    monkeypatch.setattr(importlib.metadata, "distributions", lambda: found)
    monkeypatch.setattr(importlib, "import_module", lambda name: None)
    space: dict = {}
    exec(check, space)
    if whole:
        space["check"](tmp_path / "constraints.txt")
    else:
        with pytest.raises(OSError, match=r"edited\.py is cut off"):
            space["check"](tmp_path / "constraints.txt")


def test_a_folder_with_a_colon(sandbox):
    sandbox.root = sandbox.root.rename(sandbox.root.with_name("a:b"))
    code, _, err = sandbox.run("train")
    assert (code, err.count("\n")) == (2, 1)
    assert "a:b has a ':' in its name" in err
    assert not (sandbox.root / ".venv").exists()


def test_the_script_as_input(sandbox):
    done = subprocess.run(
        ["bash", "-s", "help"],
        input=(sandbox.root / "launch.sh").read_text(),
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "run ./launch.sh" in done.stderr


def test_an_extra_is_no_pattern(sandbox):
    code, _, err = sandbox.run("train", CNNJAX_EXTRA="*")
    assert (code, "unknown extra '*'; allowed" in err) == (2, True)
