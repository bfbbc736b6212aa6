"""What is taken of a folder of images and what is not, against torchvision."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cnnjax.data.sources import folder_checks
from cnnjax.data.sources import listing as listing_module
from cnnjax.data.sources.listing import list_images
from cnnjax.data.sources.walk import SUFFIXES
from cnnjax.errors import UserError

ROOT = Path(__file__).parents[3]


def put(root, *paths):
    """Files that look like images from outside; a listing opens none."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"x")


def counts(listing):
    """Pool -> class -> number of images."""
    return {
        pool: dict(
            zip(
                listing.class_names,
                np.bincount(labels, minlength=len(listing.class_names)).tolist(),
                strict=True,
            )
        )
        for pool, labels in listing.labels.items()
    }


def ignored(listing):
    return {entry.reason: entry.count for entry in listing.ignored}


# -- classes and files -----------------------------------------------------------------

NAMES = ["dog", "Cat", "10", "9", "a b", "_x", "été", "猫", "x.y"]
FILES = ["b.png", "a.jpg", "B.PNG", "10.png", "9.png", "deep/a.png", "deep-er/b.png"]
FILES += ["deep/er/c.webp", "d.tif", "e.tiff", "f.bmp", "g.ppm", "h.pgm"]


def test_classes_files_and_labels_are_those_of_torchvision(tmp_path, torchvision):
    put(tmp_path, *(f"{name}/{file}" for name in NAMES for file in FILES))
    put(tmp_path, "dog/notes.txt", "_x/video.mp4")
    theirs = torchvision.ImageFolder(tmp_path, loader=None)
    ours = list_images(str(tmp_path))
    assert list(ours.class_names) == theirs.classes
    samples = [(os.path.relpath(path, tmp_path), n) for path, n in theirs.samples]
    labels = ours.labels["train"].tolist()
    assert list(zip(ours.paths["train"], labels, strict=True)) == samples
    assert ours.labels["train"].dtype == np.int32
    assert set(torchvision.folder.IMG_EXTENSIONS) <= SUFFIXES


def test_links_are_followed_as_by_torchvision(tmp_path, torchvision):
    put(tmp_path, "elsewhere/a.png", "elsewhere/more/b.png", "c.png", "set/dog/d.png")
    (tmp_path / "set" / "cat").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "dog" / "e.png").symlink_to(tmp_path / "c.png")
    (tmp_path / "set" / "dog" / "f").symlink_to("../cat/more")
    theirs = torchvision.ImageFolder(tmp_path / "set", loader=None)
    ours = list_images(str(tmp_path / "set"))
    samples = [os.path.relpath(path, tmp_path / "set") for path, _ in theirs.samples]
    assert list(ours.paths["train"]) == samples


@pytest.mark.parametrize("target", ["..", ".", "../../b"])
def test_links_that_lead_back_end(tmp_path, target):
    put(tmp_path, "a/x.png", "b/y.png", "a/sub/z.png")
    (tmp_path / "a" / "sub" / "loop").symlink_to(target)
    (tmp_path / "b" / "to a").symlink_to("../a")
    listing = list_images(str(tmp_path))
    assert ignored(listing) == {"link to a folder that it lies in": 2} or (
        target == "../../b" and len(listing.paths["train"]) < 10
    )


def test_order_of_names_that_are_numbers_is_said(tmp_path):
    put(tmp_path, *(f"{n}/a.png" for n in range(1, 12)))
    listing = list_images(str(tmp_path))
    assert listing.class_names[:4] == ("1", "10", "11", "2")
    (remark,) = listing.remarks
    assert "in the order of text: 1, 10, 11, 2, ... (11)" in remark
    other = tmp_path / "other"
    put(other, *(f"{n:02d}/a.png" for n in range(1, 12)))
    assert list_images(str(other)).remarks == ()


