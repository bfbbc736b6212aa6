"""Every label of every split names a class, or the set is refused before training."""

import json

import numpy as np
import pytest
import tensorflow_datasets as tfds

from cnnjax.data import dataset as datasets
from cnnjax.data.contents import data_record, split_lines
from cnnjax.data.labels import checked_pools
from cnnjax.data.published_sizes import describe_dataset
from cnnjax.data.sources.source import Pool, Source
from cnnjax.errors import UserError
from tests.data import loading
from tests.data.small_sets import image_features, labelled, png, write_set

DELIVERIES = ("resident", "streaming")


def load(root, name="tfds:toy", **changes):
    return loading.load(name, root, **changes)


def sizes(dataset):
    return [len(s) for s in (dataset.train, dataset.validation, dataset.test)]


def fewer_classes(folder, num):
    """TFDS itself writes no label above its classes; sets of others have them."""
    path = folder / "features.json"
    described = json.loads(path.read_text())
    label = described["featuresDict"]["features"]["label"]
    label["classLabel"]["numClasses"] = str(num)
    path.write_text(json.dumps(described))


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_an_unlabelled_test_split_counts_as_absent(tmp_path, delivery):
    """As TFDS has imagenet2012: a validation split, and a test split of -1."""
    splits = {
        "train": labelled([0, 1, 2, 1]),
        "validation": labelled([0, 2, 1]),
        "test": labelled([-1, -1]),
    }
    write_set(tmp_path, "toy", image_features(), splits)
    dataset = load(tmp_path, delivery=delivery)
    assert sizes(dataset) == [4, 3, 0]  # nothing is taken out of train unasked
    sentence = "the test split of tfds:toy has no labels (all 2 are -1)"
    assert sentence in dataset.note
    shown = " ".join(" ".join(split_lines(dataset)).split())
    assert sentence in shown
    assert "nothing is tested" in shown
    assert sizes(load(tmp_path, delivery=delivery, num_test=1)) == [3, 3, 1]


def test_the_only_labelled_split_is_divided_and_that_is_said(tmp_path):
    splits = {"train": labelled([0, 1, 2, 1, 0]), "test": labelled([-1, -1])}
    write_set(tmp_path, "toy", image_features(), splits)
    dataset = load(tmp_path)
    assert sizes(dataset) == [4, 0, 1]
    assert "1 images taken out of train" in " ".join(split_lines(dataset))
    assert sizes(load(tmp_path, num_test=-1)) == [5, 0, 0]


@pytest.mark.parametrize("delivery", DELIVERIES)
@pytest.mark.parametrize(
    ("split", "labels", "sentence"),
    [
        ("train", [-1, -1, -1], "image 0 of the train split of tfds:toy .* label -1"),
        ("train", [0, -1, 1], r"image 1 of the train split .* label -1, but its 3"),
        ("test", [0, -1, -1], r"image 1 of the test .* label -1, as 1 others"),
        ("test", [0, 1, 7], r"image 2 of the test split .* label 7, .* 0 to 2"),
        ("validation", [255, 255], r"image 0 of the validation .* label 255"),
    ],
)
def test_a_label_out_of_range_has_a_place(tmp_path, split, labels, sentence, delivery):
    splits = {"train": labelled([0, 1, 2]), split: labelled(labels)}
    folder = write_set(tmp_path, "toy", image_features(256), splits)
    fewer_classes(folder, 3)
    with pytest.raises(UserError, match=sentence):
        load(tmp_path, delivery=delivery)


def test_labels_beyond_32_bits_are_no_class():
    labels = np.array([0, 2**32 + 1])
    with pytest.raises(UserError, match="label 4294967297"):
        checked_pools("toy", {"train": Pool(2, labels)}, 3)
    pools, sentences = checked_pools("toy", {"train": Pool(2, labels % 2)}, 3)
    assert pools["train"].labels.dtype == np.int32
    assert sentences == []


def test_labels_of_any_source_are_checked(monkeypatch):
    def open_source(request):
        pools = {"train": Pool(3, np.array([0, 1, 2]))}
        return Source(pools, ("a", "b"), (2, 2, 1), None)

    monkeypatch.setitem(datasets.SOURCES, "digits", open_source)
    with pytest.raises(UserError, match="image 2 of the train split of digits"):
        load("", "digits")


def test_labels_are_read_once(tmp_path, monkeypatch):
    monkeypatch.setenv("CNNJAX_CACHE_DIR", str(tmp_path / "cache"))
    splits = {"train": labelled([0, 1, 2]), "test": labelled([2, 1])}
    folder = write_set(tmp_path, "toy", image_features(), splits)
    first = load(tmp_path, delivery="streaming")
    before = (tmp_path / "cache" / "labels").iterdir()
    assert len(list(before)) == 1
    again = load(tmp_path, delivery="streaming")
    assert again.fingerprint == first.fingerprint
    assert data_record(again) == data_record(first)
    fewer_classes(folder, 2)  # the kept labels are checked, too
    with pytest.raises(UserError, match="label 2"):
        load(tmp_path, delivery="streaming")


