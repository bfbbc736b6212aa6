"""Prepared TFDS sets: subsets, caveats, and what a broken folder says."""

import errno
import io
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from cnnjax.data.sources import encoded
from cnnjax.data.sources import tfds as source
from cnnjax.errors import UserError
from tests.data.loading import load

REAL = os.environ.get("CNNJAX_DATA_DIR", "")


@pytest.fixture
def copy(prepared, tmp_path):
    """A prepared CIFAR-10 that may be broken, and its folder."""
    shutil.copytree(prepared[0], tmp_path / "copy")
    return tmp_path / "copy", tmp_path / "copy" / "cifar10" / "3.0.2"


def test_subsets_hold_the_right_images(prepared):
    root, small = prepared
    whole = load("cifar10", root)
    part = load("cifar10", root, num_train=70, num_validation=50, num_test=9)
    assert [len(s) for s in (part.train, part.validation, part.test)] == [70, 50, 9]
    train = {image.tobytes() for image in part.train.images}
    validation = {image.tobytes() for image in part.validation.images}
    assert train.isdisjoint(validation)
    assert train | validation < {image.tobytes() for image in small.images["train"]}
    labels = {i.tobytes(): n for i, n in zip(*vars(whole.train).values(), strict=True)}
    for image, label in zip(*vars(part.train).values(), strict=True):
        assert labels[image.tobytes()] == label
    assert part.class_names == whole.class_names
    assert part.fingerprint != whole.fingerprint


def test_only_what_is_needed_is_decoded(prepared, monkeypatch):
    seen = []
    decode = encoded.decode_all

    def counting(files, num_images, *rest):
        seen.append(num_images)
        return decode(files, num_images, *rest)

    monkeypatch.setattr(encoded, "decode_all", counting)
    load("cifar10", prepared[0], num_train=20, num_validation=10, num_test=5)
    assert sorted(seen) == [5, 10, 20]


def test_any_set_by_its_tfds_name(prepared):
    named = load("cifar10", prepared[0])
    assert load("tfds:cifar10", prepared[0]).fingerprint == named.fingerprint


def test_highest_version_is_read(copy):
    root, folder = copy
    shutil.copytree(folder, folder.parent / "3.0.10")
    shutil.copytree(folder, folder.parent / "incomplete.XYZ_9.9.9")
    assert source.find_prepared("cifar10", str(root)).name == "3.0.10"


def test_a_set_of_several_configs_is_named_with_one(copy):
    root, folder = copy
    base = folder.parent
    for config in ("v4", "v6", ".trash"):
        shutil.copytree(folder, base / config / "9.9.9")
    assert source.find_prepared("cifar10", str(root)) == folder
    shutil.rmtree(folder)
    with pytest.raises(UserError, match=r"such as tfds:cifar10/v4; there are v4, v6$"):
        source.find_prepared("cifar10", str(root))
    one = source.find_prepared("cifar10/v6", str(root))
    assert one == base / "v6" / "9.9.9"
    shutil.rmtree(base / "v4")
    assert source.find_prepared("cifar10", str(root)) == one


def test_image_size(prepared):
    assert load("cifar10", prepared[0], image_size=16).image_shape == (16, 16, 3)


def test_lossy_images_are_noted(prepared):
    assert load("cifar10", prepared[0]).note == ""
    buffer = io.BytesIO()
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(buffer, "JPEG")
    assert "lossy JPEG" in source._note("cifar10", buffer.getvalue())
    assert source._note("imagenet2012", buffer.getvalue()) == ""


def test_missing_sets_say_what_where_and_how(prepared, tmp_path):
    root, _ = prepared
    how = r"./launch.sh prepare --dataset=mnist --data_dir="
    with pytest.raises(UserError, match=rf"mnist is not there: .*mnist/.*{how}"):
        load("mnist", root)
    with pytest.raises(UserError, match=rf"mnist is not there: .*nowhere.*{how}"):
        load("mnist", tmp_path / "nowhere")
    with pytest.raises(UserError, match=rf"data_dir is empty, .*{how}"):
        load("mnist", "")
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(UserError, match="file is not a folder"):
        load("mnist", file)


def test_folder_without_permission(prepared, monkeypatch):
    monkeypatch.setattr(os, "access", lambda *args: False)  # root may read anything
    with pytest.raises(UserError, match="may not be read by this user"):
        load("cifar10", prepared[0])