def test_one_class_in_two_encodings_of_its_letters(tmp_path):
    composed = unicodedata.normalize("NFC", "été")
    decomposed = unicodedata.normalize("NFD", "été")
    assert composed != decomposed
    put(tmp_path, f"train/{decomposed}/a.png", f"test/{composed}/b.png")
    put(tmp_path, "train/zebra/c.png", "test/zebra/d.png")
    listing = list_images(str(tmp_path))
    assert listing.class_names == ("zebra", composed)
    assert counts(listing)["test"] == {"zebra": 1, composed: 1}
    (remark,) = listing.remarks
    assert "not that of torchvision for this folder: zebra, été" in remark
    put(tmp_path, f"train/{composed}/e.png")
    with pytest.raises(UserError, match=r"two folders .*'e\\u0301t.* merge them"):
        list_images(str(tmp_path))


def test_classes_that_differ_in_case_are_said(tmp_path):
    put(tmp_path, "Cat/a.png", "cat/b.png", "dog/c.png")
    listing = list_images(str(tmp_path))
    assert listing.class_names == ("Cat", "cat", "dog")
    assert "differ in case alone: Cat, cat" in listing.remarks[0]


def test_names_that_are_not_utf8(tmp_path):
    name = os.fsdecode(b"caf\xe9")
    put(tmp_path, f"{name}/a.png", f"b/{name}.png", f"b/{name}.txt")
    listing = list_images(str(tmp_path))
    assert listing.class_names == ("b", r"caf\xe9")
    assert listing.ignored[0].examples == (r"b/caf\xe9.txt",)
    assert (tmp_path / listing.paths["train"][0]).exists()
    (tmp_path / "lines\nof\x1b[31m text").mkdir()
    put(tmp_path, "lines\nof\x1b[31m text/a.png")
    assert list_images(str(tmp_path)).class_names[2] == r"lines\nof\x1b[31m text"


# -- splits ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "names",
    [
        ("train", "val", "test"),
        ("Train", "valid", "Test"),
        ("TRAIN", "VALIDATION", "TEST"),
        ("training", "Val", "testing"),
    ],
)
def test_names_of_splits(tmp_path, names):
    for number, name in enumerate(names, 1):
        put(tmp_path, *(f"{name}/{c}/{i}.png" for c in "ab" for i in range(number)))
    listing = list_images(str(tmp_path))
    want = {"train": 1, "validation": 2, "test": 3}
    assert counts(listing) == {p: {"a": n, "b": n} for p, n in want.items()}
    said = [r for r in listing.remarks if r.startswith("the folder")]
    assert len(said) == len(set(names) - {"train", "test"})


@pytest.mark.parametrize("start", ["", "train/"])
@pytest.mark.parametrize(
    "folders", [("train", "test"), ("Training", "VAL"), ("valid", "testing/deeper")]
)
def test_splits_within_classes_are_refused(tmp_path, start, folders):
    put(tmp_path, *(f"{start}{c}/{f}/x.png" for c in "abc" for f in folders))
    apart = [f.split("/")[0] for f in folders if f.lower()[:5] != "train"]
    with pytest.raises(UserError) as raised:
        list_images(str(tmp_path))
    first = ", ".join(f"{start}{c}/{sorted(apart)[0]}" for c in "abc")
    assert f"within those of its classes ({first}): put the splits outside" in str(
        raised.value
    )


def test_a_name_of_a_split_may_mean_something_else(tmp_path):
    """In few classes, or where nothing is set apart."""
    put(tmp_path, "a/test/x.png", "a/x.png", "b/x.png", "vehicles/train/x.png")
    put(tmp_path, "c/train/x.png", "d/test.png", "d/more/test/x.png")
    listing = list_images(str(tmp_path))
    assert counts(listing)["train"] == {"a": 2, "b": 1, "c": 1, "d": 2, "vehicles": 1}
    assert (
        "4 images lie in folders within the folder of their class"
        in (listing.remarks[0])
    )


