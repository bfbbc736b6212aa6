"""What is said of a data set before training, on a screen and in its record."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from cnnjax.data.contents import (
    WIDTH,
    Contents,
    Ignored,
    data_record,
    source_lines,
    split_lines,
)
from cnnjax.data.sources.listing import list_images
from tests.data.loading import load


def described(num_classes, counts, ignored=(), remarks=()):
    """A data set of which a tenth was taken out of train."""
    tenth = counts // 10
    taken = {"test": ("train", tenth), "validation": ("validation", 0 * counts)}
    taken |= {"train": ("train", counts - tenth)}
    return SimpleNamespace(
        name="folder",
        fingerprint="0123",
        image_shape=(224, 224, 3),
        class_names=tuple(f"class of things {i}" for i in range(num_classes)),
        contents=Contents(
            {"train": counts, "validation": counts + 1}, taken, ignored, remarks
        ),
    )


def test_a_thousand_classes_are_readable():
    long = "a/very/long/name/of/a/folder/with/images/in/it/and/more/" + "x" * 60
    ignored = (Ignored("hidden", 12_345, (long, "b", "c")),)
    counts = np.arange(1000) + 300
    dataset = described(1000, counts, ignored, ("a remark " * 20,))
    lines = split_lines(dataset)
    # A name longer than the screen stays whole.
    assert all(len(line) <= WIDTH or long in line for line in lines)
    assert len(lines) < 16
    text = " ".join(" ".join(lines).split())
    assert "1,000 classes: class of things 0" in text
    assert f"train {(counts - counts // 10).sum():,} images, 270 to 1,170 of a" in text
    assert f"test {(counts // 10).sum():,} images taken out of train, 30 to" in text
    assert "validation no images" in text
    assert f"not used: {counts.sum() + 1000:,} of validation" in text
    assert "ignored: 12,345 x hidden" in text


def test_few_classes_are_counted_one_by_one():
    lines = source_lines(described(2, np.array([10, 40])))
    assert lines[0] == (
        "data folder: 224x224x3, 2 classes: class of things 0, class of things 1"
    )
    assert lines[1].endswith("50 images, class of things 0: 10, class of things 1: 40")
    lines = source_lines(described(2, np.array([40, 40])))
    assert lines[1].endswith("80 images, 40 of each class")


def test_the_record_is_whole():
    counts = np.arange(1000)
    dataset = described(1000, counts, (Ignored("hidden", 2, ("a", "b")),), ("so",))
    record = json.loads(json.dumps(data_record(dataset)))
    assert record["class_names"] == list(dataset.class_names)
    assert record["found"]["train"] == counts.tolist()
    splits = record["splits"]
    assert splits["test"]["from"] == "train"
    total = np.array(splits["test"]["images_per_class"])
    total += splits["train"]["images_per_class"]
    assert total.tolist() == counts.tolist()
    assert record["ignored"] == [
        {"reason": "hidden", "count": 2, "examples": ["a", "b"]}
    ]
    assert record["remarks"] == ["so"]


@pytest.mark.parametrize("delivery", ["resident", "streaming"])
@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_counts_are_those_of_the_labels(name, delivery):
    sizes = {"num_train": 100, "num_validation": 30, "num_test": 50}
    dataset = load(name, **sizes, split_seed=1, delivery=delivery)
    for split in ("train", "validation", "test"):
        part = getattr(dataset, split)
        _, labels = part.read(np.arange(len(part)))
        _, counts = dataset.contents.taken[split]
        np.testing.assert_array_equal(counts, np.bincount(labels, minlength=10))


def test_a_listing_is_a_value(tmp_path):
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "x.png").write_bytes(b"")
    listing = list_images(str(tmp_path))
    with pytest.raises(AttributeError):
        listing.class_names = ()
    assert listing.paths == list_images(str(tmp_path)).paths
