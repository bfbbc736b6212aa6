"""The user's cache folder: where it is, and that it does not grow for ever."""

import os
import time
from pathlib import Path

import pytest

from cnnjax.cache import cache_folder, remove_oldest


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


def test_the_oldest_entries_go_first(tmp_path):
    for i in range(4):
        entry = tmp_path / f"entry-{i}"
        entry.write_bytes(bytes(10))
        os.utime(entry, (time.time() - 100 + i,) * 2)
    remove_oldest(tmp_path.iterdir(), 25)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["entry-2", "entry-3"]


def test_names_of_one_file_count_once_and_go_together(tmp_path):
    """Also in folders that processes of other machines left."""
    left = tmp_path / "process-elsewhere-1-x"
    left.mkdir()
    for i in range(3):
        entry = tmp_path / f"entry-{i}"
        entry.write_bytes(bytes(10))
        os.utime(entry, (time.time() - 100 + i,) * 2)
        os.link(entry, left / entry.name)
    os.mkfifo(tmp_path / "pipe")
    remove_oldest(tmp_path.rglob("*"), 30)
    assert len(list(left.iterdir())) == 3
    remove_oldest(tmp_path.rglob("*"), 29)
    remaining = {"entry-1", "entry-2"}
    assert {p.name for p in left.iterdir()} == remaining
    names = remaining | {"pipe", left.name}
    assert {p.name for p in tmp_path.iterdir()} == names


def test_an_entry_that_vanishes_meanwhile(tmp_path):
    (tmp_path / "there").write_bytes(bytes(10))
    remove_oldest([tmp_path / "gone", tmp_path / "there"], 10)
    assert (tmp_path / "there").exists()