@pytest.mark.parametrize("inner", ["imagenet", "ILSVRC/Data/CLS-LOC"])
def test_a_set_that_lies_deeper_is_named(tmp_path, inner):
    put(tmp_path, *(f"{inner}/{s}/{c}/x.png" for s in ("train", "Val") for c in "ab"))
    with pytest.raises(UserError) as raised:
        list_images(str(tmp_path))
    sentence = str(raised.value)
    assert "has 1 subfolder with images" in sentence
    where = tmp_path / inner
    assert sentence.endswith(f"folders of splits in {where}: perhaps that is the set")
    list_images(str(where))


@pytest.mark.parametrize(
    "names", [("val", "validation"), ("Val", "val"), ("train", "Train")]
)
def test_two_folders_for_one_split_are_refused(tmp_path, names):
    put(tmp_path, *(f"{n}/{c}/x.png" for n in {"train", *names} for c in "ab"))
    with pytest.raises(UserError, match=rf"more than one folder .*{names[1]}.*keep"):
        list_images(str(tmp_path))


def test_a_split_without_training_images_is_refused(tmp_path):
    put(tmp_path, "test/a/x.png", "test/b/x.png")
    with pytest.raises(UserError, match=r"for a split \(test\) and none named train"):
        list_images(str(tmp_path))


def test_what_lies_beside_the_splits_is_counted(tmp_path):
    put(tmp_path, "train/a/x.png", "train/b/x.png", "extra/a/y.png", "extra/b/z.png")
    put(tmp_path, "README.md", "loose.png", ".git/config")
    assert ignored(list_images(str(tmp_path))) == {
        "beside the split folders": 4,
        "hidden": 1,
    }


def test_a_split_that_is_empty_is_said(tmp_path):
    put(tmp_path, "train/a/x.png", "train/b/x.png")
    (tmp_path / "test").mkdir()
    listing = list_images(str(tmp_path))
    assert listing.remarks == ("the folder test has no class with images",)
    assert counts(listing).keys() == {"train"}


def test_a_split_that_is_not_sorted(tmp_path):
    put(tmp_path, "train/a/x.png", "train/b/x.png", "val/1.png", "val/2.png")
    listing = list_images(str(tmp_path))
    assert listing.unsorted == {"validation": 2}
    assert counts(listing) == {"train": {"a": 1, "b": 1}}
    assert sum(ignored(listing).values()) == 2
    put(tmp_path, "val/a/1.png")  # sorted, but for two
    listing = list_images(str(tmp_path))
    assert listing.unsorted == {}
    assert ignored(listing) == {"image outside the folder of a class": 2}
    assert "the validation images have none of 1 of 2 classes: b" in listing.remarks


@pytest.mark.parametrize("folder", ["train", "."])
def test_training_images_that_are_not_sorted(tmp_path, folder):
    put(tmp_path, f"{folder}/1.png", f"{folder}/2.png", f"{folder}/notes.txt")
    sentence = r"0 subfolders with images: .*; 2 images lie in it directly.*1 x suffix"
    with pytest.raises(UserError, match=sentence):
        list_images(str(tmp_path))


def test_a_class_that_training_does_not_have(tmp_path):
    put(tmp_path, *(f"train/class{i:03d}/x.png" for i in range(100)))
    put(tmp_path, "val/Class005/x.png")
    with pytest.raises(
        UserError, match=r"it has 100 others; did you mean class005"
    ) as e:
        list_images(str(tmp_path))
    assert len(str(e.value)) < 400


# -- what is no image ------------------------------------------------------------------


