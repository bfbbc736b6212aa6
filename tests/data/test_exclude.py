"""Images that are left out of training, and labels that are made wrong."""

import numpy as np
import pytest

from cnnjax.data.contents import data_record
from cnnjax.data.dataset import open_chosen, open_source
from cnnjax.data.labels import planted
from cnnjax.data.sources.source import Pool
from cnnjax.data.split import choose
from cnnjax.errors import UserError
from tests.data.loading import load, request
from tests.data.small_sets import image_features, labelled, write_set

POOLS = {"train": Pool(100, np.arange(100) % 3)}
SPLITS = ("train", "validation", "test")


@pytest.mark.parametrize("delivery", ["resident", "streaming"])
def test_training_lacks_the_images_and_nothing_else_changes(delivery):
    options = {"num_validation": 50, "num_train": 600, "delivery": delivery}
    whole = load("digits", **options)
    source = open_source(request("digits", **options))
    positions = choose(source.pools, request("digits", **options))["train"][1]
    gone = tuple(int(i) for i in positions[[0, 7, 599]])
    less = load("digits", exclude=gone, **options)
    assert len(less.train) == 597
    images, labels = whole.train.read(np.delete(np.arange(600), [0, 7, 599]))
    found = less.train.read(np.arange(597))
    np.testing.assert_array_equal(found[0], images)
    np.testing.assert_array_equal(found[1], labels)
    for split in ("validation", "test"):
        every = np.arange(len(getattr(whole, split)))
        for a, b in zip(
            getattr(whole, split).read(every),
            getattr(less, split).read(every),
            strict=True,
        ):
            np.testing.assert_array_equal(a, b)
    assert less.fingerprint != whole.fingerprint
    assert not any("exclude" in remark for remark in less.contents.remarks)


def test_folds_hold_out_the_same_images_with_and_without():
    for fold in range(4):
        folds = {"num_folds": 4, "fold": fold}
        whole = choose(POOLS, request("toy", **folds))
        less = choose(POOLS, request("toy", **folds, exclude=(3, 50, 51, 99)))
        np.testing.assert_array_equal(less["test"][1], whole["test"][1])
        left = set(whole["train"][1].tolist()) - {3, 50, 51, 99}
        assert set(less["train"][1].tolist()) == left


def test_what_stays_in_other_splits_is_said():
    source = open_source(request("digits"))
    tested = choose(source.pools, request("digits"))["test"][1]
    dataset = load("digits", exclude=tuple(int(i) for i in tested[:3]))
    said = "config.data.exclude has 3 of the test split, which stay there"
    assert said in dataset.contents.remarks


@pytest.mark.parametrize(
    ("exclude", "words"),
    [
        ((-1,), "has -1: give positions of images, from 0"),
        ((5, 100), "has 100, but the training pool of toy has the images 0 to 99"),
        (tuple(range(100)), "leaves none of the 80 training images"),
    ],
)
def test_wrong_lists(exclude, words):
    with pytest.raises(UserError, match=words):
        choose(POOLS, request("toy", exclude=exclude))


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_wrong_shares(share):
    with pytest.raises(UserError, match=r"label_noise=.* is no share of images"):
        request("toy", label_noise=share)


def test_labels_are_made_wrong_in_the_training_split_alone():
    options = {"num_classes": 4, "num_train": 200}
    true, _ = open_chosen(request("synthetic", **options))
    noisy, _ = open_chosen(request("synthetic", **options, label_noise=0.1))
    wrong = true.pools["train"].labels != noisy.pools["train"].labels
    assert wrong.sum() == 20
    np.testing.assert_array_equal(true.pools["test"].labels, noisy.pools["test"].labels)
    assert "20 training labels are wrong on purpose (label_noise)" in noisy.note
    indices = np.flatnonzero(wrong)
    images, labels = noisy.read("train", indices)
    np.testing.assert_array_equal(labels, noisy.pools["train"].labels[indices])
    np.testing.assert_array_equal(images, true.read("train", indices)[0])


