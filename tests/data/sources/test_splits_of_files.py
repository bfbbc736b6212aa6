"""Prepared sets whose splits are not those that they say, and ones without end."""

import json
import os

import pytest
from tensorflow_datasets.proto import tf_example_pb2

from cnnjax.errors import UserError
from tests.data.loading import load
from tests.data.small_sets import image_features, labelled, write_set

TENSOR = "tensorflow_datasets.core.features.tensor_feature.Tensor"


def edit(path, change):
    described = json.loads(path.read_text())
    change(described)
    path.write_text(json.dumps(described))


@pytest.fixture
def two(tmp_path):
    """(data_dir, folder of the version) of a set with train and test."""
    splits = {"train": labelled([0, 1, 2]), "test": labelled([2, 1, 0])}
    return tmp_path, write_set(tmp_path, "toy", image_features(), splits)


def name_all_test(folder):
    template = "{DATASET}-test.{FILEFORMAT}-{SHARD_X_OF_Y}"
    edit(
        folder / "dataset_info.json",
        lambda d: [split.update(filepathTemplate=template) for split in d["splits"]],
    )


def link_test(folder, link=os.symlink):
    train, test = (next(folder.glob(f"*{split}.array*")) for split in ("train", "test"))
    test.unlink()
    link(train, test)


def hard_link_test(folder):
    link_test(folder, os.link)


@pytest.mark.parametrize("share", [name_all_test, link_test, hard_link_test])
def test_two_splits_of_one_file_are_refused(two, share):
    root, folder = two
    assert len(load("tfds:toy", root).test) == 3
    share(folder)
    with pytest.raises(UserError, match=r"'test' is a file of split 'train' as well"):
        load("tfds:toy", root)


def test_class_names_that_are_equal(two):
    root, folder = two
    (folder / "label.labels.txt").write_text("a\nb\na\n")
    with pytest.raises(UserError, match="2 classes of the same name 'a'"):
        load("tfds:toy", root)


@pytest.mark.parametrize("key", ["image", "label"])
@pytest.mark.parametrize("number", [0, 2])
def test_a_record_has_one_image_and_one_label(two, monkeypatch, key, number):
    root, _ = two
    read = tf_example_pb2.Example.FromString

    class Changed:
        @staticmethod
        def FromString(content):
            example = read(content)
            kind = "bytes_list" if key == "image" else "int64_list"
            value = getattr(example.features.feature[key], kind).value
            value[:] = list(value) * number
            return example

    monkeypatch.setattr(tf_example_pb2, "Example", Changed)
    with pytest.raises(UserError, match=f"{number} images or labels in a record"):
        load("tfds:toy", root)


def test_a_split_that_is_named_twice(two):
    root, folder = two
    edit(folder / "dataset_info.json", lambda d: d["splits"].append(d["splits"][0]))
    with pytest.raises(UserError, match=r"has the split '\w+' more than once"):
        load("tfds:toy", root)


def test_a_train_split_without_records(two):
    root, folder = two
    edit(
        folder / "dataset_info.json",
        lambda d: [split.update(shardLengths=["0"]) for split in d["splits"]],
    )
    with pytest.raises(UserError, match="no record in the split 'train'"):
        load("tfds:toy", root)


@pytest.mark.parametrize(("shards", "said"), [(20_000, "20,001 files"), (9_999, "No")])
def test_files_of_records_without_end(two, shards, said):
    """300,000 of them took 21 s."""
    root, folder = two
    edit(
        folder / "dataset_info.json",
        lambda d: d["splits"][0].update(shardLengths=["1"] * shards),
    )
    with pytest.raises(UserError, match=said):
        load("tfds:toy", root)


def test_an_unknown_dtype(two):
    root, folder = two
    tensor = {"pythonClassName": TENSOR, "tensor": {"dtype": "int65", "shape": {}}}
    edit(
        folder / "features.json",
        lambda d: d["featuresDict"]["features"].update(more=tensor),
    )
    with pytest.raises(UserError, match=r"features.json has the unknown dtype 'int65'"):
        load("tfds:toy", root)
