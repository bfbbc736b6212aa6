"""Many ablations, each in its own process; no net is trained here."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from unittest.mock import ANY

import psutil
import pytest

from cnnjax.ablation import atlas
from cnnjax.errors import UserError
from cnnjax.records import write_json
from tests.slow import slow

ROOT = Path(__file__).parents[2]

REFUSED = "import sys; print('error: no such data', file=sys.stderr); sys.exit(2)"
CRASHED = "raise RuntimeError('broken')"
KILLED = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
# Interrupts its parent, as Ctrl-C does, and ends when the signal is forwarded.
STOPPED = """
import os, signal, sys
signal.signal(signal.SIGINT, lambda *_: sys.exit(130))
os.kill(os.getppid(), signal.SIGINT)
signal.pause()
"""


def run(tmp_path, **programs):
    """Runs programs as if they were ablations; returns the code and all sentences."""
    said = []
    code = atlas.run_atlas(
        list(programs),
        tmp_path,
        "smoke",
        lambda name: [sys.executable, "-c", programs[name]],
        said.append,
    )
    return code, said


def test_one_that_fails_leaves_the_others_alone(tmp_path):
    done = f"open({str(tmp_path / 'done')!r}, 'w')"
    code, _ = run(tmp_path, a=REFUSED, b=CRASHED, c=KILLED, d=done)
    assert code == 1
    assert (tmp_path / "done").exists()
    assert atlas.read_outcomes(tmp_path, "smoke") == {
        "a": "refused: no such data",
        "b": "ended with code 1: RuntimeError: broken",
        "c": ANY,
    }
    assert re.fullmatch(
        r"its process was killed by signal 9 \(out of memory\?\); it had up to "
        r"[\d.]+ GB of memory",
        atlas.read_outcomes(tmp_path, "smoke")["c"],
    )
    assert run(tmp_path, a="")[0] == 0
    assert "a" not in atlas.read_outcomes(tmp_path, "smoke")


@pytest.mark.parametrize("name", ["INT", slow("TERM"), slow("HUP")])
def test_a_signal_reaches_the_child_and_ends_all(tmp_path, name):
    number = signal.Signals[f"SIG{name}"]
    stopped = STOPPED.replace("SIGINT", number.name).replace("130", str(128 + number))
    code, said = run(tmp_path, a=stopped, b="raise SystemExit(5)")
    assert code == 128 + number
    assert said[-1] == "a, 1 of 2"  # the child has said that it was interrupted
    assert list(atlas.read_outcomes(tmp_path, "smoke")) == ["a"]


def test_unknown_names_are_refused():
    assert atlas.chosen_names("degradation, degradation") == ["degradation"]
    assert set(atlas.chosen_names("")) >= {"degradation", "preactivation"}
    with pytest.raises(UserError, match="did you mean 'degradation'"):
        atlas.chosen_names("degredation")


def fail(*args, **kwargs):
    raise ValueError  # without a text


def test_a_report_that_fails_leaves_the_others(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(atlas, "write_report", fail)
    for name in ("a", "b"):
        write_json(tmp_path / name / "smoke" / "plan.json", {})
    code, said = run(tmp_path, a=CRASHED, b=REFUSED, c="")
    assert code == 1
    assert list(atlas.read_outcomes(tmp_path, "smoke")) == ["a", "b"]
    assert [words.split(":")[0] for words in said if words.startswith("no report")] == [
        f"no report of {tmp_path / name / 'smoke'}" for name in ("a", "b")
    ]
    assert "c took" in said[-1]


def test_what_cannot_be_judged_leaves_the_overview(tmp_path, monkeypatch, capsys):
    names = ["degradation", "activation"]
    monkeypatch.setattr(atlas, "ablation_names", lambda: names)
    read = atlas.read_entry
    monkeypatch.setattr(
        atlas,
        "read_entry",
        lambda n, *rest: fail() if n in names[:1] else read(n, *rest),
    )
    page = atlas.write_overview(tmp_path, "smoke").read_text()
    assert "its runs cannot be judged: ValueError" in page
    assert "Activation" in page


@pytest.mark.parametrize("text", ["[1]", "{", '{"a": [1]}', "\xff"])
def test_troubles_that_cannot_be_read_are_none(tmp_path, text):
    (tmp_path / "atlas-smoke").mkdir()
    path = tmp_path / "atlas-smoke" / "troubles.json"
    path.write_text(text, encoding="latin-1")
    assert atlas.read_outcomes(tmp_path, "smoke") == {}


# A child as `cli.run` starts it, which says who it is and saves when it is told to.
CHILD = """
import os, signal, sys, time
from cnnjax.interrupt import catching_signals, end_with_parent
end_with_parent()
with catching_signals(b"") as stop:
    open(sys.argv[1], "w").write(str(os.getpid()))
    while not stop:
        time.sleep(0.01)
    open(sys.argv[1] + ".saved", "w").write(str(stop.exit_code))
"""
PARENT = f"""
import sys
from cnnjax.ablation.atlas import run_child
run_child([sys.executable, "-c", {CHILD!r}, sys.argv[1]])
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["KILL", "TERM", "HUP", "INT"])
def test_a_child_ends_with_its_parent(tmp_path, name):
    """However that ends; and it saves."""
    path, saved = tmp_path / "child", tmp_path / "child.saved"
    parent = subprocess.Popen([sys.executable, "-c", PARENT, path], cwd=ROOT)
    wait_until(lambda: path.exists() and path.read_text())
    child = int(path.read_text())
    assert psutil.pid_exists(child)
    os.kill(parent.pid, signal.Signals[f"SIG{name}"])
    wait_until(lambda: not psutil.pid_exists(child))
    assert saved.exists()
    parent.wait(timeout=10)


def wait_until(condition):
    end = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)