def everything(dataset):
    """split -> (images, labels)."""
    splits = {split: getattr(dataset, split) for split in SPLITS}
    return {name: split.read(np.arange(len(split))) for name, split in splits.items()}


@pytest.mark.parametrize("delivery", ["resident", "streaming"])
@pytest.mark.parametrize("folds", [{}, {"num_folds": 4, "fold": 1}])
def test_noise_changes_neither_what_validates_and_tests_nor_its_labels(delivery, folds):
    """Of a set in one pool, out of which the splits are taken."""
    options = {"num_validation": 200, "num_test": 300, "delivery": delivery, **folds}
    dataset = load("digits", **options, label_noise=0.4)
    plain, noisy = everything(load("digits", **options)), everything(dataset)
    for split in SPLITS:
        np.testing.assert_array_equal(plain[split][0], noisy[split][0])
    for split in ("validation", "test"):
        np.testing.assert_array_equal(plain[split][1], noisy[split][1])
    wrong = (plain["train"][1] != noisy["train"][1]).sum()
    assert 0.35 < wrong / len(dataset.train) < 0.45
    sentence = f"{wrong:,} training labels are wrong on purpose (label_noise)"
    assert sentence in dataset.note
    assert sentence in data_record(dataset)["remarks"]


def test_an_image_has_one_wrong_label_in_all_folds():
    """That of the whole pool, which `outliers` knows."""
    options = {"num_folds": 4, "label_noise": 0.4}
    true = open_source(request("digits")).pools["train"].labels
    every = planted(true, 10, 0.4, 0)
    assert (every != true).sum() == round(0.4 * len(true))
    for fold in range(4):
        source, chosen = open_chosen(request("digits", fold=fold, **options))
        labels, (_, train) = source.pools["train"].labels, chosen["train"]
        np.testing.assert_array_equal(labels[train], every[train])
        held_out = chosen["test"][1]
        np.testing.assert_array_equal(labels[held_out], true[held_out])


def test_decoded_images_in_the_cache_keep_the_labels_of_their_split(
    tmp_path, monkeypatch
):
    monkeypatch.setenv("CNNJAX_CACHE_DIR", str(tmp_path / "cache"))
    splits = {"train": labelled([0, 1, 2] * 4)}
    write_set(tmp_path, "toy", image_features(), splits)
    options = {"num_validation": 3, "num_test": 3}
    plain = everything(load("tfds:toy", tmp_path, **options))
    for _ in range(2):
        noisy = everything(load("tfds:toy", tmp_path, **options, label_noise=0.5))
        for split in SPLITS:
            same = (plain[split][1] == noisy[split][1]).all()
            assert same == (split != "train")


@pytest.mark.parametrize("delivery", ["resident", "streaming"])
def test_noise_is_seen_by_the_fingerprint_and_alike_in_both_deliveries(delivery):
    options = {"num_train": 300, "delivery": delivery}
    plain, noisy = load("digits", **options), load("digits", **options, label_noise=0.2)
    assert plain.fingerprint != noisy.fingerprint
    every = np.arange(300)
    resident = load("digits", num_train=300, label_noise=0.2)
    np.testing.assert_array_equal(
        noisy.train.read(every)[1], resident.train.read(every)[1]
    )


@pytest.mark.parametrize(
    ("own", "sizes"), [((), (100, 0, 0)), (("test", "validation"), (100, 0, 15))]
)
def test_after_folds_all_of_the_pool_trains(own, sizes):
    """The test split is the source's own; none is carved out of what trains."""
    pools = POOLS | {name: Pool(15) for name in own}
    options = {"num_folds": 5, "fold": -1, "num_validation": 20, "num_test": 30}
    chosen = choose(pools, request("toy", **options))
    assert tuple(len(chosen[split][1]) for split in SPLITS) == sizes


@pytest.mark.parametrize(("num_folds", "fold"), [(0, -1), (5, -2), (5, 5), (1, 0)])
def test_folds_that_do_not_fit(num_folds, fold):
    with pytest.raises(UserError, match=r"do not fit: .* or -1 to hold none out"):
        request("toy", num_folds=num_folds, fold=fold)
