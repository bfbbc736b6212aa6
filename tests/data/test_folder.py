"""Image folders: layouts, sizes, colours, and what a wrong one says."""

import numpy as np
import pytest
from PIL import Image

from cnnjax.data.dataset import load_dataset
from cnnjax.errors import UserError


def load(data_dir, **changes):
    keys = {
        "data_dir": str(data_dir),
        "num_train": 0,
        "num_validation": 0,
        "num_test": 0,
        "split_seed": 0,
        "image_size": 0,
        "num_classes": 0,
        "delivery": "resident",
    }
    return load_dataset("folder", **(keys | changes))


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
    fill(tmp_path / "late" / "a", 3, mode="L")
    fill(tmp_path / "late" / "b", 3, mode="RGB")
    with pytest.raises(UserError, match=r"is in colour, the first image .* is grey"):
        load(tmp_path / "late")


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
    with pytest.raises(UserError, match="1 subfolders with images"):
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