def truncate(path, size):
    os.truncate(path, size)


def overwrite(path, size):
    content = bytearray(path.read_bytes())
    content[-size:] = bytes(size)
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: truncate(path, path.stat().st_size // 2),
        lambda path: truncate(path, path.stat().st_size - 10),
        lambda path: truncate(path, 0),
        lambda path: overwrite(path, path.stat().st_size * 3 // 4),
        lambda path: path.unlink(),
        lambda path: path.write_bytes(b"<html>no such file</html>"),
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_broken_records(damage, split, copy):
    root, folder = copy
    damage(folder / f"cifar10-{split}.array_record-00000-of-00001")
    with pytest.raises(
        UserError, match=rf"records of split '{split}' .* prepare it again"
    ):
        load("cifar10", root)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EACCES])
def test_records_that_cannot_be_read_now_are_not_called_corrupt(
    prepared, monkeypatch, number
):
    """Nobody should delete a set because a network was down."""

    def fail(*args):
        raise RuntimeError(f"pread() failed: {os.strerror(number)}; reading x")

    monkeypatch.setattr(
        "array_record.python.array_record_module.ArrayRecordReader", fail
    )
    with pytest.raises(UserError, match=r"cannot be read now .*look after") as raised:
        load("cifar10", prepared[0])
    assert "delete" not in str(raised.value)


@pytest.mark.parametrize("name", ["dataset_info.json", "features.json"])
def test_broken_description(name, copy):
    root, folder = copy
    (folder / name).write_text("{")
    with pytest.raises(UserError, match=r"cannot be read as a TFDS set .* prepare"):
        load("cifar10", root)


def test_other_file_formats_need_tensorflow(copy):
    root, folder = copy
    info = folder / "dataset_info.json"
    info.write_text(info.read_text().replace("array_record", "tfrecord"))
    with pytest.raises(
        UserError, match="is stored as tfrecord, which needs TensorFlow"
    ):
        load("cifar10", root)


@pytest.mark.skipif(not REAL, reason="CNNJAX_DATA_DIR names no folder of prepared sets")
@pytest.mark.parametrize(
    ("name", "shape"), [("cifar10", (32, 32, 3)), ("mnist", (28, 28, 1))]
)
def test_real_images(name, shape):
    if not os.path.isdir(os.path.join(REAL, name)):
        pytest.skip(f"{name} is not in CNNJAX_DATA_DIR")
    dataset = load(name, REAL, num_train=500, num_validation=100, num_test=200)
    assert dataset.image_shape == shape
    assert [len(s) for s in (dataset.train, dataset.validation, dataset.test)] == [
        500,
        100,
        200,
    ]
    assert np.bincount(dataset.train.labels, minlength=10).min() > 20


def test_a_second_start_decodes_nothing(prepared, monkeypatch, tmp_path):
    monkeypatch.setenv("CNNJAX_CACHE_DIR", str(tmp_path))
    root, _ = prepared
    first = load("cifar10", root, num_train=70, num_validation=50)
    decode = encoded.decode_all
    monkeypatch.setattr(encoded, "decode_all", None)
    again = load("cifar10", root, num_train=70, num_validation=50)
    assert again.fingerprint == first.fingerprint
    monkeypatch.setattr(encoded, "decode_all", decode)
    other = load("cifar10", root, num_train=70, num_validation=50, split_seed=1)
    assert other.fingerprint != first.fingerprint


@pytest.mark.parametrize("name", ["tfds:*", "tfds:cifar[0-9]0", "tfds:", "tfds:."])
def test_a_name_is_no_pattern(prepared, name):
    with pytest.raises(UserError, match=r"is not there: no|the name of a set"):
        load(name, prepared[0])


@pytest.mark.parametrize("folder", ["sets [1]", "sets[0:9]", "a*b", "back\\slash"])
def test_a_data_dir_is_no_pattern(prepared, tmp_path, folder):
    root = shutil.copytree(prepared[0], tmp_path / folder)
    found = load("cifar10", root)
    assert found.fingerprint == load("cifar10", prepared[0]).fingerprint
    streamed = load("cifar10", root, delivery="streaming")
    images, _ = streamed.train.read(np.arange(3))
    np.testing.assert_array_equal(images, found.train.images[:3])
