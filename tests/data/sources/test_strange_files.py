"""Image folders of strangers: nothing hangs, fills the memory or passes for a write."""

import collections
import contextlib
import os
import subprocess
import sys

import numpy as np
import psutil
import pytest
from PIL import Image

from cnnjax.data.sources import encoded, walk
from cnnjax.data.sources import folder as source
from cnnjax.errors import UserError
from tests.data.sources.test_folder import DELIVERIES, fill, load

Memory = collections.namedtuple("Memory", "available")


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize("kind", ["pipe", "device", "gone", "sparse"])
def test_an_image_that_turns_into_something_else(tmp_path, monkeypatch, kind, delivery):
    """After the folder was listed, where such files are ignored."""
    fill(tmp_path / "a", 2)
    fill(tmp_path / "b", 2)
    path = tmp_path / "b" / "image001.png"
    listed = source.listed_once

    def then_changed(root):
        listing = listed(root)
        path.unlink()
        if kind == "pipe":
            os.mkfifo(path)
        elif kind == "device":
            path.symlink_to("/dev/zero")
        elif kind == "sparse":
            path.touch()
            os.truncate(path, 2**40)
        return listing

    monkeypatch.setattr(source, "listed_once", then_changed)
    monkeypatch.setenv("CNNJAX_CACHE_DIR", "")
    with pytest.raises(
        UserError, match=r"is a pipe|is a device|No such file|at most .* are expected"
    ):
        load(tmp_path, delivery=delivery, num_test=-1).train.read(np.arange(4))


def test_an_image_as_large_as_a_disk(tmp_path):
    fill(tmp_path / "a", 2)
    fill(tmp_path / "b", 2)
    os.truncate(tmp_path / "a" / "image000.png", 2**40)
    with pytest.raises(UserError, match=r"image000.png has 1,099,511,627,776 bytes"):
        load(tmp_path)


@pytest.mark.parametrize("call", ["stat", "scandir", "open"])
def test_a_class_that_may_not_be_read_is_no_matter_of_writing(
    tmp_path, monkeypatch, call
):
    """A folder with r and without x can be listed; no error may pass for a write."""
    fill(tmp_path / "a", 2)
    fill(tmp_path / "b", 2)
    original = getattr(os, call)

    def closed(path, *args, **options):
        if f"{os.sep}b" in os.fspath(path):
            raise PermissionError(13, "Permission denied", path)
        return original(path, *args, **options)

    with monkeypatch.context() as patch:
        patch.setattr(os, call, closed)
        with pytest.raises(UserError, match=r"/b.* cannot be read: Permission denied"):
            load(tmp_path)


@pytest.mark.parametrize("delivery", ["auto", *DELIVERIES])
def test_more_memory_than_there_is_is_not_asked_for(tmp_path, monkeypatch, delivery):
    """One large image as the first, of a set that has others."""
    fill(tmp_path / "a", 1, size=(300, 400))
    fill(tmp_path / "b", 199)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(50_000_000))
    monkeypatch.setattr(encoded, "decode_all", None)
    words = r"first .* is 400x300, and 200 images .* take 0.1 GB .*config.data.image_s"
    with pytest.raises(UserError, match=words) as raised:
        load(tmp_path, delivery=delivery, num_test=-1)
    assert ("'streaming'" in str(raised.value)) == (delivery != "streaming")


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_large_image_as_the_first_that_is_read(tmp_path, monkeypatch, delivery):
    """In another split than that of training, or in the midst of a streamed one."""
    for split in ("train", "test"):
        fill(tmp_path / split / "a", 1)
        fill(tmp_path / split / "b", 199)
    Image.new("RGB", (300, 400)).save(tmp_path / "test" / "a" / "image000.png")
    monkeypatch.setattr(psutil, "virtual_memory", lambda: Memory(50_000_000))
    words = r"test/a/image000.png is 400x300, and 200 images like it take 0.1 GB"
    with pytest.raises(UserError, match=words):
        load(tmp_path, delivery=delivery).test.read(np.arange(200))


def test_a_copy_that_keeps_size_and_time_is_noticed(tmp_path, monkeypatch):
    """As `cp -p` makes it."""
    monkeypatch.setenv("CNNJAX_CACHE_DIR", str(tmp_path / "cache"))
    fill(tmp_path / "set" / "a", 3, suffix="bmp")
    fill(tmp_path / "set" / "b", 3, suffix="bmp")
    path = tmp_path / "set" / "b" / "image001.bmp"
    before = load(tmp_path / "set", num_test=-1)
    stat = path.stat()
    other = Image.new("RGB", (6, 5), (99, 99, 99))
    other.save(path)
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (
        stat.st_size,
        stat.st_mtime_ns,
    )
    after = load(tmp_path / "set", num_test=-1)
    assert after.fingerprint != before.fingerprint
    assert after.train.images[4].max() == 99


@pytest.fixture
def deep(tmp_path, monkeypatch):
    """Makes folders of a name within another, and removes them: pytest could not."""
    monkeypatch.chdir(tmp_path)

    def make(name):
        os.chdir(tmp_path / "a")
        for _ in range(1500):
            os.mkdir(name)
            os.chdir(name)

    yield make
    os.chdir(tmp_path)
    subprocess.run(["find", "a", "-depth", "-delete"], check=True)


@pytest.mark.parametrize("hidden", [False, True])
def test_folders_that_lie_too_deep(tmp_path, deep, hidden):
    fill(tmp_path / "a", 2)
    fill(tmp_path / "b", 2)
    deep(".x" if hidden else "x")
    words = "too deep|File name too long"
    with (
        contextlib.nullcontext()
        if hidden and sys.version_info >= (3, 12)  # where os.walk does not recurse
        else pytest.raises(UserError, match=words)
    ):
        load(tmp_path)


@pytest.mark.parametrize(("folders", "most"), [(7, 100), (30, 10**6)])
def test_links_that_double_the_ways_end(tmp_path, monkeypatch, folders, most):
    """Each folder has two links to the next."""
    fill(tmp_path / "set" / "a", 2)
    fill(tmp_path / "set" / "b", 2)
    monkeypatch.setattr(walk, "MOST_LINKS", most)
    for number in range(folders):
        here = tmp_path / f"{number}"
        here.mkdir()
        for name in "xy":
            (here / name).symlink_to(tmp_path / f"{number + 1}")
    (tmp_path / f"{folders}").mkdir()
    (tmp_path / "set" / "a" / "more").symlink_to(tmp_path / "0")
    with pytest.raises(UserError, match=r"ways over links to folders, or 8 such"):
        load(tmp_path / "set")
