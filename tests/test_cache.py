"""The user's cache folder: where it is, and that it does not grow for ever."""

import os
import re
import time
from pathlib import Path

import numpy as np
import pytest

from cnnjax.cache import cache_folder, remove_oldest
from cnnjax.data import array_cache
from cnnjax.devices import compile_cache


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"CNNJAX_CACHE_DIR": ""}, None),
        ({"CNNJAX_CACHE_DIR": "/a/b"}, Path("/a/b/kind")),
        ({"XDG_CACHE_HOME": "/c"}, Path("/c/cnnjax/kind")),
        ({"HOME": "/h"}, Path("/h/.cache/cnnjax/kind")),
    ],
)
def test_where_entries_lie(monkeypatch, variables, expected):
    for name in ("CNNJAX_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert cache_folder("kind") == expected


def test_a_user_without_a_home_has_no_cache(monkeypatch):
    """As a container that is started with a number for the user."""
    for name in ("CNNJAX_CACHE_DIR", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(os, "getuid", lambda: 2**31 - 7)
    with pytest.raises(RuntimeError):
        Path.home()
    assert cache_folder("kind") is None


OURS = re.compile(r"entry-\d")


def test_the_oldest_entries_go_first(tmp_path):
    for i in range(4):
        entry = tmp_path / f"entry-{i}"
        entry.write_bytes(bytes(10))
        os.utime(entry, (time.time() - 100 + i,) * 2)
    remove_oldest(tmp_path, OURS, 25)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["entry-2", "entry-3"]


def test_names_of_one_file_count_once_and_go_together(tmp_path):
    for i in range(3):
        entry = tmp_path / f"entry-{i}"
        entry.write_bytes(bytes(10))
        os.utime(entry, (time.time() - 100 + i,) * 2)
        os.link(entry, tmp_path / f"entry-{i + 5}")
    os.mkfifo(tmp_path / "entry-9")
    remove_oldest(tmp_path, OURS, 30)
    assert len(list(tmp_path.iterdir())) == 7
    remove_oldest(tmp_path, OURS, 29)
    left = {"entry-1", "entry-2", "entry-6", "entry-7", "entry-9"}
    assert {p.name for p in tmp_path.iterdir()} == left


def test_an_entry_that_vanishes_meanwhile(tmp_path, monkeypatch):
    (tmp_path / "entry-1").write_bytes(bytes(10))
    listed = [tmp_path / "entry-0", tmp_path / "entry-1"]
    monkeypatch.setattr(Path, "iterdir", lambda folder: iter(listed))
    remove_oldest(tmp_path, OURS, 10)
    assert (tmp_path / "entry-1").exists()


FOREIGN = [
    "thesis/chapter-1.tex",
    "thesis/0123456789abcdef0123456789abcdef.npz",
    f"thesis/jit_step-{'0' * 64}",
    "photo.npz",
    "results.npz",
    "0123456789abcdef0123456789abcdef",
    "0123456789abcdef0123456789abcdef.npz.bak",
    "new-document",
    "tmp_notes",
    "jit_step-notes",
    f"{'0' * 64}",
    f"jit_step-{'0' * 64}.bak",
]


def bound(kind, monkeypatch):
    """Fills the folder of a kind of entries beyond its bound, of nothing."""
    if kind == "compiled":
        monkeypatch.setattr(compile_cache, "MOST_BYTES", 0)
        monkeypatch.setattr(compile_cache, "_replace_cache_of_jax", lambda folder: None)
        monkeypatch.setattr(compile_cache.jax, "config", Settings())
        compile_cache.use_compile_cache()
    else:
        array_cache.keep(kind, "f" * 32, 8, a=np.zeros(4, np.uint8))


class Settings:
    jax_compilation_cache_dir = None

    def update(self, name, value):
        pass


@pytest.mark.parametrize("kind", ["compiled", "decoded", "readable", "statistics"])
def test_what_we_did_not_write_is_never_deleted(tmp_path, monkeypatch, kind):
    """CNNJAX_CACHE_DIR may be a folder with such a folder in it."""
    monkeypatch.setenv("CNNJAX_CACHE_DIR", str(tmp_path))
    ours = f"jit_step-{'0' * 64}" if kind == "compiled" else f"{'0' * 32}.npz"
    for name in [*FOREIGN, ours]:
        path = tmp_path / kind / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(100))
    (tmp_path / "thesis.txt").write_text("beside it")
    bound(kind, monkeypatch)
    left = {str(p.relative_to(tmp_path / kind)) for p in (tmp_path / kind).rglob("*")}
    assert left - {"thesis"} == set(FOREIGN)
    assert (tmp_path / "thesis.txt").exists()


def test_what_a_kill_leaves_is_ours(tmp_path, monkeypatch):
    """Both caches write a new file first."""
    written = []
    monkeypatch.setattr(os, "replace", lambda new, path: written.append(Path(new)))
    monkeypatch.setenv("CNNJAX_CACHE_DIR", str(tmp_path))
    compile_cache.write_entry(tmp_path / "jit_step-1", b"a program")
    array_cache.keep("decoded", "f" * 32, 2**20, a=np.zeros(4))
    compiled, decoded = written
    assert compile_cache.OURS.fullmatch(compiled.name)
    assert array_cache.OURS.fullmatch(decoded.name)
