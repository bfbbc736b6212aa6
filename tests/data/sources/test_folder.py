"""Image folders: layouts, sizes, colours, and what a wrong one says."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from cnnjax.data import decoded_cache, fingerprints
from cnnjax.data.contents import data_record, split_lines
from cnnjax.data.published_sizes import describe_dataset
from cnnjax.errors import UserError
from tests.data import loading


def load(data_dir, **changes):
    return loading.load("folder", data_dir, **changes)


def fill(folder, count, *, size=(6, 5), mode="RGB", suffix="png", level=0):
    """`count` images of one grey level each, level, level + 1, ..."""
    folder.mkdir(parents=True, exist_ok=True)
    for i in range(count):
        image = Image.new("L", size, level + i).convert(mode)
        image.save(folder / f"image{i:03d}.{suffix}")


def levels(split):
    return sorted(int(image[0, 0, 0]) for image in split.images)


def test_splits_as_folders(tmp_path):
    for start, split in enumerate(("train", "val", "test")):
        fill(tmp_path / split / "cat", 4, level=50 * start)
        fill(tmp_path / split / "dog", 4, level=50 * start + 20)
    (tmp_path / "train" / "cat" / "notes.txt").write_text("no image")
    (tmp_path / "train" / "empty").mkdir()
    dataset = load(tmp_path)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.image_shape == (5, 6, 3)
    assert levels(dataset.train) == [0, 1, 2, 3, 20, 21, 22, 23]
    assert levels(dataset.validation)[0] == 50
    assert levels(dataset.test)[-1] == 123
    np.testing.assert_array_equal(dataset.test.labels, [0] * 4 + [1] * 4)
    assert len(load(tmp_path, num_validation=2).validation) == 2


DELIVERIES = ("resident", "streaming")


def splits_of(dataset):
    return dataset.train, dataset.validation, dataset.test


def sizes(dataset):
    return [len(split) for split in splits_of(dataset)]


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_a_sorted_val_leaves_train_whole(tmp_path, delivery):
    for split in ("train", "val"):
        fill(tmp_path / split / "cat", 10)
        fill(tmp_path / split / "dog", 10)
    dataset = load(tmp_path, delivery=delivery)
    assert sizes(dataset) == [20, 20, 0]
    assert "nothing is tested" in dataset.contents.remarks[-1]
    assert sizes(load(tmp_path, delivery=delivery, num_test=4)) == [16, 20, 4]
    assert sizes(load(tmp_path, delivery=delivery, num_validation=-1)) == [20, 0, 0]


@pytest.mark.parametrize("beside", ["val/1.png", "test/a/", "dev/a/x.png", "val/a/"])
def test_split_folders_without_a_use_leave_train_whole(tmp_path, beside):
    """Images in no class, empty folders, and a name that is none of a split."""
    for name in "ab":
        fill(tmp_path / "train" / name, 5)
    path = tmp_path / beside
    path.parent.mkdir(parents=True, exist_ok=True)
    if beside.endswith("/"):
        path.mkdir()
    else:
        path.write_bytes(b"")
    dataset = load(tmp_path, num_validation=-1)
    assert sizes(dataset) == [10, 0, 0]
    assert "comes in splits without one for tests" in dataset.contents.remarks[-1]
    assert sizes(load(tmp_path, num_validation=-1, num_test=4)) == [6, 0, 4]
    planned, _ = describe_dataset(
        loading.request("folder", tmp_path, num_validation=-1)
    )
    assert sizes(planned) == [10, 0, 0]


def test_what_carving_leaves_out_is_said(tmp_path):
    fill(tmp_path / "a", 1)
    fill(tmp_path / "b", 1)
    dataset = load(tmp_path)
    assert sizes(dataset) == [2, 0, 0]
    (said,) = dataset.contents.remarks
    assert "folder has too few images for a share of them" in said
    fill(tmp_path / "a", 100)
    dataset = load(tmp_path, num_validation=9)
    assert [len(np.unique(split.labels)) for split in splits_of(dataset)] == [2, 1, 1]
    assert dataset.contents.remarks == (
        "the validation images that were chosen of train have none of 1 of 2 classes: "
        "b",
        "the test images that were chosen of train have none of 1 of 2 classes: b",
    )
    for name in "ab":  # the listing has said it of a split of its own
        fill(tmp_path / "set" / "train" / name, 1)
    fill(tmp_path / "set" / "test" / "a", 1)
    (said,) = load(tmp_path / "set").contents.remarks
    assert said == "the test images have none of 1 of 2 classes: b"


def test_none_is_a_number_that_can_be_asked_for(tmp_path):
    for split in ("train", "test"):
        fill(tmp_path / split / "cat", 10)
        fill(tmp_path / split / "dog", 10)
    dataset = load(tmp_path, num_test=-1)
    assert sizes(dataset) == [20, 0, 0]
    assert "not used: 20 of test" in " ".join(split_lines(dataset))
    # Without splits a share is taken out, unless that is not wanted.
    assert sizes(load(tmp_path / "train")) == [16, 0, 4]
    assert sizes(load(tmp_path / "train", num_test=-1)) == [20, 0, 0]
    with pytest.raises(UserError, match=r"num_test=-2 is no number of images: .* -1"):
        load(tmp_path, num_test=-2)


@pytest.mark.parametrize("split", ["validation", "test"])
def test_a_split_that_is_not_sorted_is_refused_where_it_is_wanted(tmp_path, split):
    fill(tmp_path / "train" / "cat", 10)
    fill(tmp_path / "train" / "dog", 10)
    fill(tmp_path / split, 7)
    key = f"num_{split}"
    with pytest.raises(UserError, match=rf"7 {split} images .*one folder .*{key}=-1"):
        load(tmp_path)
    for num, left in ((-1, 20), (4, 16)):
        dataset = load(tmp_path, **{"num_test": -1} | {key: num})
        assert "are not used" in dataset.contents.remarks[0]
        assert len(dataset.train) == left


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_both_deliveries_see_the_images_of_a_viewer(tmp_path, delivery):
    """Kinds of files side by side; the sizes agree once they are upright."""
    fill(tmp_path / "a", 2)
    fill(tmp_path / "b", 1, mode="RGBA", level=7)
    clear = Image.new("RGBA", (6, 5), (0, 0, 0, 0))
    clear.save(tmp_path / "b" / "clear.webp", lossless=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (5, 6), (9, 9, 9)).save(tmp_path / "b" / "turned.tif", exif=exif)
    Image.new("I;16", (6, 5), 256 * 200).save(tmp_path / "b" / "deep.png")
    split = load(tmp_path, delivery=delivery, num_test=-1).train
    images, labels = split.read(np.arange(len(split)))
    assert images.shape == (6, 5, 6, 3)
    assert images[:, 2, 2, 1].tolist() == [0, 1, 255, 200, 7, 9]
    assert labels.tolist() == [0, 0, 1, 1, 1, 1]


def test_names_that_are_not_utf8(tmp_path, monkeypatch):
    monkeypatch.setenv("CNNJAX_CACHE_DIR", str(tmp_path / "cache"))
    root = tmp_path / os.fsdecode(b"b\xe4ume")
    fill(root / os.fsdecode(b"gr\xfcn"), 3)
    fill(root / "rot", 3)
    for delivery in DELIVERIES:
        dataset = load(root, delivery=delivery)
        assert dataset.class_names == (r"gr\xfcn", "rot")
        json.dumps(data_record(dataset)).encode("ascii")
        "\n".join(split_lines(dataset)).encode("utf-8")
    (root / "rot" / os.fsdecode(b"k\xe4fer.png")).write_bytes(b"broken")
    with pytest.raises(UserError, match=r"b\\xe4ume/rot/k\\xe4fer.png is not a read"):
        load(root)


def test_a_home_that_nobody_knows(monkeypatch):
    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.setattr("os.path.expanduser", lambda path: path)
    with pytest.raises(UserError, match="data_dir='~/set' begins with ~, but"):
        load("~/set")


def test_a_relative_folder(tmp_path, monkeypatch):
    fill(tmp_path / "set" / "a", 3)
    fill(tmp_path / "set" / "b", 3)
    monkeypatch.chdir(tmp_path)
    assert load("set").fingerprint == load(tmp_path / "set").fingerprint


def test_images_of_another_decoding_are_not_taken_from_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("CNNJAX_CACHE_DIR", str(tmp_path / "cache"))
    fill(tmp_path / "set" / "a", 3)
    fill(tmp_path / "set" / "b", 3)
    marks = []
    for version in (decoded_cache.DECODING, decoded_cache.DECODING + 1):
        monkeypatch.setattr(decoded_cache, "DECODING", version)
        monkeypatch.setattr(fingerprints, "DECODING", version)
        load(tmp_path / "set", num_test=-1)
        streamed = load(tmp_path / "set", num_test=-1, delivery="streaming")
        marks.append(streamed.fingerprint)
    assert len(list((tmp_path / "cache" / "decoded").iterdir())) == 2
    assert len(set(marks)) == 2


def test_one_folder_is_carved_up_by_class(tmp_path):
    fill(tmp_path / "b", 20)
    fill(tmp_path / "a", 40, level=100)
    dataset = load(tmp_path, num_validation=12)
    assert [len(s) for s in (dataset.train, dataset.validation, dataset.test)] == [
        36,
        12,
        12,
    ]
    for split in (dataset.train, dataset.validation, dataset.test):
        assert abs(np.bincount(split.labels)[0] - len(split) * 2 / 3) <= 1
        assert ((split.images[:, 0, 0, 0] >= 100) == (split.labels == 0)).all()


def test_grey_stays_grey_and_mixed_becomes_colour(tmp_path):
    fill(tmp_path / "grey" / "a", 3, mode="L")
    fill(tmp_path / "grey" / "b", 3, mode="L", suffix="jpg", level=9)
    assert load(tmp_path / "grey").image_shape == (5, 6, 1)
    fill(tmp_path / "mixed" / "a", 3, mode="RGBA")
    fill(tmp_path / "mixed" / "b", 3, mode="L")
    fill(tmp_path / "mixed" / "c", 3, mode="P")
    assert load(tmp_path / "mixed").image_shape == (5, 6, 3)


@pytest.fixture
def grey_first(tmp_path):
    fill(tmp_path / "grey first" / "a", 3, mode="L")
    fill(tmp_path / "grey first" / "b", 3, mode="RGB", level=9)
    return tmp_path / "grey first"


def test_colour_behind_grey_is_refused_before_training(grey_first):
    with pytest.raises(UserError, match=r"is in colour, the first image .* is grey"):
        load(grey_first)
    # Nothing is decoded at the start: it could be found in the middle of training.
    with pytest.raises(UserError, match=r"first training image is grey.*data.channels"):
        load(grey_first, delivery="streaming")
    (grey_first / "a").rename(grey_first / "z")
    assert load(grey_first, delivery="streaming").image_shape == (5, 6, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_are_those_that_were_asked_for(grey_first, channels):
    splits = [
        load(grey_first, delivery=delivery, channels=channels, num_test=-1).train
        for delivery in ("resident", "streaming")
    ]
    for split in splits:
        images, _ = split.read(np.arange(6))
        assert images.shape == (6, 5, 6, channels)
        assert images[:, 0, 0, -1].tolist() == [0, 1, 2, 9, 10, 11]


@pytest.mark.parametrize("channels", [-1, 2, 4])
def test_channels_that_nothing_has(grey_first, channels):
    with pytest.raises(UserError, match=f"data.channels={channels} is not known"):
        load(grey_first, channels=channels)


def test_sizes(tmp_path):
    fill(tmp_path / "a", 5)
    fill(tmp_path / "b", 5, size=(9, 20))
    with pytest.raises(
        UserError, match=r"differ in size: .* set config.data.image_size"
    ):
        load(tmp_path)
    assert load(tmp_path, image_size=7).image_shape == (7, 7, 3)


def test_splits_of_different_sizes(tmp_path):
    for split, size in (("train", (6, 6)), ("test", (8, 6))):
        fill(tmp_path / split / "a", 3, size=size)
        fill(tmp_path / split / "b", 3, size=size)
    with pytest.raises(UserError, match=r"test images are \(6, 8, 3\) .*image_size"):
        load(tmp_path)
    assert load(tmp_path, image_size=5).validation.images.shape == (0, 5, 5, 3)


def test_wrong_folders(tmp_path):
    with pytest.raises(UserError, match="data_dir is empty"):
        load("")
    with pytest.raises(UserError, match="nowhere does not exist"):
        load(tmp_path / "nowhere")
    with pytest.raises(UserError, match="0 subfolders with images"):
        load(tmp_path)
    fill(tmp_path / "train" / "a", 2)
    with pytest.raises(UserError, match="1 subfolder with images"):
        load(tmp_path)
    fill(tmp_path / "train" / "b", 2)
    fill(tmp_path / "test" / "c", 2)
    with pytest.raises(UserError, match=r"test/c is a class .* it has a, b"):
        load(tmp_path)


@pytest.mark.parametrize("content", [b"", b"no image", None])
def test_broken_image(content, tmp_path):
    fill(tmp_path / "a", 3, size=(60, 60))
    fill(tmp_path / "b", 3, size=(60, 60))
    bad = tmp_path / "b" / "image001.png"
    bad.write_bytes(bad.read_bytes()[:-40] if content is None else content)
    with pytest.raises(UserError, match=r"image001.png is not a readable image"):
        load(tmp_path)