@pytest.mark.parametrize("delivery", DELIVERIES)
def test_images_keep_their_labels(tmp_path, delivery):
    labels = [2, 0, 1, 1, 0, 2, 2]
    write_set(tmp_path, "toy", image_features(), {"train": labelled(labels)})
    dataset = load(tmp_path, delivery=delivery, num_test=2)
    for split in (dataset.train, dataset.test):
        images, found = split.read(np.arange(len(split)))
        assert [labels[i // 10] for i in images[:, 0, 0, 0]] == found.tolist()
    assert dataset.contents.found["train"].tolist() == [2, 2, 3]


@pytest.mark.parametrize("said", [2, 4])
def test_more_or_fewer_records_than_are_said(tmp_path, said):
    folder = write_set(
        tmp_path, "toy", image_features(), {"train": labelled([0, 1, 2])}
    )
    info = folder / "dataset_info.json"
    described = json.loads(info.read_text())
    described["splits"][0]["shardLengths"] = [str(said)]
    info.write_text(json.dumps(described))
    with pytest.raises(UserError, match=rf"holds 3 records, .* says {said}: .*prepare"):
        load(tmp_path)


def test_splits_that_are_not_used_are_counted(tmp_path):
    splits = {"train": labelled([0, 1]), "test": labelled([0]), "extra": labelled([1])}
    write_set(tmp_path, "toy", image_features(2), splits)
    (entry,) = load(tmp_path).contents.ignored
    assert (entry.reason, entry.count) == ("record of the split 'extra'", 1)


# -- what is no image with one label ---------------------------------------------------

IMAGE, LABEL = image_features()["image"], image_features()["label"]
OTHER_SETS = {
    "string label": (
        {"image": IMAGE, "label": tfds.features.Text()},
        {"label": "cat"},
        r"label \(Text\)",
    ),
    "no label": ({"image": IMAGE}, {}, "one class label"),
    "several labels": (
        {"image": IMAGE, "label": tfds.features.Sequence(LABEL)},
        {"label": [1, 2]},
        r"label \(Sequence\)",
    ),
    "several images": (
        {"image": tfds.features.Sequence(IMAGE), "label": LABEL},
        {"label": 1},
        r"image \(Sequence\)",
    ),
    "number": (
        {"image": IMAGE, "label": tfds.features.Scalar(np.int64)},
        {"label": 1},
        r"label \(Scalar\)",
    ),
}


@pytest.mark.parametrize("case", OTHER_SETS)
def test_other_features_are_refused(tmp_path, case):
    features, example, sentence = OTHER_SETS[case]
    image = png(np.zeros((4, 5, 3), np.uint8))
    image = [image] if case == "several images" else image
    example = {"image": image} | example
    supervised = ("image", "label") if "label" in features else None
    write_set(tmp_path, "toy", features, {"train": [example]}, supervised)
    with pytest.raises(UserError, match=sentence):
        load(tmp_path)


def test_images_of_floating_point_are_refused(tmp_path):
    """TFDS keeps them as PNGs of four channels, which are no colours."""
    splits = {"train": labelled([0, 1, 2], (4, 5, 1))}
    folder = write_set(tmp_path, "toy", image_features(shape=(4, 5, 1)), splits)
    path = folder / "features.json"
    described = json.loads(path.read_text())
    image = described["featuresDict"]["features"]["image"]["image"]
    path.write_text(path.read_text().replace(f'"{image["dtype"]}"', '"float32"'))
    with pytest.raises(UserError, match="images of toy are float32: only uint8"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("shape", "dtype", "level"), [((4, 5, 1), np.uint16, 0), ((4, 5, 1), np.uint8, 20)]
)
def test_grey_and_deep_images(tmp_path, shape, dtype, level):
    """Levels 0, 10 and 20 of 65,535 are black, those of 255 are not."""
    features = image_features(shape=shape, dtype=dtype)
    write_set(tmp_path, "toy", features, {"train": labelled([0, 1, 2], shape, dtype)})
    dataset = load(tmp_path, num_test=-1)
    assert dataset.image_shape == shape
    assert dataset.train.images[2].max() == level
    assert load(tmp_path, num_test=-1, channels=3).image_shape == (4, 5, 3)


def test_only_what_is_missing_is_replaced_by_published_facts(tmp_path):
    """A broken set that is there must not be planned as ImageNet."""
    (tmp_path / "one class").mkdir()
    with pytest.raises(UserError, match="0 subfolders with images"):
        describe_dataset(loading.request("folder", tmp_path, image_size=8))
    gone = loading.request("folder", tmp_path / "gone", image_size=8)
    _, note = describe_dataset(gone)
    assert "ImageNet" in note
