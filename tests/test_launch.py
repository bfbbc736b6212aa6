"""launch.sh with a fake Python: what it decides, installs and starts."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = (
    "basename bash cat chmod cksum cp dirname mkdir readlink rm rmdir sed sleep sort tr"
)
VERBS = {p.stem for p in (ROOT / "experiments").glob("[a-z]*.py")}

# Answers launch.sh as Python does; prints its process number when started.
FAKE_PYTHON = """#!/bin/sh
case "$*" in
  *version_info*) exit {suitable} ;;
  -V) echo Python 3.12.99 ;;
  "-m venv "*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
  "-m pip --version") ;;
  "-m pip install "*) echo "$@" >>"$PIP_LOG"; exit "${{PIP_CODE:-0}}" ;;
  *) echo "pid $$"; echo "cwd $PWD"; echo "path $PYTHONPATH"; echo "runs $*" ;;
esac
"""


class Sandbox:
    """A copy of the repository, and a PATH with nothing but a few tools."""

    def __init__(self, folder):
        self.root = folder / "a repo"
        self.tools = folder / "tools"
        self.pip_log = folder / "pip.log"
        self.root.mkdir()
        self.tools.mkdir()
        for name in ("launch.sh", "pyproject.toml", "constraints.txt"):
            shutil.copy(ROOT / name, self.root)
        shutil.copytree(ROOT / "experiments", self.root / "experiments")
        for tool in TOOLS.split():
            (self.tools / tool).symlink_to(shutil.which(tool))

    def add_python(self, name="python3", suitable=True):
        path = self.tools / name
        path.write_text(FAKE_PYTHON.format(suitable=int(not suitable)))
        path.chmod(0o755)
        return path

    def start(self, *args, cwd=None, program=None, **variables):
        env = {"PATH": str(self.tools), "PIP_LOG": str(self.pip_log), **variables}
        return subprocess.Popen(
            [str(program or self.root / "launch.sh"), *args],
            env=env,
            cwd=cwd or self.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *args, **more):
        process = self.start(*args, **more)
        out, err = process.communicate(timeout=30)
        return process.returncode, out, err

    def installs(self):
        """The targets that pip has installed so far, one per call."""
        lines = self.pip_log.read_text().splitlines() if self.pip_log.exists() else []
        assert all("-c constraints.txt" in line for line in lines)
        return [line.split("-e ")[1] for line in lines]


@pytest.fixture
def sandbox(tmp_path):
    return Sandbox(tmp_path)


@pytest.mark.parametrize("word", ["help", "--help", "-h"])
def test_help_shows_each_program_with_an_example_and_needs_no_python(sandbox, word):
    code, out, err = sandbox.run(word)
    assert (code, err) == (0, "")
    for verb in VERBS:
        assert f"\n{verb}: " in out
        assert f"\n    ./launch.sh {verb} --" in out
    assert "./launch.sh test" in out


def test_a_new_program_appears_in_help(sandbox):
    program = '"""Weighs a net.\n\nExample: ./launch.sh weigh --model=lenet5\n"""\n'
    (sandbox.root / "experiments" / "weigh.py").write_text(program)
    assert (
        "weigh: Weighs a net.\n    ./launch.sh weigh --model=lenet5\n"
        in (sandbox.run("help")[1])
    )


@pytest.mark.parametrize("verb", ["tarin", "", "--scale=smoke", "a b", "*"])
def test_unknown_verb_is_one_sentence(sandbox, verb):
    code, out, err = sandbox.run(verb)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert f"unknown verb '{verb}'; allowed are help, test, " in err
    assert all(f", {known}" in err for known in VERBS)


def test_unknown_extra_is_one_sentence(sandbox):
    code, _, err = sandbox.run("train", CNNJAX_EXTRA="cuda11")
    assert (code, err.count("\n")) == (2, 1)
    assert "unknown extra 'cuda11'; allowed are cuda13 cuda12 tpu" in err


def test_no_python_at_all_is_one_sentence_and_leaves_nothing(sandbox):
    code, _, err = sandbox.run()
    assert (code, err.count("\n")) == (1, 1)
    assert "no Python 3.11, 3.12 or 3.13" in err
    assert "CNNJAX_PYTHON" in err
    assert not (sandbox.root / ".venv").exists()


def test_unsuitable_pythons_and_failing_shims_are_passed_over(sandbox):
    sandbox.add_python("python3", suitable=False)
    shim = sandbox.add_python("python3.13")
    shim.write_text(
        "#!/bin/sh\necho 'pyenv: python3.13: command not found' >&2\nexit 127"
    )
    assert sandbox.run()[0] == 1
    sandbox.add_python("python3.12")
    code, _, err = sandbox.run()
    assert code == 0
    assert "shim" not in err
    assert "pyenv" not in err


def test_the_named_python_must_be_suitable(sandbox):
    sandbox.add_python("python3")
    old = sandbox.add_python("old", suitable=False)
    code, _, err = sandbox.run("train", CNNJAX_PYTHON=str(old))
    assert (code, err.count("\n")) == (2, 1)
    assert f"CNNJAX_PYTHON={old} is not a Python 3.11, 3.12 or 3.13" in err


def test_without_arguments_it_runs_the_main_question(sandbox):
    sandbox.add_python()
    code, out, _ = sandbox.run()
    assert code == 0
    assert "runs -P -m experiments.ablate --ablation=degradation --scale=laptop" in out


def test_set_up_is_done_once_and_again_when_the_pins_change(sandbox):
    sandbox.add_python()
    assert sandbox.run("report", "--workdir=x")[0] == 0
    code, out, err = sandbox.run("report", "--workdir=x y")
    assert (code, err) == (0, "")
    assert "runs -P -m experiments.report --workdir=x y\n" in out
    assert sandbox.installs() == ["."]
    with (sandbox.root / "constraints.txt").open("a") as file:
        file.write("# changed\n")
    assert sandbox.run("report")[0] == 0
    assert sandbox.installs() == [".", "."]


def test_extras_are_added_and_stay(sandbox):
    sandbox.add_python()
    sandbox.run("train")
    sandbox.run("train", CNNJAX_EXTRA="cuda13")
    out = sandbox.run("test", "-k", "a b")[1]
    assert "runs -P -m pytest -k a b\n" in out
    for arguments in (["train"], ["test"]):
        assert sandbox.run(*arguments)[0] == 0
    assert sandbox.installs() == [".", ".[cuda13]", ".[cuda13,test]"]


def test_a_failed_set_up_is_one_sentence_and_done_again(sandbox):
    sandbox.add_python()
    code, out, err = sandbox.run("train", PIP_CODE="1")
    assert (code, out) == (1, "")
    assert "set-up failed" in err.splitlines()[-1]
    assert sandbox.run("train")[0] == 0
    assert sandbox.installs() == [".", "."]


def test_an_interrupted_set_up_is_removed_and_done_again(sandbox):
    sandbox.add_python()
    venv = sandbox.root / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "half").touch()
    # A process number that another program, this one, has now.
    (venv / "cnnjax-setup-pid").write_text(f"{os.getpid()}\n")
    code, _, err = sandbox.run("train")
    assert code == 0
    assert "was interrupted" in err
    assert not (venv / "bin" / "half").exists()
    assert not (venv / "cnnjax-setup-pid").exists()


def test_two_starts_at_once_set_up_once(sandbox):
    sandbox.add_python()
    processes = [sandbox.start("train") for _ in range(4)]
    for process in processes:
        process.communicate(timeout=30)
        assert process.returncode == 0
    assert sandbox.installs() == ["."]


def test_a_broken_environment_is_made_again(sandbox):
    sandbox.add_python()
    sandbox.run("train")
    (sandbox.root / ".venv" / "bin" / "python").unlink()
    assert sandbox.run("train")[0] == 0


def test_uv_is_used_where_it_is_installed(sandbox):
    python = sandbox.add_python()
    uv = sandbox.tools / "uv"
    uv.write_text(
        "#!/bin/sh\n"
        'case "$1" in\n'
        f'  venv) for last; do :; done; mkdir -p "$last/bin";'
        f' cp "{python}" "$last/bin/python" ;;\n'
        '  pip) echo "$@" >>"$PIP_LOG" ;;\n'
        "esac\n"
    )
    uv.chmod(0o755)
    assert sandbox.run("test")[0] == 0
    assert sandbox.installs() == [".[test]"]
    assert "uv" not in os.listdir(sandbox.root / ".venv")
    assert "--python" in sandbox.pip_log.read_text()


def test_programs_run_where_the_caller_stands_and_get_the_signals(sandbox, tmp_path):
    sandbox.add_python()
    sandbox.run("train")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    process = sandbox.start("train", cwd=elsewhere, PYTHONPATH="/mine")
    out, _ = process.communicate(timeout=30)
    assert f"cwd {elsewhere}\n" in out
    assert f"path {sandbox.root}:/mine\n" in out
    # It is the same process, so a signal sent to launch.sh reaches the program.
    assert f"pid {process.pid}\n" in out


def test_through_links_of_every_kind(sandbox, tmp_path):
    """Relative and absolute links, chained ones, in a linked folder, from PATH."""
    sandbox.add_python()
    (tmp_path / "deep" / "bin").mkdir(parents=True)
    (tmp_path / "bin").symlink_to("deep/bin")
    relative = tmp_path / "bin" / "cnnjax-relative"
    relative.symlink_to("../../a repo/launch.sh")
    absolute = tmp_path / "cnnjax absolute"
    absolute.symlink_to(sandbox.root / "launch.sh")
    again = tmp_path / "deep" / "again"
    again.symlink_to("../bin/cnnjax-relative")
    for program in (relative, absolute, again):
        code, out, err = sandbox.run("report", program=program, cwd=tmp_path)
        assert code == 0, err
        assert f"path {sandbox.root}\n" in out
    in_path = sandbox.tools / "cnnjax"
    in_path.symlink_to(again)
    code, out, err = sandbox.run("report", program="cnnjax", cwd=tmp_path)
    assert (code, f"path {sandbox.root}\n" in out) == (0, True), err


def test_a_clone_of_windows_has_no_carriage_returns(tmp_path):
    """As with core.autocrlf=true: bash would stop at the first line."""
    git = ["git", "-C", str(ROOT)]
    if subprocess.run([*git, "rev-parse"], capture_output=True).returncode:
        pytest.skip("not a clone")
    names = ["launch.sh", ".ci/run", "pyproject.toml", "cnnjax/cli.py"]
    prefix = f"--prefix={tmp_path}/"
    made = subprocess.run(
        [*git, "-c", "core.autocrlf=true", "checkout-index", prefix, *names],
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 4
    assert not any(b"\r" in path.read_bytes() for path in files)
