"""Decoded images on disk: found again while nothing changes, and never in the way."""

import numpy as np
import pytest

from cnnjax.data import decoded_cache
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
