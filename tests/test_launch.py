"""launch.sh with a fake Python: what it decides, installs and starts."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOOLS = (
    "basename bash cat chmod cksum cp dirname env find grep mkdir readlink rm rmdir "
    "sed sleep sort tr"
)
VERBS = {p.stem for p in (ROOT / "experiments").glob("[a-z]*.py")}

# Answers launch.sh as Python does; prints its process number when started.
FAKE_PYTHON = """#!/bin/sh
[ -z "$PYTHONHOME" ] || exit 9
case "$*" in
  *importlib.metadata*) [ -z "$FAKE_HARM" ] || {{ echo "$FAKE_HARM"; exit 1; }} ;;
  *"import json"*) case "$PYTHONPATH" in *harmful*) exit 1 ;; esac ;;
  *version_info*) exit {suitable} ;;
  "-I -V") echo Python 3.12.99 ;;
  "-I -m venv "*) mkdir -p "$4/bin" && cp "$0" "$4/bin/python" ;;
  "-m pip --version") ;;
  *UV_DEFAULT_INDEX*) printf "%s" "$FAKE_SETTINGS" ;;
  "-m pip install "*" uv")
    [ -n "$FAKE_UV" ] || exit 1
    printf "%s\n" "#!/bin/sh" "$FAKE_UV" >"${{0%/*}}/uv" && chmod +x "${{0%/*}}/uv" ;;
  "-m pip install "*)
    echo "$@" >>"$FAKE_LOG"
    env | grep -E "^(PIP|UV|PYTHON)" >>"$FAKE_LOG.env"
    [ -z "$FAKE_SIGNAL" ] || kill "-$FAKE_SIGNAL" $$
    exit "${{FAKE_CODE:-0}}" ;;
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
        env = {"PATH": str(self.tools), "FAKE_LOG": str(self.pip_log), **variables}
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


@pytest.mark.parametrize("verb", ["tarin", "", "--scale=smoke", "ablate atlas", "*"])
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
    assert "runs -P -m experiments.ablate --ablation=degradation --scale=quick" in out


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
    code, out, err = sandbox.run("train", FAKE_CODE="1")
    assert (code, out) == (1, "")
    assert "set-up failed" in err.splitlines()[-1]
    assert sandbox.run("train")[0] == 0
    assert sandbox.installs() == [".", "."]


@pytest.mark.parametrize("step", ["pip", "uv", "venv"])
def test_a_killed_set_up_says_so(sandbox, step):
    python = sandbox.add_python()
    if step == "uv":
        uv = sandbox.tools / "uv"
        made = f'mkdir -p "$last/bin"; cp "{python}" "$last/bin/python"'
        uv.write_text(
            f'#!/bin/sh\nfor last; do :; done\n[ "$1" = venv ] && {{ {made}; exit; }}\n'
            "kill -9 $$\n"
        )
        uv.chmod(0o755)
    if step == "venv":
        text = python.read_text().replace('mkdir -p "$4/bin" &&', "kill -9 $$;")
        python.write_text(text)
    signals = {"FAKE_SIGNAL": "KILL"} if step == "pip" else {}
    code, _, err = sandbox.run("train", **signals)
    assert code == 1
    assert "was ended by signal 9; if nobody did that, memory may have" in err
    assert not (sandbox.root / ".venv" / "cnnjax-ready").exists()
    assert not (sandbox.root / ".venv" / "cnnjax-setup-pid").exists()


HARM = {
    "OSError: jax/_src/core.py is cut off": "core.py is cut off",
    "Traceback\nModuleNotFoundError: No module named 'jax'": "(ModuleNotFoundError: No",
    "ImportError: a.so: failed to map segment": "its file system forbids programs",
}


@pytest.mark.parametrize("harm", HARM)
def test_an_incomplete_set_up_is_not_taken_for_a_whole_one(sandbox, harm):
    """As after a full disk, when pip says that everything is there already."""
    sandbox.add_python()
    code, _, err = sandbox.run("train", FAKE_HARM=harm)
    assert code == 1
    assert "was incomplete and is removed" in err.splitlines()[-1]
    assert HARM[harm] in err.splitlines()[-1]
    assert not (sandbox.root / ".venv").exists()
    assert sandbox.run("train")[0] == 0


