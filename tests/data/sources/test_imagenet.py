"""ImageNet in the forms in which people have it: the same images, labels and names."""

import io
import tarfile

import numpy as np
import pytest
from PIL import Image

from cnnjax.data.sources.archives import imagenet, imagenet_labels
from cnnjax.data.sources.archives.mat_file import structures
from cnnjax.errors import UserError
from tests.data import loading
from tests.data.sources import small_imagenet as small

FORMS = {
    "official": (small.official, "imagenet"),
    "kaggle": (small.kaggle, "imagenet"),
    "folders": (small.folders, "imagenet"),
    "shards": (small.shards, "webdataset"),
}


def load(root, name="imagenet", **changes):
    return loading.load(name, root, **changes)


def contents(dataset):
    return {
        split: [part.tolist() for part in getattr(dataset, split).read(np.arange(n))]
        for split in ("train", "validation", "test")
        if (n := len(getattr(dataset, split)))
    }


@pytest.fixture(scope="module")
def expected():
    """What torchvision's ImageFolder would give: by class, then by name."""

    def decoded(content):
        return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).tolist()

    order = sorted(small.WORDS)
    train = [
        (decoded(files[name]), order.index(wnid))
        for wnid, files in sorted(small.training().items())
        for name in sorted(files)
    ]
    held = sorted(zip(small.VALIDATION, small.validation().items(), strict=True))
    validation = [(decoded(c), order.index(w)) for w, (_, c) in held]
    return {
        "train": [list(part) for part in zip(*train, strict=True)],
        "test": [list(part) for part in zip(*validation, strict=True)],
    }


@pytest.mark.parametrize("delivery", ["resident", "streaming"])
@pytest.mark.parametrize("form", FORMS)
def test_all_forms_give_the_same(form, tmp_path, expected, delivery):
    make, name = FORMS[form]
    dataset = load(make(tmp_path), name, delivery=delivery, channels=3)
    # Shards are divided as they say; of ImageNet, the literature tests on these.
    held = "test" if name == "imagenet" else "validation"
    assert contents(dataset) == {
        held if split == "test" else split: images for split, images in expected.items()
    }
    order = sorted(small.WORDS)
    with_words = form != "folders"
    assert dataset.class_names == tuple(
        f"{wnid} {small.WORDS[wnid]}" if with_words else wnid for wnid in order
    )
    said = "imagenet: this set has 3 classes and not 1,000, 8 train images and not "
    assert (said in dataset.note) == (name == "imagenet")
    found = {pool: n.tolist() for pool, n in dataset.contents.found.items()}
    assert found == {"train": [3, 3, 2], held: [2, 1, 1]}


def test_the_whole_set_is_remarked_on_by_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(imagenet, "COUNTS", {"train": 8, "test": 4})
    monkeypatch.setattr(imagenet, "CLASSES", 3)
    assert load(small.official(tmp_path)).note == ""


def test_what_is_ignored_is_counted(tmp_path):
    dataset = load(small.kaggle(tmp_path))
    assert [(e.reason, e.count) for e in dataset.contents.ignored] == [
        ("image outside the folder of a class", 1)
    ]
    assert "1 test images without a class are not used" in dataset.contents.remarks


@pytest.mark.parametrize("form", ["official", "kaggle"])
def test_validation_images_without_labels(tmp_path, form):
    make, _ = FORMS[form]
    make(tmp_path)
    (tmp_path / "LOC_val_solution.csv").unlink(missing_ok=True)
    (tmp_path / f"{imagenet_labels.KIT}.tar.gz").unlink(missing_ok=True)
    with pytest.raises(UserError, match=r"of which class ILSVRC2012_val_00000001.JPEG"):
        load(tmp_path)
    assert len(load(tmp_path, num_test=-1).test) == 0


