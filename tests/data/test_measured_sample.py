"""Standardisation from a sample of a streamed set: which images, and how sure."""

import dataclasses

import numpy as np
import pytest
from PIL import Image

from cnnjax.data import dataset as datasets
from cnnjax.data import standardize
from cnnjax.data.preprocess import Preprocess
from cnnjax.data.standardize import Sample, measure, measure_split, sample_of
from cnnjax.errors import UserError
from cnnjax.run.images.prepare import sample_lines
from cnnjax.run.settings import data_request
from cnnjax.run.setup import set_up
from cnnjax.run.trained.kinds import FED
from tests.data import loading
from tests.run.tiny import tiny_config

PIXELS = np.random.default_rng(0).integers(0, 256, (30, 6, 5, 3), np.uint8)


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A folder of images that all differ, too large for memory."""
    monkeypatch.setattr(datasets, "RESIDENT_BYTES", 0)
    for i, image in enumerate(PIXELS):
        path = tmp_path / "set" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return tmp_path / "set"


def load(root, **changes):
    sizes = {"num_test": -1, "delivery": "auto", "measured_images": 0}
    return loading.load("folder", root, **(sizes | changes))


def test_a_sample_is_a_function_of_its_arguments():
    chosen = sample_of(50, 20, 3)
    assert len(set(chosen.tolist())) == 20
    assert (np.diff(chosen) > 0).all()
    np.testing.assert_array_equal(chosen, sample_of(50, 20, 3))
    assert (chosen != sample_of(50, 20, 4)).any()
    # Recorded: other numbers would be another data set.
    assert sample_of(50, 8, 0).tolist() == [1, 11, 14, 22, 26, 30, 41, 47]
    for num, wanted in ((5, 0), (5, 5), (5, 6)):
        assert sample_of(num, wanted, 0) is None


@pytest.mark.parametrize("kind", ["channel", "pixel_mean"])
def test_statistics_are_those_of_the_sample(pictures, kind):
    train = load(pictures, measured_images=12).train
    got = measure_split(kind, train, "mark")
    images = train.read(train.sample)[0]
    want = measure(kind, images)
    np.testing.assert_array_equal(got.mean, want.mean)
    np.testing.assert_array_equal(got.std, want.std)
    assert (got.sample.images, got.sample.of) == (12, 30)


def test_all_is_what_it_was(pictures):
    every, sampled = load(pictures), load(pictures, measured_images=12)
    assert every.train.sample is None
    assert every.fingerprint != sampled.fingerprint
    assert load(pictures, measured_images=30).fingerprint == every.fingerprint
    other = load(pictures, measured_images=12, split_seed=1)
    assert other.fingerprint != sampled.fingerprint
    assert measure_split("channel", every.train, "mark").sample is None
    with pytest.raises(UserError, match="measured_images=-1 is negative"):
        load(pictures, measured_images=-1)


def test_a_set_that_fits_memory_is_measured_as_there(pictures, monkeypatch):
    monkeypatch.setattr(datasets, "RESIDENT_BYTES", 2**20)
    streamed = load(pictures, measured_images=12, delivery="streaming").train
    assert streamed.sample is None


def test_errors_are_as_large_as_the_spread_over_samples(pictures):
    """Of 80 samples; the square of what is stated is unbiased."""
    train, found, stated = load(pictures).train, [], []
    for seed in range(80):
        split = dataclasses.replace(train, sample=sample_of(30, 15, seed))
        statistics = measure_split("channel", split, f"seed {seed}")
        found.append([statistics.mean.ravel(), statistics.std.ravel()])
        sample = statistics.sample
        stated.append([sample.mean_error, sample.std_error])
    spread = np.std(found, axis=0)
    mean = np.sqrt(np.mean(np.square(stated), axis=0))
    # The standard deviation of 80 numbers is off by 8 %, and one in six by more.
    np.testing.assert_allclose(mean, spread, rtol=0.3)


def test_processes_share_the_work(pictures, monkeypatch):
    monkeypatch.setattr(standardize, "STREAMED_BLOCK", 3)
    train = load(pictures, measured_images=13).train
    chosen, wholes = train.sampled(), []
    for process in range(4):
        each = np.zeros((13, 2, 3), np.int64)
        sums = standardize._add_up_streamed(chosen, process, 4, each)
        wholes.append((sums, each))
    want = measure_split("channel", train, "alone")
    parts = iter([np.array([0]), *(sum(parts) for parts in zip(*wholes, strict=True))])
    got = measure_split(
        "channel", train, "four", num_processes=4, over_processes=lambda _: next(parts)
    )
    assert got.sample == want.sample
    np.testing.assert_array_equal(got.mean, want.mean)


def test_a_run_says_and_records_its_sample(pictures):
    config = tiny_config(
        data__name="folder",
        data__num_train=0,
        data__num_validation=4,
        data__num_test=4,
        data__num_classes=0,
        data__measured_images=10,
    )
    config.data.data_dir = str(pictures)
    run = set_up(config)
    assert isinstance(run.preprocess.statistics.sample, Sample)
    (line,) = sample_lines(run)
    assert "standardised by 10 of 22 training images: standard error (0.0" in line
    record, flaws = run.preprocess.record(), []
    assert FED.sift(record, "", flaws) == record
    assert flaws == []
    again = Preprocess.of_record(record).statistics.sample
    assert again == run.preprocess.statistics.sample
    # What measures nothing has the fingerprint of before.
    config.augment.standardize = "imagenet"
    assert data_request(config).measured_images == 0
