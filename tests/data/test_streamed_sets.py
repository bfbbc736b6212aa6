"""Streamed data sets against resident ones: the same images, read when needed."""

import os
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from cnnjax.data import dataset as data
from cnnjax.data import images
from cnnjax.data.order import chunk_indices
from cnnjax.data.readable import require_readable
from cnnjax.data.sources import encoded
from cnnjax.data.standardize import STANDARDIZE, Sums, measure, measure_split
from cnnjax.data.streaming import TrainStream
from cnnjax.errors import UserError
from tests.data import loading

REAL = os.environ.get("CNNJAX_DATA_DIR", "")
SPLITS = ("train", "validation", "test")


def load(name, data_dir="", delivery="streaming", **changes):
    return loading.load(name, data_dir, delivery=delivery, **changes)


@pytest.fixture
def pictures(tmp_path):
    """A folder of images that all differ."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 6, 5, 3), np.uint8)
    for i, image in enumerate(pixels):
        path = tmp_path / "set" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(path)
    return tmp_path / "set"


@pytest.fixture
def root_of(prepared, pictures):
    roots = {"cifar10": prepared[0], "folder": pictures}
    return lambda name: roots.get(name, "")


@pytest.fixture
def decoding(monkeypatch):
    """How many images each call decoded."""
    seen = []

    def counting(files, num_images, *rest):
        seen.append(num_images)
        return images.decode_all(files, num_images, *rest)

    monkeypatch.setattr(encoded, "decode_all", counting)
    return seen


@pytest.mark.parametrize("name", ["digits", "synthetic", "folder", "cifar10"])
def test_the_same_images(name, root_of, decoding):
    sizes = {"num_validation": 7, "num_test": 5}
    streamed = load(name, root_of(name), **sizes)
    assert streamed.streamed
    assert decoding == []
    resident = load(name, root_of(name), "resident", **sizes)
    assert not resident.streamed
    assert streamed.image_shape == resident.image_shape
    for split in SPLITS:
        got, want = getattr(streamed, split), getattr(resident, split)
        assert len(got) == len(want)
        backwards = np.arange(len(got))[::-1]
        for of_got, of_want in zip(
            got.read(backwards), want.read(backwards), strict=True
        ):
            np.testing.assert_array_equal(of_got, of_want)
            assert of_got.dtype == of_want.dtype


def test_sets_beyond_the_limit_are_streamed(monkeypatch, pictures):
    monkeypatch.setattr(data, "RESIDENT_BYTES", 24 * 6 * 5 * 3)
    assert not load("folder", pictures, "auto", num_validation=3).streamed
    monkeypatch.setattr(data, "RESIDENT_BYTES", 24 * 6 * 5 * 3 - 1)
    assert load("folder", pictures, "auto", num_validation=3).streamed
    with pytest.raises(UserError, match=r"unknown delivery 'stream': .* 'streaming'"):
        load("folder", pictures, "stream")


def test_fingerprint_tells_sets_apart_without_decoding(pictures, prepared, tmp_path):
    marks = [
        load("folder", pictures).fingerprint,
        load("folder", pictures, split_seed=1).fingerprint,
        load("folder", pictures, num_train=5).fingerprint,
        load("folder", pictures, image_size=4).fingerprint,
        load("synthetic").fingerprint,
        load("synthetic", split_seed=1).fingerprint,
        load("digits").fingerprint,
        load("cifar10", prepared[0]).fingerprint,
    ]
    shutil.copytree(pictures, tmp_path / "copy")
    assert load("folder", tmp_path / "copy").fingerprint == marks[0]
    assert load("tfds:cifar10", prepared[0]).fingerprint == marks[-1]
    with open(tmp_path / "copy" / "b" / "3.png", "ab") as file:
        file.write(b"longer")
    marks.append(load("folder", tmp_path / "copy").fingerprint)
    (tmp_path / "copy" / "b" / "3.png").rename(tmp_path / "copy" / "a" / "3.png")
    marks.append(load("folder", tmp_path / "copy").fingerprint)
    shutil.copytree(prepared[0], tmp_path / "sets")
    features = tmp_path / "sets" / "cifar10" / "3.0.2" / "features.json"
    features.write_text(features.read_text().replace(" ", "\n", 1))
    marks.append(load("cifar10", tmp_path / "sets").fingerprint)
    assert len(set(marks)) == len(marks)


@pytest.mark.parametrize("standardize", STANDARDIZE)
def test_statistics_are_those_of_resident_images(standardize, pictures, decoding):
    train = load("folder", pictures, num_test=3).train
    got = measure_split(standardize, train, "mark")
    assert sum(decoding) == (21 if callable(STANDARDIZE[standardize]) else 0)
    want = measure(standardize, train.read(np.arange(21))[0])
    for of_got, of_want in zip(vars(got).values(), vars(want).values(), strict=True):
        np.testing.assert_array_equal(of_got, of_want)


def test_statistics_are_measured_once(pictures, decoding, monkeypatch, tmp_path):
    monkeypatch.setenv("CNNJAX_CACHE_DIR", str(tmp_path / "cache"))
    train = load("folder", pictures).train
    first = measure_split("channel", train, "mark")
    decoding.clear()
    again = measure_split("channel", train, "mark")
    np.testing.assert_array_equal(again.mean, first.mean)
    measure_split("pixel_mean", train, "mark")
    assert decoding == []
    measure_split("channel", train, "other mark")
    assert sum(decoding) == len(train)


def test_what_is_kept_of_files_ends_with_them(tmp_path, decoding, monkeypatch):
    """The fingerprint does not see other pixels in a file of equal size."""
    monkeypatch.setenv("CNNJAX_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("train/a", "train/b", "test/a", "test/b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        Image.new("RGB", (4, 4), (9, 9, 9)).save(tmp_path / "set" / name / "0.bmp")

    def start():
        decoding.clear()
        dataset = load("folder", tmp_path / "set")
        require_readable((dataset.test,), dataset.fingerprint)
        mean = measure_split("channel", dataset.train, dataset.fingerprint).mean
        return dataset.fingerprint, float(mean[0, 0, 0, 0]), sum(decoding)

    mark, first, decoded = start()
    assert start() == (mark, first, 0)
    for split in ("train", "test"):
        path = tmp_path / "set" / split / "a" / "0.bmp"
        times = path.stat().st_atime_ns, path.stat().st_mtime_ns
        Image.new("RGB", (4, 4), (99, 99, 99)).save(path)
        os.utime(path, ns=times)
    again, second, decoded_again = start()
    assert (again, decoded_again) == (mark, decoded)
    assert second == pytest.approx(54 / 255)


def test_processes_share_the_work_of_statistics(decoding, monkeypatch, pictures):
    from cnnjax.data import standardize

    monkeypatch.setattr(standardize, "STREAMED_BLOCK", 3)
    train = load("folder", pictures, num_test=2).train
    own = [standardize._add_up_streamed(train, process, 4) for process in range(4)]
    assert sum(decoding) == len(train) == 22
    want = measure("pixel_mean", train.read(np.arange(22))[0])
    got = measure_split(
        "pixel_mean",
        train,
        "mark",
        process=2,
        num_processes=4,
        # The first call asks who has found the sums: nobody.
        over_processes=lambda array: array if array.ndim == 1 else sum(own),
    )
    np.testing.assert_array_equal(got.mean, want.mean)
    assert Sums(22, *sum(own)).total.dtype == np.int64


def test_wrong_images_are_refused_when_they_are_read(pictures):
    # Not the first image, which says what the others must be like.
    Image.new("RGB", (9, 8)).save(pictures / "a" / "10.png")
    (pictures / "b" / "1.png").write_bytes(b"no image")
    train = load("folder", pictures, num_test=1).train
    keys = jax.random.split(jax.random.key(0), 1)
    with (
        TrainStream(
            train,
            keys,
            batch_size=len(train),
            first_step=0,
            end_step=1,
            positions=np.arange(len(train)),
            ahead=1,
        ) as stream,
        pytest.raises(UserError, match=r"10\.png is 8x9|1\.png is not a readable"),
    ):
        stream.take(1)
    with pytest.raises(UserError, match=r"some train images are \(8, 9, 3\)"):
        train.read(np.array([1]))


@pytest.fixture
def with_test(pictures, tmp_path):
    shutil.copytree(pictures, tmp_path / "whole" / "train")
    shutil.copytree(pictures, tmp_path / "whole" / "test")
    return tmp_path / "whole"


def look(root, **changes):
    dataset = load("folder", root)
    splits = (dataset.validation, dataset.test)
    require_readable(splits, dataset.fingerprint, **changes)


def cut(path):
    path.write_bytes(path.read_bytes()[:-30])


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda path: Image.new("RGB", (9, 8)).save(path), "is 8x9"),
        (lambda path: path.write_text("<html>not found</html>"), "not a readable"),
        (cut, "not a readable image"),
        (lambda path: path.write_bytes(b""), "it is empty"),
    ],
)
def test_test_images_are_read_before_training(with_test, damage, sentence):
    look(with_test)
    damage(with_test / "test" / "b" / "13.png")
    with pytest.raises(UserError, match=rf"test/b/13\.png .*{sentence}"):
        look(with_test)


def test_test_images_are_read_before_training_once(
    with_test, decoding, monkeypatch, tmp_path
):
    monkeypatch.setenv("CNNJAX_CACHE_DIR", str(tmp_path / "cache"))
    look(with_test, stop=True)  # keeps no verdict
    decoding.clear()
    for process in (0, 1):
        look(with_test, process=process, num_processes=2)
        assert sum(decoding) == 12 * (process + 1)
    decoding.clear()
    look(with_test)
    look(with_test)
    assert sum(decoding) == 24
    cut(with_test / "test" / "a" / "2.png")
    with pytest.raises(UserError, match=r"2\.png is not a readable"):
        look(with_test)
    dataset = load("digits")
    assert not dataset.test.from_files  # nothing to look at


@pytest.mark.skipif(not REAL, reason="CNNJAX_DATA_DIR names no folder of prepared sets")
def test_real_images():
    if not os.path.isdir(os.path.join(REAL, "cifar10")):
        pytest.skip("cifar10 is not in CNNJAX_DATA_DIR")
    sizes = {"num_train": 700, "num_validation": 100, "num_test": 200}
    streamed = load("cifar10", REAL, **sizes)
    resident = load("cifar10", REAL, "resident", **sizes).train
    keys = jax.random.split(jax.random.key(1), 2)
    with TrainStream(
        streamed.train,
        keys,
        batch_size=64,
        first_step=9,
        end_step=14,
        positions=np.arange(16, 48),
        ahead=2,
    ) as stream:
        got = stream.take(5)  # across the end of the first epoch
    chosen = np.stack([chunk_indices(key, 9, 5, 64, 700) for key in keys])
    np.testing.assert_array_equal(got["images"], resident.images[chosen[..., 16:48]])
    np.testing.assert_array_equal(got["labels"], resident.labels[chosen[..., 16:48]])
