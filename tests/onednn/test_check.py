"""The library is used where it was tested, loads and computes what XLA computes."""

import ctypes
import subprocess
from pathlib import Path

import jax
import jaxlib
import pytest

from cnnjax import cache
from cnnjax.onednn import calls, check, trial
from cnnjax.onednn.convolutions import Convolution
from cnnjax.onednn.library import FORCE, VARIABLE, library, library_path
from cnnjax.onednn.pooling import Pooling
from tests.onednn.test_convolutions import lowered

installed = pytest.mark.skipif(
    jax.default_backend() != "cpu" or not calls.available(),
    reason="oneDNN (onednn-cpu-gomp) is not installed, or this is no CPU",
)
OPENMP = "libgomp.so.1"  # loads, and is another library
GOOD = (None, True)


@pytest.fixture(autouse=True)
def unforced(monkeypatch):
    """As users have it; see `tests/conftest.py`."""
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def cached(tmp_path, monkeypatch):
    monkeypatch.setenv(cache.VARIABLE, str(tmp_path))
    return tmp_path / "onednn"


@pytest.fixture
def outcomes(monkeypatch):
    """What the next trials find; which libraries were tried."""
    found, asked = [], []
    monkeypatch.setattr(check, "tried", lambda path: asked.append(path) or found.pop(0))
    return found, asked


@pytest.fixture
def anew():
    """The library is looked for again, in the test and after it."""
    for function in (library, calls.available):
        function.cache_clear()
    yield
    for function in (library, calls.available):
        function.cache_clear()


@pytest.mark.parametrize(
    ("release", "is_tested"),
    [("0.10.0", True), ("0.12.0.1", True), ("0.9.2", False), ("0.13.0", False)],
)
def test_releases_of_jaxlib_are_bounded(release, is_tested, monkeypatch):
    monkeypatch.setattr(jaxlib, "__version__", release)
    why = check.refusal("/lib.so")
    assert (why is None) == is_tested
    assert why is None or why.endswith(f"0.10 to 0.12, and this is {release}")
    monkeypatch.setenv(VARIABLE, FORCE)
    assert check.refusal("/lib.so") is None


def test_a_library_is_tried_once(cached, outcomes, monkeypatch):
    found, asked = outcomes
    found += [GOOD, ("it is bad", True), GOOD]
    assert check.refusal("/a.so") is None
    assert check.refusal("/a.so") is None
    for _ in range(2):
        why = check.refusal("/b.so")
        assert why.startswith("it is bad; remove ")
    assert asked == ["/a.so", "/b.so"]
    # Another release of jaxlib, or another processor, is another question.
    monkeypatch.setattr(check, "_processor", lambda: "another")
    assert check.refusal("/b.so") is None


def test_what_may_pass_is_not_kept(cached, outcomes):
    found, asked = outcomes
    found += [("it could not be tried (TimeoutExpired)", False), GOOD]
    assert "could not be tried" in check.refusal("/a.so")
    assert check.refusal("/a.so") is None
    assert len(asked) == 2


def test_a_record_that_cannot_be_read_is_none(cached, outcomes):
    found, asked = outcomes
    found += [GOOD, GOOD]
    check.refusal("/a.so")
    (record,) = cached.iterdir()
    record.write_text("{")
    assert check.refusal("/a.so") is None
    assert len(asked) == 2


def test_without_a_cache_nothing_is_tried(monkeypatch, outcomes):
    monkeypatch.setenv(cache.VARIABLE, "")
    assert check.refusal("/a.so") is None
    assert outcomes[1] == []


@pytest.mark.parametrize(
    ("code", "output", "expected"),
    [
        (0, "noise\nas XLA\n", GOOD),
        (0, "", ("it failed when it was tried (exit code 0)", False)),
        (3, "OSError: no\n", ("it failed when it was tried (OSError: no)", True)),
        (1, "OSError: no\n", ("it failed when it was tried (OSError: no)", False)),
        (1, "", ("it failed when it was tried (exit code 1)", False)),
        (-11, "", ("it crashed when it was tried (SIGSEGV)", True)),
        (-9, "", ("it crashed when it was tried (SIGKILL)", False)),
    ],
)  # fmt: skip
def test_how_a_trial_ends(code, output, expected, monkeypatch):
    done = subprocess.CompletedProcess([], code, output, "")
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: done)
    assert check.tried("/a.so") == expected


@installed
@pytest.mark.parametrize(
    ("primitive", "problem"),
    [
        (Convolution, "forward of 3x3/2, 1 groups, differs"),
        (Pooling, "max_gradient of a pool differs"),
    ],
)
def test_a_wrong_result_is_noticed(primitive, problem, monkeypatch):
    monkeypatch.setattr(trial, "_GEOMETRIES", ((3, 2, 1),))
    assert trial.wrong_result() is None

    def wrong(self, *addresses):
        """Left as it is, the memory may hold the result of the trial before."""
        ctypes.memset(addresses[-1], 0x40, 64)  # floats of 3

    monkeypatch.setattr(primitive, "__call__", wrong)
    assert trial.wrong_result() == problem


def test_another_library_is_noticed(capsys):
    assert trial.main(OPENMP) == check.WRONG
    assert "AttributeError" in capsys.readouterr().out
    assert trial.main(__file__) == check.WRONG
    assert "OSError" in capsys.readouterr().out


@pytest.mark.parametrize(
    "error",
    [
        OSError("libdnnl.so.3: failed to map segment: Cannot allocate memory"),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 4 bytes"),
        MemoryError(),
        OSError(24, "Too many open files"),
    ],
)
def test_a_shortage_may_pass(error, monkeypatch, capsys):
    def fails(path):
        raise error

    monkeypatch.setattr(trial, "OneDNN", fails)
    assert trial.main("/a.so") == 1
    assert type(error).__name__ in capsys.readouterr().out


def test_a_trial_never_imports_what_lies_in_the_current_folder(monkeypatch):
    given = []
    done = subprocess.CompletedProcess([], 0, "as XLA\n", "")

    def run(*args, env, **more):
        given.append(env)
        return done

    monkeypatch.setattr(subprocess, "run", run)
    root = str(Path(check.__file__).parents[2])
    for paths, kept in {":/mine": [root, "/mine"], ".:x": [root], "": [root]}.items():
        monkeypatch.setenv("PYTHONPATH", paths)
        check.tried("/a.so")
        assert given[-1]["PYTHONPATH"].split(":") == kept


@pytest.mark.parametrize("why", ["it crashed when it was tried (SIGSEGV)"])
def test_a_refused_library_is_one_sentence_and_xla_computes(
    why, anew, monkeypatch, capsys
):
    monkeypatch.setenv(VARIABLE, "/a.so")
    monkeypatch.setattr(calls, "refusal", lambda path: why)
    assert not calls.available()
    assert calls.TARGET not in lowered("auto")
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert said.startswith(f"oneDNN is not used ({why}), so convolutions are XLA's")


@pytest.mark.slow
@installed
def test_trials_in_a_process(tmp_path):
    """The whole, a library cut short that crashes at load, and another one."""
    path = library_path()
    assert check.tried(path) == GOOD
    part = tmp_path / "libdnnl.so.3"
    whole = Path(path).read_bytes()
    part.write_bytes(whole[: len(whole) // 2])  # of its head, and not all it names
    why, is_final = check.tried(str(part))
    assert is_final
    assert why == "it crashed when it was tried (SIGBUS)"
    why, is_final = check.tried(OPENMP)
    assert "AttributeError" in why
    assert is_final
