"""A store of photographs: the same images and labels, readable by TFDS, resumable."""

import io
import json
import subprocess
import sys
import time

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from cnnjax import process
from cnnjax.data.dataset import load_dataset, open_source
from cnnjax.data.fingerprints import mark_of_all
from cnnjax.data.prepare import store as module
from cnnjax.data.prepare.store import write_store
from cnnjax.errors import UserError
from tests.data import loading
from tests.data.small_sets import image_features, labelled, write_set
from tests.data.sources import small_imagenet as small
from tests.slow import slow

SPLITS = ("train", "test")


def write(root, target, name="imagenet", form="jpeg", shorter_side=0, processes=1):
    request = loading.request(name, root)
    return write_store(
        request,
        str(target),
        shorter_side=shorter_side,
        form=form,
        processes=processes,
    )


def load(root, name, **changes):
    return loading.load(name, root, channels=3, **changes)


@pytest.fixture
def official(tmp_path):
    return small.official(tmp_path / "official")


@pytest.mark.parametrize("processes", [1, slow(2)])
@pytest.mark.parametrize("form", ["jpeg", "raw"])
def test_the_same_images_and_labels(official, tmp_path, monkeypatch, form, processes):
    if processes == 1:
        monkeypatch.setattr(module, "PER_FILE", 3)
    write(official, tmp_path / "store", form=form, processes=processes)
    got, want = load(tmp_path / "store", "tfds:photographs"), load(official, "imagenet")
    assert got.class_names == want.class_names
    for split in SPLITS:
        ours, theirs = getattr(got, split), getattr(want, split)
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        difference = np.abs(ours.images.astype(int) - theirs.images)
        # What is no plain JPEG, as one in CMYK, is written anew.
        same = (difference.max(axis=(1, 2, 3)) == 0).sum()
        anew = 2 * (form == "jpeg" and split == "train")
        assert same == len(ours) - anew
        assert difference.mean() < 2


def test_tfds_opens_it(official, tmp_path):
    folder = write(official, tmp_path / "store")
    builder = tfds.builder_from_directory(folder)
    assert builder.info.splits["train"].num_examples == 8
    assert builder.info.features["label"].names[0] == "n01440764 tench, Tinca tinca"
    (first, *_) = builder.as_data_source("test")
    assert first["label"] == 0


def test_large_photographs_are_shrunk_and_small_ones_are_not(tmp_path):
    for name, size in (("a/large", (40, 30)), ("b/small", (9, 7))):
        path = tmp_path / "set" / f"{name}.png"
        path.parent.mkdir(parents=True)
        Image.new("RGB", size).save(path)
    write(tmp_path / "set", tmp_path / "store", "folder", "raw", shorter_side=15)
    folder = tmp_path / "store" / "photographs" / "1.0.0"
    source = tfds.builder_from_directory(folder).as_data_source(
        "train", decoders={"image": tfds.decode.SkipDecoding()}
    )
    sizes = [Image.open(io.BytesIO(example["image"])).size for example in source]
    assert sizes == [(20, 15), (9, 7)]


def test_what_is_there_is_not_written_again(official, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "PER_FILE", 3)
    whole, written = module._write, []

    def ended(folder, shorter_side, form, source, job):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(job)
        whole(folder, shorter_side, form, source, job)

    monkeypatch.setattr(module, "_write", ended)
    with pytest.raises(KeyboardInterrupt):
        write(official, tmp_path / "store")
    assert not list(tmp_path.rglob("dataset_info.json"))
    assert len(list(tmp_path.rglob("*array_record*"))) == 2
    monkeypatch.setattr(module, "_write", whole)
    folder = write(official, tmp_path / "store")
    assert tfds.builder_from_directory(folder).info.splits["train"].num_examples == 8
    labels = load(tmp_path / "store", "tfds:photographs").train.labels
    np.testing.assert_array_equal(labels, load(official, "imagenet").train.labels)


def test_what_a_killed_start_left_is_removed_and_no_more(official, tmp_path):
    folder = write(official, tmp_path / "store")
    (first,) = folder.glob("*train*")
    left, others = folder / f".{first.name}.123", folder / f".{first.name}.mine"
    for path in (left, others):
        path.touch()
    write(official, tmp_path / "store")
    assert not left.exists()
    assert others.exists()


@slow
def test_writers_end_with_the_process_that_started_them(tmp_path):
    """Also where it is killed: nobody would know of them."""
    started = subprocess.Popen(
        [sys.executable, "-m", "tests.data.prepare.waiting"],
        stdout=subprocess.PIPE,
        text=True,
    )
    child = process.identity(int(started.stdout.readline()))
    assert process.is_running(child)
    started.kill()
    started.wait()
    deadline = time.monotonic() + 20
    while process.is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_other_labels_are_refused(tmp_path):
    """Of the same photographs, as many of each class as before."""
    root = small.kaggle(tmp_path / "kaggle")
    folder = write(root, tmp_path / "store")
    write(root, tmp_path / "store")
    one, other, *rest = small.VALIDATION
    small.solution(root, (other, one, *rest))
    with pytest.raises(UserError, match="other photographs or labels"):
        write(root, tmp_path / "store")
    settings = folder.parent / module.SETTINGS
    described = json.loads(settings.read_text())
    del described["fingerprint"]  # as those of before, which say nothing of it
    before = json.dumps(described, indent=1)
    settings.write_text(before)
    write(root, tmp_path / "store")
    assert settings.read_text() == before


def test_labels_of_records_are_seen(tmp_path):
    """Whose files keep their names and sizes."""
    marks, streamed = set(), set()
    for labels in ([0, 1, 2], [1, 0, 2]):
        root = tmp_path / str(labels[0])
        root.mkdir()
        write_set(root, "toy", image_features(), {"train": labelled(labels)})
        request = loading.request("tfds:toy", root, delivery="streaming")
        marks.add(mark_of_all(open_source(request), request))
        streamed.add(load_dataset(request).fingerprint)
    assert (len(marks), len(streamed)) == (2, 1)


def test_another_set_or_form_is_refused(official, tmp_path, monkeypatch):
    write(official, tmp_path / "store")
    with pytest.raises(UserError, match="in another form: give another --store"):
        write(official, tmp_path / "store", form="raw")
    with pytest.raises(UserError, match="unknown format 'png'"):
        write(official, tmp_path / "store", form="png")
    (tmp_path / "full" / "photographs" / "1.0.0" / "mine").mkdir(parents=True)
    with pytest.raises(UserError, match="is not empty: give another --store"):
        write(official, tmp_path / "full")
    with pytest.raises(UserError, match="has no photographs in files"):
        write("", tmp_path / "more", "digits")
    disk = type("Disk", (), {"free": 10})
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: disk)
    with pytest.raises(UserError, match="GB free, and the store takes"):
        write(official, tmp_path / "other")
