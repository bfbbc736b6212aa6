"""What a data set holds is said before training, and written beside the results."""

import json
import os

import numpy as np
import pytest
from PIL import Image

from cnnjax.errors import UserError
from cnnjax.run.setup import set_up
from tests.run.tiny import tiny_config
from tests.test_wrong_input import assert_one_sentence

PLAIN = (
    "train",
    "--config=mlp_mnist",
    "--config.data.name=folder",
    "--config.data.num_validation=0",
    "--config.train.epochs=1",
    "--data_dir=pictures",
)
FEW = ("--set=data.num_train=0", "--set=data.num_validation=0", "--set=data.num_test=0")
SWEEP = ("ablate", "--scale=smoke", "--set=data.name=folder", *FEW)


@pytest.fixture
def pictures(here):
    """Two classes in two splits, with other things in between."""
    rng = np.random.default_rng(0)
    for number, name in enumerate(("cat", "dog", os.fsdecode(b"\xfcbel"))):
        for split, count in (("train", 4 + number), ("Val", 3)):
            folder = here / "pictures" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    (here / "pictures" / "train" / "cat" / "._0.png").write_bytes(b"of a Mac")
    (here / "pictures" / "train" / "dog" / "gone.png").symlink_to("nowhere")
    (here / "pictures" / "notes.txt").write_text("")
    return here / "pictures"


SAID = (
    r"data folder: 8x8x3, 3 classes: cat, dog, \xfcbel",
    r"train             15 images, cat: 4, dog: 5, \xfcbel: 6",
    "validation         9 images, 3 of each class",
    "test              no images",
    "ignored: 1 x hidden (train/cat/._0.png)",
    "ignored: 1 x link to nothing (train/dog/gone.png)",
    "ignored: 1 x beside the split folders (notes.txt)",
    "note: the folder Val is the validation split",
)


@pytest.mark.usefixtures("pictures")
def test_training_says_and_writes_what_it_takes(programs, here):
    ended = programs.run(here, *PLAIN, "--workdir=run")
    assert ended.code == 0, ended
    shown = ended.out + ended.err
    assert all(sentence in shown for sentence in SAID), shown
    assert shown.index("data folder") < shown.index("mlp_mnist  starts")
    record = json.loads((here / "run" / "data.json").read_text())
    assert record["class_names"] == ["cat", "dog", r"\xfcbel"]
    assert record["splits"]["train"]["images_per_class"] == [4, 5, 6]
    assert {entry["reason"] for entry in record["ignored"]} == {
        "hidden",
        "link to nothing",
        "beside the split folders",
    }


@pytest.mark.slow
def test_a_dry_run_says_it_too(programs, here, pictures):
    ended = programs.run(here, *PLAIN, "--dry_run")
    assert ended.code == 0, ended
    assert all(sentence in ended.out for sentence in SAID), ended
    (pictures / "Val").rename(pictures / "test")
    ended = programs.run(here, *SWEEP, "--data_dir=pictures", "--dry_run")
    assert ended.code == 0, ended
    assert SAID[0] in ended.out
    assert "test               9 images, 3 of each class" in ended.out
    assert ended.out.count("data folder") == 1


@pytest.mark.usefixtures("pictures")
@pytest.mark.parametrize("dry", [(), ("--dry_run",)])
def test_test_errors_are_not_compared_without_test_images(programs, here, dry):
    ended = programs.run(here, *SWEEP, "--data_dir=pictures", "--workdir=s", *dry)
    assert_one_sentence(ended, "compares test errors", "no test images", "num_test=N")
    assert os.listdir(here) == ["pictures"]


def test_a_probe_wants_images_to_look_at():
    config = tiny_config(data__num_test=-1, eval__probes=("shift",))
    with pytest.raises(UserError, match=r"'shift' looks at test images, .* has none"):
        set_up(config)


def test_a_broken_folder_is_not_planned_as_imagenet(programs, here, pictures):
    (pictures / "train" / "cat").rename(pictures / "train" / "tiger")
    ended = programs.run(here, *SWEEP, "--data_dir=pictures", "--dry_run")
    assert_one_sentence(ended, "Val/cat is a class", "tiger")


@pytest.mark.parametrize("end", ["", "!"])
def test_files_that_cannot_be_read(programs, here, pictures, end):
    """Of no bytes, and cut short; in the middle of training they would be late."""
    path = pictures / "train" / "dog" / "0.png"
    path.write_bytes(path.read_bytes()[:60] if end else b"")
    ended = programs.run(here, *PLAIN, "--workdir=run")
    reason = "image" if end else "it is empty"
    assert_one_sentence(ended, "train/dog/0.png is not a readable image", reason)
    assert not (here / "run").exists()
