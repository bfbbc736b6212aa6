"""Compiled programs on disk: found again, whole, and never in the way."""

import os
import socket
import subprocess
import sys
from pathlib import Path

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
    entries = sorted(p.name for p in (folder / "compiled").iterdir())
    assert entries
    assert all(name.endswith("-cache") for name in entries), "only whole entries stay"
    assert compile_once(folder) == (55.0, 1, "")
    assert sorted(p.name for p in (folder / "compiled").iterdir()) == entries


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


def test_entries_join_when_nothing_is_being_compiled(monkeypatch, tmp_path):
    own = tmp_path / "process-1"
    own.mkdir()
    monkeypatch.setattr(compile_cache, "_private", own)
    entry = own / "jit_step-1-cache"
    with compile_cache.sharing_entries():  # a thread in progress
        with compile_cache.sharing_entries():
            entry.write_text("half")
        assert not (tmp_path / entry.name).exists()
    assert (tmp_path / entry.name).read_text() == "half"
    with compile_cache.sharing_entries():
        pass  # it is there already


def test_what_a_killed_process_left_is_removed(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = socket.gethostname()
    dead = tmp_path / f"process-{host}-{ended.pid}-x"
    alive = tmp_path / f"process-{host}-{os.getpid()}-x"
    # Of a machine with the same home, where that number may live.
    other = tmp_path / f"process-{host}-2-{ended.pid}-x"
    for folder in (dead, alive, other):
        folder.mkdir()
        (folder / "jit_step-1-cache").write_text("half")
    compile_cache._remove_left_behind(tmp_path)
    assert not dead.exists()
    assert alive.exists()
    assert other.exists()


def test_what_a_dead_process_left_is_removed_and_nothing_else(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    mine = compile_cache._mine()
    left = f"{mine}-{ended.pid}-a_b1"
    others = ["process-", "process-mine", f"{mine}-{os.getpid()}-x", f"{mine}-a-b", "x"]
    for name in (left, *others):
        (tmp_path / name).mkdir()
    compile_cache._remove_left_behind(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(others)
