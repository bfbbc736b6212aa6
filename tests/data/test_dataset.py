"""Splits, sources that need no files, and the sentences for wrong sizes."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cnnjax.data.dataset import SOURCES
from cnnjax.data.images import center_square
from cnnjax.data.sources.source import Pool
from cnnjax.data.split import choose, split_order
from cnnjax.errors import UserError
from tests.data.loading import load, request


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_types_and_shapes(name):
    dataset = load(name, num_train=100, num_validation=20, num_test=30)
    for split, size in (("train", 100), ("validation", 20), ("test", 30)):
        part = getattr(dataset, split)
        assert len(part) == size
        assert part.images.shape == (size, *dataset.image_shape)
        assert part.images.dtype == np.uint8
        assert part.labels.dtype == np.int32
        assert 0 <= part.labels.min() <= part.labels.max() < dataset.num_classes
    assert dataset.num_classes == 10
    assert dataset.note
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.name = "other"


@pytest.mark.parametrize("k", [2, 5])
def test_folds_divide_the_images(k):
    labels = np.repeat(np.arange(4), [40, 30, 20, 13]).astype(np.int32)
    pools = {"train": Pool(103, labels), "test": Pool(50)}
    tested = []
    for fold in range(k):
        want = request("toy", num_folds=k, fold=fold, num_validation=10)
        chosen = choose(pools, want)
        # The source's own test split stays unread.
        assert {pool for pool, _ in chosen.values()} == {"train"}
        every = np.concatenate([indices for _, indices in chosen.values()])
        assert sorted(every) == list(range(103))
        assert len(chosen["validation"][1]) == 10
        held = chosen["test"][1]
        expected = np.bincount(labels) / k
        assert np.abs(np.bincount(labels[held], minlength=4) - expected).max() < 2
        tested.append(held)
    assert sorted(np.concatenate(tested)) == list(range(103))


@pytest.mark.parametrize(("k", "fold"), [(1, 0), (5, 5), (0, 1), (-1, 0)])
def test_folds_that_do_not_exist(k, fold):
    with pytest.raises(UserError, match=f"num_folds={k} and config.data.fold={fold}"):
        load("digits", num_folds=k, fold=fold)


def test_digits_are_scikit_learns():
    from sklearn.datasets import load_digits

    table = load_digits()
    dataset = load("digits", num_validation=100)
    assert len(dataset.train) + 100 + len(dataset.test) == 1797
    parts = (dataset.train, dataset.validation, dataset.test)
    images = np.concatenate([part.images for part in parts])[..., 0]
    assert images.max() == 255
    back = np.rint(images / (255 / 16))
    want = sorted(image.tobytes() for image in table.images)
    assert sorted(image.tobytes() for image in back) == want


def test_splits_are_stratified():
    dataset = load("digits", num_train=1000, num_validation=200, num_test=300)
    share = np.bincount(np.concatenate([dataset.train.labels, dataset.test.labels]))
    for part in (dataset.train, dataset.validation, dataset.test):
        counts = np.bincount(part.labels, minlength=10)
        assert (
            abs(counts / len(part) - share / share.sum()).max() < 2 / len(part) + 0.01
        )


def test_synthetic_images_do_not_depend_on_how_many():
    few = load("synthetic", num_train=50, num_test=20, image_size=8, num_classes=3)
    many = load("synthetic", num_train=60, num_test=90, image_size=8, num_classes=3)
    few_images = {image.tobytes() for image in few.train.images}
    assert few_images <= {image.tobytes() for image in many.train.images}
    assert few_images.isdisjoint(image.tobytes() for image in many.test.images)
    assert few.image_shape == (8, 8, 3)
    assert few.num_classes == 3


def test_synthetic_classes_can_be_told_apart():
    dataset = load("synthetic", num_train=300, num_test=100, image_size=16)
    flat = dataset.train.images.reshape(300, -1).astype(float)
    means = np.stack([flat[dataset.train.labels == c].mean(axis=0) for c in range(10)])
    test = dataset.test.images.reshape(100, 1, -1)
    nearest = ((test - means) ** 2).sum(axis=-1).argmin(axis=1)
    assert (nearest == dataset.test.labels).mean() > 0.95


def test_the_same_arguments_give_the_same_data():
    assert load("digits").fingerprint == load("digits").fingerprint
    assert load("synthetic").fingerprint == "a3bc7da8d8c5d3e7", (
        "the synthetic images changed: results of before cannot be compared with those "
        "of after; update this value only if that is meant"
    )
    assert load("digits", split_seed=1).fingerprint != load("digits").fingerprint
    assert load("digits", num_test=10).fingerprint != load("digits").fingerprint


def test_image_size_resizes():
    assert load("digits", image_size=32).image_shape == (32, 32, 1)


def test_center_square_cuts_the_middle():
    image = Image.fromarray(np.arange(6, dtype=np.uint8)[None].repeat(4, axis=0))
    np.testing.assert_array_equal(np.asarray(center_square(image, 4))[0], [1, 2, 3, 4])
    assert center_square(image, 2).size == (2, 2)


@given(
    train=st.integers(40, 90),
    own=st.sets(st.sampled_from(["validation", "test"])),
    wanted=st.tuples(st.integers(0, 12), st.integers(0, 12), st.integers(0, 12)),
    labelled=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
)
@settings(max_examples=60, deadline=None)
def test_no_image_is_in_two_splits(train, own, wanted, labelled, seed):
    labels = np.arange(train) % 3 if labelled else None
    pools = {"train": Pool(train, labels)} | {name: Pool(15) for name in own}
    keys = ("num_train", "num_validation", "num_test")
    counts = dict(zip(keys, wanted, strict=True))
    chosen = choose(pools, request("toy", **counts, split_seed=seed))
    taken = [(pool, int(i)) for pool, indices in chosen.values() for i in indices]
    assert len(taken) == len(set(taken))
    assert all(0 <= i < pools[pool].size for pool, i in taken)
    for split, (pool, indices) in chosen.items():
        assert list(indices) == sorted(indices)
        if counts[f"num_{split}"]:
            assert len(indices) == counts[f"num_{split}"]
        elif pool == split and split != "train":
            assert len(indices) == 15
    if not wanted[0]:
        assert sum(pool == "train" for pool, _ in taken) == train


@pytest.mark.parametrize(
    ("own", "changes", "want"),
    [
        ((), {}, (80, 0, 20)),
        ((), {"num_test": -1}, (100, 0, 0)),
        ((), {"num_test": -1, "num_validation": 7}, (93, 7, 0)),
        (("validation",), {}, (100, 15, 0)),
        (("validation",), {"num_validation": -1}, (100, 0, 0)),
        (("validation",), {"num_test": 9}, (91, 15, 9)),
        (("test",), {}, (100, 0, 15)),
        (("test",), {"num_test": -1, "num_train": 30}, (30, 0, 0)),
        (("validation", "test"), {}, (100, 15, 15)),
        (("validation",), {"num_folds": 4, "num_test": -1}, (75, 15, 25)),
    ],
)
def test_what_a_source_in_splits_gives(own, changes, want):
    pools = {"train": Pool(100, np.arange(100) % 3)} | {p: Pool(15) for p in own}
    chosen = choose(pools, request("toy", **changes))
    sizes = [len(chosen[split][1]) for split in ("train", "validation", "test")]
    assert tuple(sizes) == want


@pytest.mark.parametrize("name", ["digits", "synthetic"])
def test_none_and_other_channels_of_any_source(name):
    dataset = load(name, num_train=50, num_validation=-1, num_test=-1)
    assert [len(dataset.validation), len(dataset.test)] == [0, 0]
    for channels in (1, 3):
        for delivery in ("resident", "streaming"):
            part = load(name, num_train=50, channels=channels, delivery=delivery)
            assert part.image_shape[2] == channels
            assert part.train.read(np.arange(3))[0].shape[3] == channels


def test_a_choice_that_is_not_stratified_knows_no_labels():
    """As of TFDS sets, whose labels are read for other reasons."""
    labels = np.repeat([0, 1], 50)
    order = split_order(Pool(100, labels, stratified=False), 3)
    np.testing.assert_array_equal(order, split_order(Pool(100), 3))
    assert (order != split_order(Pool(100, labels), 3)).any()


def test_smaller_training_sets_are_subsets():
    pools = {"train": Pool(100, np.arange(100) % 10), "test": Pool(20)}
    large = choose(pools, request("toy", num_train=50, num_validation=10))
    small = choose(pools, request("toy", num_train=20, num_validation=10))
    assert set(small["train"][1]) < set(large["train"][1])
    for split in ("validation", "test"):
        np.testing.assert_array_equal(small[split][1], large[split][1])


def test_any_stretch_of_the_order_is_balanced():
    labels = np.repeat([0, 1, 2], [60, 30, 10])
    order = split_order(Pool(100, labels), 7)
    for start in range(0, 90, 10):
        counts = np.bincount(labels[order[start : start + 10]], minlength=3)
        assert abs(counts - [6, 3, 1]).max() <= 2


@pytest.mark.parametrize(
    ("name", "changes", "sentence"),
    [
        ("digitz", {}, "unknown data set 'digitz': did you mean 'digits'"),
        ("digits", {"num_train": 2000}, r"num_train=2000, .*only 1438 images left"),
        ("digits", {"num_validation": 1438}, r"num_validation=1438, .*only 1437"),
        ("digits", {"num_test": 1797}, r"num_test=1797, .*only 1796"),
        ("digits", {"num_train": -1}, "num_train=-1 is negative"),
        ("digits", {"split_seed": 2**32}, "split_seed=4294967296 is too large"),
        ("digits", {"num_classes": 7}, "num_classes=7, but digits has 10"),
        ("digits", {"image_size": -8}, "image_size=-8 is negative"),
    ],
)
def test_wrong_requests(name, changes, sentence):
    with pytest.raises(UserError, match=sentence):
        load(name, **changes)


def test_every_source_has_a_name():
    assert {"digits", "synthetic", "folder", "cifar10", "svhn_cropped"} <= set(SOURCES)


def test_no_tensorflow_and_no_late_imports(prepared):
    """One process through every path; TFDS is only imported for its own sets."""
    root, _ = prepared
    program = f"""
import sys
from cnnjax.data import augment, order
from tests.data.loading import load
load("synthetic")
assert not {{"sklearn", "tensorflow_datasets"}} & set(sys.modules)
load("digits")
assert "tensorflow_datasets" not in sys.modules
import cnnjax.data.prepare, experiments.prepare
load("cifar10", {str(root)!r})
assert "tensorflow_datasets" in sys.modules
assert "tensorflow" not in sys.modules
"""
    home = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        cwd=home,
    )
    assert done.returncode == 0, done.stderr
