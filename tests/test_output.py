"""Output that is missing or breaks off ends no program; errors of the machine."""

import errno
import io
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cnnjax import cli
from cnnjax.errors import UserError
from cnnjax.records import write_json
from cnnjax.screen import Outliving

ROOT = Path(__file__).parents[1]
PROGRAM = """
import sys
from cnnjax import cli
from cnnjax.screen import Outliving
def main():
    for number in range(20_000):
        print("line", number, flush=True)
    print("warning", file=sys.stderr)
    handle = open(sys.argv.pop(), "w")
    assert handle.fileno() > 2
    handle.write("done")
    return 3
place = sys.argv.pop()
cli.run(lambda: sys.argv.append(place) or main())
"""


def run_main(monkeypatch, main):
    monkeypatch.setattr(sys, "argv", ["program"])
    with pytest.raises(SystemExit) as ended:
        cli.run(main)
    return ended.value.code


def test_a_reader_that_ends_ends_nothing(tmp_path):
    """As `| head -1`: the program goes on, and its exit code is its own."""
    reading, writing = os.pipe()
    stream = Outliving(writing, "w")
    os.close(reading)
    assert stream.write(b"nobody reads this") == 17
    assert stream.write(b"nor this") == 8
    stream.close()


def test_a_full_disk_of_the_log_ends_nothing(capfd):
    with Outliving("/dev/full", "w") as stream:
        assert stream.write(b"lost") == 4
        assert stream.write(b"this too") == 8
    assert capfd.readouterr() == (
        "",
        "warning: stdout takes no more text (No space left on device); the work goes "
        "on\n",
    )


@pytest.mark.parametrize(
    "error",
    [UserError("x" * 3000), OSError(errno.ENAMETOOLONG, "too long", "x" * 3000)],
)
def test_an_error_is_one_sentence_however_long_its_names(monkeypatch, capsys, error):
    def main():
        raise error

    assert run_main(monkeypatch, main) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: ")
    assert len(said) <= 510


@pytest.mark.parametrize("word", ["--" + "x" * 3000, "--" + "x" * 3000 + "=1"])
def test_no_flag_is_that_long(monkeypatch, capsys, word):
    monkeypatch.setattr(sys, "argv", ["program", word])
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda: 0)
    said = capsys.readouterr().err
    assert ended.value.code == 2
    assert said.startswith("error: unknown flag --xxx")
    assert said.endswith("xxx; --help lists all flags\n")
    assert len(said) < 200


def broken_pipe():
    reading, writing = os.pipe()
    os.close(reading)
    return writing


@pytest.mark.parametrize(
    ("opened", "only_prints", "code"),
    [
        (lambda: os.open("/dev/full", os.O_WRONLY), True, 2),
        (lambda: os.open("/dev/full", os.O_WRONLY), False, 0),
        (broken_pipe, True, 0),  # as `status | head`
    ],
)
def test_a_list_that_is_cut_off_is_no_success(
    monkeypatch, capfd, opened, only_prints, code
):
    """As `status > /dev/full`; a training has its results in files."""
    monkeypatch.setattr(cli, "outlive_readers", lambda: None)
    monkeypatch.setattr(sys, "argv", ["program"])
    raw = Outliving(opened(), "w")
    with io.TextIOWrapper(io.BufferedWriter(raw)) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with pytest.raises(SystemExit) as ended:
            cli.run(lambda: print("a row of a table"), only_prints=only_prints)
    assert ended.value.code == code
    cut = "error: the output is cut off (No space" in capfd.readouterr().err
    assert cut == (code == 2)


@pytest.mark.slow
@pytest.mark.parametrize("verb", ["status", "models", "profile", "help"])
def test_no_verb_that_prints_alone_succeeds_on_a_full_disk(tmp_path, verb):
    words = {
        "status": ["status.py", f"--workdir={tmp_path}"],
        "models": ["models.py"],
        "profile": ["profile.py", "--model=resnet20_cifar"],
        "help": ["train.py", "--help"],
    }[verb]
    config = {"model": {"name": "mlp"}, "data": {"name": "digits"}}
    config |= {"train": {"batch_size": 8}, "seeds": {"first": 0, "count": 1}}
    write_json(tmp_path / "config.json", config)
    with open("/dev/full", "w") as full:
        program = ROOT / "experiments" / words[0]
        ended = subprocess.run(
            [sys.executable, program, *words[1:]],
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert ended.returncode == 2
    assert "error: the output is cut off (No space left on device)" in ended.stderr


@pytest.mark.slow
@pytest.mark.parametrize(
    "shell",
    [
        '"$@" | head -1',
        '"$@" 2>&1 | head -1',
        '"$@" >&-',
        '"$@" 2>&-',
        '"$@" >&- 2>&- <&-',
        '"$@" </dev/null >/dev/null 2>&1',
        '"$@" >/dev/full',
        '"$@" 2>/dev/full',
    ],
)
@pytest.mark.parametrize("options", [[], ["-u"]])
def test_it_goes_on_without(tmp_path, shell, options):
    place = tmp_path / "out"
    words = [sys.executable, *options, "-c", PROGRAM, str(place)]
    ended = subprocess.run(
        ["bash", "-c", f"{shell}; exit ${{PIPESTATUS[0]}}", "bash", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert ended.returncode == 3
    assert place.read_text() == "done"
    assert "Error" not in ended.stderr


def test_a_name_in_an_error_is_on_one_line(monkeypatch, capsys):
    """The words of each number are in `tests/chaos/test_words.py`."""

    def main():
        raise OSError(errno.EIO, os.strerror(errno.EIO), "run/x\n\x1b[31m")

    assert run_main(monkeypatch, main) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: cannot read or write run/x\\n\\x1b[31m: Input/output")
    assert err.count("\n") == 1


def test_a_file_that_is_missing_is_no_lack_of_space(monkeypatch):
    """A mistake in the program keeps its traceback."""
    monkeypatch.setattr(sys, "argv", ["program"])
    with pytest.raises(FileNotFoundError):
        cli.run(lambda: Path("nowhere/at/all").read_text())


@pytest.mark.parametrize("code", [None, 0, 3])
def test_a_part_that_ends_the_program_is_a_fault(monkeypatch, code):
    monkeypatch.setattr(sys, "argv", ["program"])
    with pytest.raises(RuntimeError, match="asked it to end"):
        cli.run(lambda: sys.exit(code))