def test_the_kit_may_be_unpacked(tmp_path):
    small.official(tmp_path)
    packed = tmp_path / f"{imagenet_labels.KIT}.tar.gz"
    with tarfile.open(packed) as archive:
        archive.extractall(tmp_path, filter="data")
    packed.unlink()
    labels = load(tmp_path).test.labels.tolist()
    assert labels == sorted(sorted(small.WORDS).index(w) for w in small.VALIDATION)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("ILSVRC2012_devkit_t12.tar.gz", b"no archive"),
        ("ILSVRC2012_devkit_t12.tar.gz", small.kit()[:400]),
        ("LOC_val_solution.csv", b"a,b\n1,2\n"),
        ("LOC_val_solution.csv", b"\xff\xfe\0"),
    ],
)
def test_damaged_labels(tmp_path, name, content):
    small.official(tmp_path)
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=rf"{name} is not what its name says"):
        load(tmp_path)


def test_a_validation_image_of_an_unknown_class(tmp_path):
    small.kaggle(tmp_path)
    path = tmp_path / "LOC_val_solution.csv"
    path.write_text(path.read_text().replace("n02105855", "n99999999"))
    with pytest.raises(UserError, match="n99999999, of which there is no training"):
        load(tmp_path)


def test_a_training_archive_that_is_none(tmp_path):
    small.put(tmp_path, {imagenet.TRAIN: small.tar(small.validation().items())})
    with pytest.raises(UserError, match="one archive for each class"):
        load(tmp_path)
    with pytest.raises(UserError, match="data_dir is empty"):
        load("")


@pytest.mark.parametrize("packed", [True, False])
def test_structures_of_matlab(packed):
    from scipy.io import savemat

    rows = np.array([(1, "é"), (70000, "")], [("n", object), ("text", object)])
    content = io.BytesIO()
    savemat(content, {"x": np.eye(3), "s": rows}, do_compression=packed)
    one, two = structures(content.getvalue(), "s")
    assert (one["n"].tolist(), one["text"]) == ([1], "é")
    assert two["n"].tolist() == [70000]
    with pytest.raises(ValueError, match="no array of structures named x"):
        structures(content.getvalue(), "x")


def test_a_matlab_file_that_claims_much():
    content = bytearray(small.kit()[:128])
    content[126:128] = b"IM"
    content += (14).to_bytes(4, "little") + (2**31).to_bytes(4, "little") + b"x" * 64
    with pytest.raises(ValueError, match="cut short"):
        structures(bytes(content), "synsets")


def corrected(root, form):
    """Two validation images change places; as many as before are of each class."""
    one, other, *rest = small.VALIDATION
    if form == "shards":
        path = root / "imagenet-val-000000.tar"
        content = path.read_bytes()
        swap = {b"0": b"1", b"1": b"0"}
        with tarfile.open(path) as archive:
            files = [m for m in archive if m.name.endswith(".cls")]
        for file in files[1:3]:  # of two classes
            at = file.offset_data
            content = content[:at] + swap[content[at : at + 1]] + content[at + 1 :]
        path.write_bytes(content)
    elif form == "official":
        changed = small.kit((other, one, *rest))
        (root / f"{imagenet_labels.KIT}.tar.gz").write_bytes(changed)
    else:
        small.solution(root, (other, one, *rest))


@pytest.mark.parametrize("delivery", ["resident", "streaming"])
@pytest.mark.parametrize("form", ["official", "kaggle", "shards"])
def test_corrected_labels_are_seen(form, tmp_path, monkeypatch, delivery):
    """Where files keep their sizes, and decoded images are in the cache."""
    monkeypatch.setenv("CNNJAX_CACHE_DIR", str(tmp_path / "cache"))
    make, name = FORMS[form]
    root, held = make(tmp_path / "set"), "validation" if form == "shards" else "test"
    before = load(root, name, delivery=delivery, channels=3)
    again = load(root, name, delivery=delivery, channels=3)
    assert again.fingerprint == before.fingerprint
    seen = [labels_of_images(getattr(before, held))]
    corrected(root, form)
    after = load(root, name, delivery=delivery, channels=3)
    seen.append(labels_of_images(getattr(after, held)))
    assert seen[0].keys() == seen[1].keys()
    assert sum(seen[0][image] != seen[1][image] for image in seen[0]) == 2
    assert after.fingerprint != before.fingerprint


def labels_of_images(split):
    images, labels = split.read(np.arange(len(split)))
    return {i.tobytes(): int(n) for i, n in zip(images, labels, strict=True)}
