"""Compiled programs on disk: found again, whole, and never in the way."""

import errno
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from cnnjax.devices import compile_cache

ROOT = Path(__file__).parents[2]
# A process that compiles one program and says how often XLA had to.
COMPILES = """
import jax, numpy as np
from jax._src import monitoring
from cnnjax.devices.compile_cache import use_compile_cache
from cnnjax.devices.parallel import compile_program

hits = []
monitoring.register_event_listener(lambda name, **_: hits.append(name))
use_compile_cache()
x = np.arange(6, dtype=np.float32)
print(compile_program(lambda x: (x * x).sum(), (x,))(x))
print(sum("cache_hits" in name for name in hits))
"""


def compile_once(folder, **variables):
    """(result, cache hits, complaints) of a fresh process."""
    ended = subprocess.run(
        [sys.executable, "-c", COMPILES],
        env=os.environ | {"CNNJAX_CACHE_DIR": str(folder)} | variables,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    result, hits = ended.stdout.split()
    return float(result), int(hits), ended.stderr


def test_the_second_process_finds_what_the_first_compiled(tmp_path):
    folder = tmp_path / "cache"
    assert compile_once(folder) == (55.0, 0, "")
    entries = sorted((folder / "compiled").iterdir())
    assert entries
    assert all(compile_cache.OURS.fullmatch(entry.name) for entry in entries)
    assert all(compile_cache.read_entry(entry) for entry in entries)
    # As after a power cut, on a failing disk, and by an older version.
    entries[0].write_bytes(entries[0].read_bytes()[:-1])
    (folder / "compiled" / "x-cache").write_bytes(b"half")
    assert compile_once(folder)[::2] == (55.0, "")
    assert all(compile_cache.read_entry(entry) for entry in entries)
    assert compile_once(folder) == (55.0, 1, "")


def test_switched_off(tmp_path):
    assert compile_once("", HOME=str(tmp_path)) == (55.0, 0, "")
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_costs_nothing_else(tmp_path):
    (tmp_path / "file").write_text("")
    assert compile_once(tmp_path / "file" / "cache") == (55.0, 0, "")


def test_jaxs_own_setting_is_left_alone(tmp_path):
    own = {"JAX_COMPILATION_CACHE_DIR": str(tmp_path / "own")}
    compile_once(tmp_path / "ours", **own)
    assert not (tmp_path / "ours").exists()


@pytest.fixture
def entry(tmp_path):
    path = tmp_path / "jit_step-1"
    compile_cache.write_entry(path, b"a program" * 100)
    return path


def test_an_entry_is_read_as_it_was_written(entry):
    assert compile_cache.read_entry(entry) == b"a program" * 100
    assert os.listdir(entry.parent) == [entry.name], "nothing is left beside it"
    compile_cache.write_entry(entry, b"another")
    assert compile_cache.read_entry(entry) == b"another"


@pytest.mark.parametrize("place", [0, 31, 32, 500, -1])
def test_a_flipped_bit_is_found(entry, place):
    content = bytearray(entry.read_bytes())
    content[place] ^= 1
    entry.write_bytes(content)
    assert compile_cache.read_entry(entry) is None


@pytest.mark.parametrize("length", [0, 1, 31, 32, 33, 500])
def test_half_an_entry_is_found(entry, length):
    entry.write_bytes(entry.read_bytes()[:length])
    assert compile_cache.read_entry(entry) is None


def test_what_is_no_entry(tmp_path, entry):
    assert compile_cache.read_entry(tmp_path / "missing") is None
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    assert compile_cache.read_entry(pipe) is None
    (tmp_path / "folder").mkdir()
    assert compile_cache.read_entry(tmp_path / "folder") is None
    compile_cache.write_entry(tmp_path / "folder", b"cannot take its place")
    assert not list(tmp_path.glob("*new-*"))


def test_programs_of_other_users_do_not_run(entry, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert compile_cache.read_entry(entry) is None


def test_a_full_disk_costs_the_entry_and_nothing_else(tmp_path, monkeypatch):
    class Full(io.BytesIO):
        def write(self, data):
            raise OSError(errno.ENOSPC, "No space left on device")

    def opened(handle, mode):
        os.close(handle)
        return Full()

    monkeypatch.setattr(os, "fdopen", opened)
    compile_cache.write_entry(tmp_path / "jit_step-1", b"a program")
    assert os.listdir(tmp_path) == []


@pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("setpriv"),
    reason="only root may become another user, by setpriv",
)
@pytest.mark.slow
def test_a_user_without_a_name_and_a_home():
    """As in a container that is started with a number for the user."""
    as_nobody = ["setpriv", "--reuid", "12345", "--clear-groups"]
    if subprocess.run([*as_nobody, sys.executable, "-c", ""]).returncode:
        pytest.skip("this Python is in a folder of root alone")
    ended = subprocess.run(
        [*as_nobody, sys.executable, "-c", COMPILES],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        cwd="/",
        capture_output=True,
        text=True,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.split() == ["55.0", "0"]
