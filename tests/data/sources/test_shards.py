"""Records that unpack to far more than their files hold."""

import numpy as np
import pytest
import tensorflow_datasets as tfds
from array_record.python.array_record_module import ArrayRecordReader, ArrayRecordWriter

from cnnjax.data.sources import shards
from cnnjax.data.sources.shards import (
    BESIDE,
    BLOCK,
    BLOCK_BYTES,
    MOST_CHUNK,
    blocks,
    most_of_record,
    readable,
    record_sizes,
)
from cnnjax.errors import UserError
from tests.data.loading import load
from tests.data.small_sets import image_features, labelled, write_set


def write(path, records, options="group_size:1"):
    writer = ArrayRecordWriter(str(path), options)
    for record in records:
        writer.write(record)
    writer.close()
    return path


def example(image, **more):
    from tensorflow_datasets.proto import tf_example_pb2

    record = tf_example_pb2.Example()
    record.features.feature["image"].bytes_list.value.append(image)
    record.features.feature["label"].int64_list.value.append(0)
    for name, content in more.items():
        record.features.feature[name].bytes_list.value.append(content)
    return record.SerializeToString()


@pytest.mark.parametrize(
    "options", ["group_size:1", "group_size:3", "group_size:9,uncompressed"]
)
@pytest.mark.parametrize("largest", [40, 200_000])
def test_sizes_are_those_of_the_records(options, largest, tmp_path):
    """Also of chunks that cross the borders of blocks."""
    rng = np.random.default_rng(0)
    records = [rng.bytes(size) for size in rng.integers(0, largest, 50)]
    path = write(tmp_path / "records", records, options)
    sizes = record_sizes(tmp_path, path, largest)
    group = int(options.split(",")[0][-1])
    starts = np.arange(0, 50, group)
    of_groups = np.add.reduceat([len(record) for record in records], starts)
    np.testing.assert_array_equal(sizes, np.repeat(of_groups, group)[:50])
    assert ArrayRecordReader(str(path)).num_records() == len(sizes)


@pytest.fixture
def toy(tmp_path):
    splits = {split: labelled([0, 1, 2]) for split in ("train", "test")}
    return write_set(tmp_path, "toy", image_features(), splits)


@pytest.mark.parametrize("split", ["train", "test"])
@pytest.mark.parametrize("where", ["behind the image", "beside it", "packed together"])
def test_a_bomb_is_refused_before_it_is_unpacked(split, where, toy, monkeypatch):
    path = toy / f"toy-{split}.array_record-00000-of-00001"
    reader = ArrayRecordReader(str(path))
    image = example(reader.read_all()[0])
    reader.close()
    zeros = bytes(BESIDE + 2**20)
    records = {
        "behind the image": [image, example(image + zeros), image],
        "beside it": [image, image, example(image, more=zeros)],
        "packed together": [example(zeros)] * 3,
    }[where]
    options = "group_size:3" if where == "packed together" else "group_size:1"
    path.unlink()
    write(path, records, options)
    assert path.stat().st_size < 200_000

    def unpacked(*_):
        raise AssertionError

    monkeypatch.setattr(ArrayRecordReader, "read", unpacked)
    monkeypatch.setattr(ArrayRecordReader, "read_all", unpacked)
    with pytest.raises(UserError, match=r"(a record|3 records packed together) that w"):
        load("tfds:toy", toy.parent.parent)


def test_a_bomb_of_many_small_records(tmp_path, monkeypatch):
    monkeypatch.setattr(shards, "MOST_CHUNK", 10_000)
    path = write(tmp_path / "records", [bytes(1000)] * 20, "group_size:20")
    with pytest.raises(UserError, match="20 records packed together that would take"):
        record_sizes(tmp_path, path, most=2000)


def test_what_a_record_may_hold():
    assert most_of_record(tfds.features.Image(shape=(4, 5, 3))) == 120 + BESIDE
    deep = tfds.features.Image(shape=(4, 5, 1), dtype=np.uint16)
    assert most_of_record(deep) == 80 + BESIDE
    assert most_of_record(tfds.features.Image()) > MOST_CHUNK  # any that Pillow decodes


def test_blocks_are_bounded_by_bytes():
    indices = np.arange(5000)
    small = list(blocks(indices, np.full(5000, 100)))
    assert [len(block) for block in small] == [BLOCK] * 4 + [5000 - 4 * BLOCK]
    sizes = np.random.default_rng(0).integers(0, BLOCK_BYTES // 3, 5000)
    sizes[7] = 10 * BLOCK_BYTES
    found = list(blocks(indices, sizes))
    np.testing.assert_array_equal(np.concatenate(found), indices)
    for block in found:
        assert sizes[block].sum() - sizes[block].max() <= BLOCK_BYTES
    assert list(blocks(indices[:0], sizes)) == []


def test_memory_that_is_not_there_is_a_sentence(tmp_path):
    with (
        pytest.raises(UserError, match="take more memory than is free: close other"),
        readable(tmp_path, "train"),
    ):
        raise MemoryError("std::bad_alloc")