def test_everything_that_is_ignored_has_a_reason(tmp_path):
    put(tmp_path, "a/x.png", "b/x.png")
    put(tmp_path, "a/.ipynb_checkpoints/y.png", "b/._x.png", ".ipynb_checkpoints/z.png")
    put(tmp_path, "__MACOSX/a/._x.png", "a/Thumbs.db", "desktop.ini")
    put(tmp_path, "a/y.heic", "a/z.HEIC", "a/w.svg", "b/no suffix", "scripts/run.py")
    (tmp_path / "a" / "gone.png").symlink_to("nowhere.png")
    (tmp_path / "lost class").symlink_to("nowhere")
    os.mkfifo(tmp_path / "b" / "pipe.png")
    (tmp_path / "empty").mkdir()
    listing = list_images(str(tmp_path))
    assert counts(listing) == {"train": {"a": 1, "b": 1}}
    assert ignored(listing) == {
        "hidden": 3,
        "left by an operating system": 3,
        "suffix .heic": 2,
        "suffix .svg": 1,
        "suffix missing": 1,
        "suffix .py": 1,
        "link to nothing": 2,
        "no regular file": 1,
        "folder without an image": 2,
    }
    (entry,) = [e for e in listing.ignored if e.reason == "suffix .heic"]
    assert entry.examples == ("a/y.heic", "a/z.HEIC")


def test_a_folder_named_as_an_image_is_a_folder(tmp_path):
    put(tmp_path, "a/x.png/y.png", "b/y.png", "c.png/z.png")
    listing = list_images(str(tmp_path))
    assert list(listing.paths["train"]) == ["a/x.png/y.png", "b/y.png", "c.png/z.png"]
    assert "1 images lie in folders within" in listing.remarks[0]


def test_which_frame_is_taken_is_said(tmp_path):
    put(tmp_path, "a/x.png", "b/x.GIF", "b/y.tiff")
    (remark,) = list_images(str(tmp_path)).remarks
    assert "of images with several frames" in remark
    assert ".gif, .tiff, the first is taken" in remark


def test_every_suffix_is_read(tmp_path):
    """No suffix is listed that Pillow would not open by the formats allowed."""
    from cnnjax.data.images import FORMATS

    known = Image.registered_extensions()
    kinds = {known[suffix] for suffix in SUFFIXES}
    assert kinds <= {*FORMATS, "MPO"}


def test_a_folder_that_may_not_be_read(tmp_path, monkeypatch):
    put(tmp_path, "a/x.png", "b/x.png")
    scan = os.scandir

    def closed(path):
        if os.path.basename(path) == "b":
            raise PermissionError(13, "Permission denied", path)
        return scan(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(UserError, match="b cannot be read: Permission denied"):
        list_images(str(tmp_path))


# -- one file in two splits ------------------------------------------------------------


def link_split(root):
    (root / "test").symlink_to("train")


def link_class(root):
    put(root, "test/b/1.png")
    (root / "test" / "a").symlink_to("../train/a")


def link_image(root):
    put(root, "test/a/1.png", "test/b/1.png")
    (root / "test" / "a" / "2.png").symlink_to("../../train/a/x.png")


def hard_link(root):
    put(root, "test/a/1.png", "test/b/1.png")
    os.link(root / "train/a/x.png", root / "test/a/2.png")


def links_to_one(root):
    put(root, "test/a/1.png", "test/b/1.png", "store")
    for split in ("train", "test"):
        (root / split / "a" / "same.png").symlink_to(root / "store")


SHARED = (link_split, link_class, link_image, hard_link, links_to_one)


@pytest.mark.parametrize("share", SHARED)
def test_one_image_in_two_splits_is_refused(tmp_path, share):
    put(tmp_path, "train/a/x.png", "train/b/y.png")
    share(tmp_path)
    with pytest.raises(UserError, match=r"images that are in train and in test, .*/"):
        list_images(str(tmp_path))


def test_numbers_that_a_file_system_makes_up_are_no_links(tmp_path, monkeypatch):
    put(tmp_path, "train/a/x.png", "train/b/y.png", "test/a/x.png")
    whole = folder_checks.refuse_shared_images
    monkeypatch.setattr(
        listing_module,
        "refuse_shared_images",
        lambda root, paths, inodes: whole(root, paths, {pool: [7] for pool in inodes}),
    )
    assert list(list_images(str(tmp_path)).paths) == ["train", "test"]
