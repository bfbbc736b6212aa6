"""Decoded images on disk: found again while nothing changes, and never in the way."""

import os

import numpy as np
import pytest

from cnnjax.data import array_cache, decoded_cache
from cnnjax.data.decoded_cache import decoded_once


class Decoder:
    """Gives other images at every call."""

    def __init__(self):
        self.calls = 0

    def __call__(self):
        self.calls += 1
        images = np.full((3, 2, 2, 1), self.calls, np.uint8)
        return images, np.arange(3, dtype=np.int32)


@pytest.fixture
def folder(monkeypatch, tmp_path):
    monkeypatch.setenv("CNNJAX_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "decoded"


@pytest.fixture
def records(tmp_path):
    path = tmp_path / "records"
    path.write_bytes(b"one")
    return path


def test_the_second_start_decodes_nothing(folder, records):
    decode = Decoder()
    first = decoded_once([records], "train", decode)
    second = decoded_once([records], "train", decode)
    assert decode.calls == 1
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
        assert a.dtype == b.dtype
    second[0][:] = 0  # as good as freshly decoded: may be written to
    assert len(list(folder.iterdir())) == 1


def test_other_images_or_changed_files_are_decoded(folder, records):
    decode = Decoder()
    decoded_once([records], "train", decode)
    decoded_once([records], "test", decode)
    assert decode.calls == 2
    records.write_bytes(b"two, longer")
    assert decoded_once([records], "train", decode)[0].max() == 3


@pytest.mark.parametrize("damage", ["cut", "flipped", "empty"])
def test_a_damaged_entry_is_made_again(folder, records, damage):
    decode = Decoder()
    decoded_once([records], "train", decode)
    (entry,) = folder.iterdir()
    content = bytearray(entry.read_bytes())
    if damage == "flipped":
        content[content.index(bytes([1] * 12))] = 2  # a pixel
    entry.write_bytes(
        {"cut": content[: len(content) // 2], "empty": b""}.get(damage, content)
    )
    assert decoded_once([records], "train", decode)[0].max() == 2
    assert decoded_once([records], "train", decode)[0].max() == 2


def test_nothing_is_kept_where_that_is_not_wanted(monkeypatch, folder, records):
    decode = Decoder()
    monkeypatch.setattr(decoded_cache, "MOST_BYTES", 20)  # 12 bytes fill more than half
    decoded_once([records], "train", decode)
    assert not folder.exists()
    monkeypatch.setenv("CNNJAX_CACHE_DIR", "")
    decoded_once([records], "train", decode)
    assert decode.calls == 2


def test_a_folder_that_cannot_be_made_costs_nothing_else(folder, records):
    folder.parent.write_text("a file")
    assert decoded_once([records], "train", Decoder())[0].max() == 1


def test_any_flipped_bit_is_noticed(folder, records):
    decoded_once([records], "train", Decoder())
    (entry,) = folder.iterdir()
    content = entry.read_bytes()
    for place in range(0, len(content), 3):
        damaged = bytearray(content)
        damaged[place] ^= 1 << place % 8
        entry.write_bytes(damaged)
        found = array_cache.find("decoded", entry.stem, ("images", "labels"))
        if found is not None:
            assert (found[0] == 1).all()
            assert found[0].shape == (3, 2, 2, 1)
            assert found[1].tolist() == [0, 1, 2]


@pytest.mark.parametrize("kind", ["pipe", "sparse", "folder"])
def test_an_entry_that_is_something_else(folder, records, kind):
    decoded_once([records], "train", Decoder())
    (entry,) = folder.iterdir()
    entry.unlink()
    if kind == "pipe":
        os.mkfifo(entry)
    elif kind == "folder":
        entry.mkdir()
    else:
        entry.touch()
        os.truncate(entry, 2**40)
    assert decoded_once([records], "train", Decoder())[0].max() == 1


def test_a_copy_of_equal_size_and_time_is_decoded(folder, records):
    decode = Decoder()
    decoded_once([records], "train", decode)
    times = records.stat().st_atime_ns, records.stat().st_mtime_ns
    other = records.with_name("other")
    other.write_bytes(b"two")
    os.utime(other, ns=times)
    other.replace(records)  # keeps its own times: the number of the file differs
    assert decoded_once([records], "train", decode)[0].max() == 2
    records.write_bytes(b"ten")  # in place: the time of the change differs
    os.utime(records, ns=times)
    assert decoded_once([records], "train", decode)[0].max() == 3