def test_settings_that_install_elsewhere_or_otherwise_are_left_out(sandbox):
    sandbox.add_python()
    wrong = {"PIP_TARGET": "/x", "PIP_USER": "1", "PIP_NO_DEPS": "1", "UV_PYTHON": "/x"}
    wrong |= {"PIP_REQUIRE_VIRTUALENV": "1", "PIP_PYTHON": "/x", "UV_TARGET": "/x"}
    wrong |= {"UV_SYSTEM_PYTHON": "1", "PIP_DRY_RUN": "1", "PYTHONPATH": "/junk"}
    right = {"PIP_INDEX_URL": "https://x", "UV_HTTP_TIMEOUT": "9", "PIP_CERT": "/c"}
    code, out, err = sandbox.run("train", PYTHONHOME="/nowhere", **wrong, **right)
    assert code == 0, err
    seen = dict(
        line.split("=", 1)
        for line in Path(f"{sandbox.pip_log}.env").read_text().splitlines()
    )
    assert seen == right
    assert f"path {sandbox.root}:/junk\n" in out, "programs get what the user set"


def test_packages_of_pythonpath_hide_none_of_ours(sandbox):
    sandbox.add_python()
    sandbox.run("train")
    ours = sandbox.root / ".venv/lib/python3.12/site-packages"
    ours.mkdir(parents=True)
    out = sandbox.run("train", PYTHONPATH="/mine")[1]
    assert f"path {sandbox.root}:{ours}:/mine\n" in out
    # An empty entry is the current folder, and a relative one lies in it.
    kept = {":/mine": f":{ours}:/mine", ".:/mine::x": f":{ours}:/mine", "x:": ""}
    for paths, rest in kept.items():
        out = sandbox.run("train", PYTHONPATH=paths)[1]
        assert f"path {sandbox.root}{rest}\n" in out
    code, _, err = sandbox.run("train", PYTHONPATH="/harmful")
    assert (code, err.count("\n")) == (2, 1)
    assert "no Python starts with PYTHONPATH=/harmful" in err


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_through_another_shell(sandbox, shell):
    """Wherever `cd` looks: `CDPATH` has the folder of the same name."""
    sandbox.add_python()
    found = shutil.which("dash" if shell == "sh" else shell) or shutil.which("sh")
    (sandbox.tools / "sh").unlink(missing_ok=True)
    (sandbox.tools / "sh").symlink_to(found)
    (sandbox.tools / "a repo").mkdir()
    code, out, err = sandbox.run(
        "a repo/launch.sh",
        "report",
        program=sandbox.tools / shell,
        cwd=sandbox.root.parent,
        CDPATH=str(sandbox.tools),
    )
    assert code == 0, err
    assert f"path {sandbox.root}\n" in out


def test_what_cannot_be_written_is_one_sentence(sandbox):
    sandbox.add_python()
    (sandbox.root / ".venv").symlink_to("nowhere/at/all")
    code, _, err = sandbox.run("train")
    assert (code, err.count("\n")) == (1, 1)
    assert "cannot write in " in err
    (sandbox.root / ".venv").unlink()
    # As on a disk without inodes: the file of the number cannot be made.
    (sandbox.root / ".venv").mkdir()
    (sandbox.root / ".venv" / "cnnjax-setup-pid").mkdir()
    (sandbox.tools / "sleep").unlink()
    (sandbox.tools / "sleep").symlink_to(shutil.which("true"))
    code, _, err = sandbox.run("train")
    assert (code, "free space and inodes" in err.splitlines()[-1]) == (1, True), err


def test_an_interrupted_set_up_is_removed_and_done_again(sandbox):
    sandbox.add_python()
    venv = sandbox.root / ".venv"
    (venv / "bin").mkdir(parents=True)
    (venv / "bin" / "half").touch()
    (venv / "cnnjax-unfinished").touch()
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
        '  pip) echo "$@" >>"$FAKE_LOG" ;;\n'
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
