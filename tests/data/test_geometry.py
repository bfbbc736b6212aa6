"""Geometry in the stream of training images: the same whoever reads, and when."""

import jax
import numpy as np
import pytest
from PIL import Image

from cnnjax.data.cutting.geometry import DRAWS, Geometry
from cnnjax.data.preprocess import Preprocess
from cnnjax.data.readable import reading_rate
from cnnjax.data.standardize import measure
from cnnjax.data.streaming import EvalStream, TrainStream
from cnnjax.errors import UserError
from tests.data import loading
from tests.data.sources import small_imagenet

SIZE, BATCH = 8, 6
TRAIN = ("resize_crop", "scale_crop", "random_resized_crop")


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    root = tmp_path_factory.mktemp("photographs")
    random = np.random.RandomState(0)
    for number in range(11):
        path = root / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(exist_ok=True)
        pixels = random.randint(0, 256, (*random.randint(9, 40, 2), 3), np.uint8)
        Image.fromarray(pixels).save(path)
    return root


def load(root, train, evaluation="resize_crop", name="folder", **changes):

    geometry = Geometry(train=train, evaluation=evaluation, shorter_side=(9, 14))
    sizes = {"image_size": SIZE, "num_test": -1, "delivery": "auto"}
    return loading.load(name, root, **(sizes | changes), geometry=geometry)


def steps(dataset, first=0, end=5, positions=range(BATCH), threads=1, seed=0):
    with TrainStream(
        dataset.train,
        jax.random.split(jax.random.key(seed), 2),
        batch_size=BATCH,
        first_step=first,
        end_step=end,
        positions=np.array(positions),
        ahead=2,
        threads=threads,
    ) as stream:
        return [stream.take(1) for _ in range(first, end)]


@pytest.mark.parametrize("train", TRAIN)
def test_whoever_reads_and_whenever(photographs, train):
    dataset = load(photographs, train)
    assert dataset.streamed
    whole = steps(dataset)
    images = np.concatenate([batch["images"] for batch in whole], axis=1)
    assert images.shape == (2, 5, BATCH, SIZE, SIZE, 3)
    for other in (
        steps(dataset, threads=4),
        steps(load(photographs, train)),
    ):
        for one, two in zip(whole, other, strict=True):
            np.testing.assert_array_equal(one["images"], two["images"])
    resumed = steps(dataset, first=3)
    np.testing.assert_array_equal(resumed[0]["images"], whole[3]["images"])
    of_two = [steps(dataset, positions=part) for part in ([0, 1, 2], [3, 4, 5])]
    for step, one in enumerate(whole):
        parts = [part[step]["images"] for part in of_two]
        np.testing.assert_array_equal(np.concatenate(parts, axis=2), one["images"])
    # An image is another one in each epoch, and for each seed; some are drawn twice.
    assert len(np.unique(images.reshape(-1, SIZE * SIZE * 3), axis=0)) > 3 * 11


def test_an_evaluation_sees_the_same_each_time(photographs):
    dataset = load(photographs, "scale_crop")
    with EvalStream(
        dataset.train, batch_size=11, positions=np.arange(11), ahead=1
    ) as batches:
        ((images, _, _),) = batches
    resident = load(photographs, "center", "resize_crop").train.read(np.arange(11))[0]
    np.testing.assert_array_equal(images, resident)
    squares = load(photographs, "center", "center", delivery="streaming").train
    assert (squares.read(np.arange(11))[0] != images).any()


def test_a_net_is_fed_as_in_evaluation(photographs):
    dataset = load(photographs, "scale_crop")
    statistics = measure("none", np.zeros((1, SIZE, SIZE, 3), np.uint8))

    preprocess = Preprocess(
        (SIZE, SIZE, 3),
        "none",
        statistics,
        geometry=Geometry(evaluation="resize_crop"),
    )
    files = sorted((photographs / "a").iterdir())
    got = preprocess([Image.open(file) for file in files])
    want = dataset.train.read(np.arange(len(files)))[0]
    np.testing.assert_array_equal(np.rint(np.asarray(got) * 255), want)
    again = Preprocess.of_record(preprocess.record())
    assert again.words() == preprocess.words()
    assert "shorter side resized to 9 (bilinear, antialiased), 8x8" in again.words()
    older = preprocess.record()
    del older["geometry"]
    assert "centred square resized to 8x8" in Preprocess.of_record(older).words()


def test_the_fingerprint_says_how_an_evaluation_cuts(photographs):
    marks = {
        load(photographs, train, evaluation, delivery="streaming").fingerprint
        for train in ("center", "scale_crop")
        for evaluation in ("center", "resize_crop")
    }
    assert len(marks) == 2


@pytest.mark.parametrize("form", ["official", "folders", "shards"])
def test_all_forms_are_cut_alike(tmp_path, form):
    """From archives, folders and shards; the same examples have the same draws."""
    name = "webdataset" if form == "shards" else "imagenet"
    root = getattr(small_imagenet, form)(tmp_path / form)
    dataset = load(root, "random_resized_crop", name=name, channels=3)
    want = load(
        small_imagenet.kaggle(tmp_path / "k"),
        "random_resized_crop",
        name="imagenet",
        channels=3,
    )
    for one, two in zip(steps(dataset), steps(want), strict=True):
        np.testing.assert_array_equal(one["images"], two["images"])
        np.testing.assert_array_equal(one["labels"], two["labels"])


def test_sets_that_are_in_memory_are_refused(photographs):
    with pytest.raises(UserError, match="digits is in memory: set both to 'center'"):
        load("", "scale_crop", name="digits", num_classes=0)
    with pytest.raises(UserError, match="delivery='resident' keeps one form"):
        load(photographs, "scale_crop", delivery="resident")


@pytest.mark.parametrize("train", ["center", "scale_crop"])
def test_how_fast_reading_is(photographs, train, monkeypatch):
    """All images are read once, as training sees them, and one piece before."""
    dataset = load(photographs, train, delivery="streaming")
    read, seen = type(dataset.train).read, []

    def counting(split, places, *draws):
        seen.append((sorted(places.tolist()), [d.shape for d in draws]))
        return read(split, places, *draws)

    monkeypatch.setattr(type(dataset.train), "read", counting)
    assert 1 < reading_rate(dataset.train) < 1e7
    shapes = [] if train == "center" else [(11, DRAWS)]
    assert seen == [(list(range(11)), shapes)] * 2
