"""Many ablations, each in its own process; no net is trained here."""

import sys

import pytest

from cnnjax.ablation import atlas
from cnnjax.errors import UserError

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
        "c": "was killed by signal 9",
    }
    assert run(tmp_path, a="")[0] == 0
    assert "a" not in atlas.read_outcomes(tmp_path, "smoke")


def test_a_signal_reaches_the_child_and_ends_all(tmp_path):
    code, said = run(tmp_path, a=STOPPED, b="raise SystemExit(5)")
    assert code == 130
    assert said[-1] == "interrupted; the same command resumes"
    assert list(atlas.read_outcomes(tmp_path, "smoke")) == ["a"]


def test_unknown_names_are_refused():
    assert atlas.chosen_names("degradation, degradation") == ["degradation"]
    assert set(atlas.chosen_names("")) >= {"degradation", "preactivation"}
    with pytest.raises(UserError, match="did you mean 'degradation'"):
        atlas.chosen_names("degredation")
