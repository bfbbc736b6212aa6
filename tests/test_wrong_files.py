"""Data, work folders and checkpoints that are not as they must be: one sentence."""

import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from cnnjax.data.prepare.archive import Contents, encode_png
from cnnjax.data.prepare.write import write_images
from tests.programs import QUICK_TO_COMPILE, ROOT, Ended, obeys_permissions
from tests.slow import slow
from tests.test_wrong_input import assert_one_sentence

MLP = (
    "train",
    "--config=mlp_mnist",
    "--config.data.num_validation=0",
    "--config.train.epochs=1",
)
DIGITS = (*MLP, "--config.data.name=digits", "--config.eval.keep_best=False")
FOLDER = (*MLP, "--config.data.name=folder", "--config.data.num_test=2")
SMOKE = ("ablate", "--scale=smoke", "--set=data.num_train=100", "--workdir=sweep")
BLACK = np.zeros((28, 28), np.uint8)
NO_SPEC = '{"spec": 1, "arms": [], "seeds": []}'
needs_permissions = pytest.mark.skipif(
    not obeys_permissions(), reason="root without setpriv may write everywhere"
)


def contents(folder):
    """Every file below a folder, to show that nothing was written or changed."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def mnist(tmp_path_factory):
    """A data_dir with an MNIST of ten images a split."""
    root = tmp_path_factory.mktemp("mnist")
    splits = {
        split: [(i, {"image": encode_png(BLACK), "label": i}) for i in range(10)]
        for split in ("train", "test")
    }
    write_images("mnist", root, root / "downloads", Contents(splits, {}))
    return root


@pytest.fixture(scope="module")
def trained(programs, tmp_path_factory):
    """The folder of a finished run, without best weights and without averages."""
    here = tmp_path_factory.mktemp("trained")
    ended = programs.run(here, *DIGITS, "--workdir=run")
    assert ended.code == 0, ended
    return here / "run"


@pytest.fixture
def run(trained, here):
    """A copy of that folder, to be damaged."""
    return shutil.copytree(trained, here / "run")


@pytest.fixture
def pictures(here):
    """An image folder with five images of each of two classes."""
    for number, name in enumerate(("cat", "dog")):
        (here / "pictures" / name).mkdir(parents=True)
        for i in range(5):
            image = encode_png(BLACK + 20 * i + number)
            (here / "pictures" / name / f"{i}.png").write_bytes(image)
    return here / "pictures"


# -- data ------------------------------------------------------------------------------


def test_no_data_dir(programs, here):
    ended = programs.run(here, *MLP)
    assert_one_sentence(ended, "data_dir is empty", "mnist", "./launch.sh prepare")


def test_data_dir_that_is_not_there(programs, here):
    ended = programs.run(here, *MLP, "--data_dir=gone")
    assert_one_sentence(ended, "gone does not exist", "--data_dir", "prepare")


def test_data_dir_without_the_set(programs, here):
    ended = programs.run(here, *MLP, f"--data_dir={here}")
    assert_one_sentence(ended, "no dataset_info.json", f"{here}/mnist", "prepare")


def test_data_dir_that_is_a_file(programs, here):
    (here / "data").write_text("")
    ended = programs.run(here, *MLP, "--data_dir=data")
    assert_one_sentence(ended, "data is not a folder", "--data_dir")


@needs_permissions
@pytest.mark.parametrize("closed", [".", "mnist/3.0.1"])
def test_data_without_permission(programs, here, mnist, closed):
    data = shutil.copytree(mnist, here / "data")
    (data / closed).chmod(0)
    ended = programs.run(here, *MLP, "--data_dir=data")
    (data / closed).chmod(0o755)
    assert_one_sentence(ended, "data", "permission")


@pytest.mark.parametrize("damage", ["cut short", "deleted", "no description"])
def test_damaged_set(programs, here, mnist, damage):
    data = shutil.copytree(mnist, here / "data")
    (records,) = data.glob("mnist/*/mnist-train*")
    if damage == "cut short":
        os.truncate(records, records.stat().st_size // 2)
    elif damage == "deleted":
        records.unlink()
    else:
        (records.parent / "dataset_info.json").write_text("{")
    ended = programs.run(here, *MLP, "--data_dir=data")
    assert_one_sentence(ended, "data/mnist/3.0.1", "prepare it again")
    assert os.listdir(here) == ["data"]


def test_set_that_names_code(programs, here, mnist):
    data = shutil.copytree(mnist, here / "data")
    (here / "payload.py").write_text("import pathlib; pathlib.Path('ran').touch()")
    (features,) = data.glob("mnist/*/features.json")
    of_tfds = "tensorflow_datasets.core.features.image_feature"
    features.write_text(features.read_text().replace(of_tfds, "payload"))
    ended = programs.run(here, *MLP, "--data_dir=data")
    assert_one_sentence(ended, "features.json names the class 'payload.Image'")
    assert sorted(os.listdir(here)) == ["data", "payload.py"]


@needs_permissions
@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111])
def test_class_that_may_not_be_read(programs, here, pictures, mode):
    (pictures / "dog").chmod(mode)
    ended = programs.run(here, *FOLDER, "--data_dir=pictures")
    (pictures / "dog").chmod(0o755)
    assert_one_sentence(ended, "pictures/dog", "cannot be read: Permission denied")


@pytest.mark.parametrize("data_dir", ["", "pictures/cat", "gone"])
def test_folder_without_classes(programs, here, pictures, data_dir):
    ended = programs.run(here, *FOLDER, f"--data_dir={data_dir}")
    assert_one_sentence(ended, data_dir, "config.data.data_dir")


def test_broken_image(programs, here, pictures):
    (pictures / "dog" / "3.png").write_bytes(b"no image")
    ended = programs.run(here, *FOLDER, "--data_dir=pictures")
    assert_one_sentence(ended, "pictures/dog/3.png is not a readable image", "replace")


def test_images_of_different_sizes(programs, here, pictures):
    (pictures / "dog" / "3.png").write_bytes(encode_png(BLACK[:9]))
    ended = programs.run(here, *FOLDER, "--data_dir=pictures")
    assert_one_sentence(ended, "dog/3.png is 9x28", "config.data.image_size")


# -- work folder -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "kind"),
    [
        (DIGITS, "file"),
        pytest.param(DIGITS, "closed", marks=needs_permissions),
        pytest.param(SMOKE, "closed", marks=needs_permissions),
        slow(SMOKE, "file"),
    ],
)
def test_workdir_that_cannot_be_written(programs, here, command, kind):
    if kind == "file":
        (here / "base").write_text("not a folder")
    else:
        (here / "base").mkdir(mode=0o555)
    ended = programs.run(here, *command, "--workdir=base/run")
    reason = "base is a file" if kind == "file" else "Permission denied"
    assert_one_sentence(ended, "cannot write base/run", reason, "--workdir")
    assert os.listdir(here) == ["base"]


@needs_permissions
def test_run_that_may_not_be_read(programs, run):
    (run / "config.json").chmod(0)
    ended = programs.run(run.parent, *DIGITS, "--workdir=run")
    assert_one_sentence(ended, "cannot read run/config.json", "Permission denied")


def test_workdir_of_another_config(programs, run):
    before = contents(run)
    change = "--config.schedule.learning_rate=0.3"
    ended = programs.run(run.parent, *DIGITS, change, "--workdir=run")
    assert_one_sentence(
        ended, "schedule.learning_rate: 0.1 -> 0.3", "give the same config", "--workdir"
    )
    assert contents(run) == before


def test_workdir_of_an_ablation_with_other_options(programs, here):
    (here / "sweep" / "plain-8").mkdir(parents=True)
    (here / "sweep" / "plain-8" / "config.json").write_text('{"train": {"epochs": 7}}')
    before = contents(here)
    ended = programs.run(here, *SMOKE)
    assert_one_sentence(ended, "arm plain-8", "train.epochs: 7 -> 1", "--workdir")
    assert contents(here) == before


def test_workdir_with_other_data(programs, here, pictures):
    command = (*FOLDER, "--data_dir=pictures", "--workdir=run")
    assert programs.run(here, *command).code == 0
    (pictures / "cat" / "0.png").write_bytes(encode_png(BLACK + 200))
    before = contents(here)
    ended = programs.run(here, *command)
    assert_one_sentence(ended, "other data", "fingerprint", "--data_dir", "--workdir")
    assert contents(here) == before


@pytest.mark.parametrize("name", ["config.json", "provenance.json"])
def test_broken_record_of_a_run(programs, run, name):
    (run / name).write_text('{"half": ')
    ended = programs.run(run.parent, *DIGITS, "--workdir=run")
    assert_one_sentence(ended, f"run/{name} is not valid JSON", "delete it or restore")


def full_disk(here, size, *command):
    """Runs a program in a new, small file system, mounted for its eyes only."""
    mount = f'mount -t tmpfs -o size={size} none {here} && cd {here} && exec "$@"'
    return subprocess.run(
        ["unshare", "--map-root-user", "--mount", "sh", "-c", mount, "sh", *command],
        env=os.environ | {"PYTHONPATH": str(ROOT), "XLA_FLAGS": QUICK_TO_COMPILE},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("size", ["4k", "64k"])
@pytest.mark.slow
def test_full_disk(here, size):
    if full_disk(here, size, "true").returncode:
        pytest.skip("this machine lets no ordinary program mount a file system")
    command = [sys.executable, "-P", "-m", f"experiments.{DIGITS[0]}", *DIGITS[1:]]
    ended = full_disk(here, size, *command, "--workdir=run")
    ended = Ended(ended.returncode, ended.stdout, ended.stderr)
    assert_one_sentence(ended, "cannot write", "run", "No space left", "--workdir")


def test_file_larger_than_allowed(programs, here):
    ended = programs.run(here, *DIGITS, "--workdir=run", max_file_bytes=50_000)
    assert_one_sentence(ended, "cannot write", "run", "File too large", "--workdir")


# -- checkpoints and reports -----------------------------------------------------------


@pytest.mark.parametrize("workdir", ["gone", "."])
def test_evaluate_what_is_no_run(programs, here, workdir):
    ended = programs.run(here, "evaluate", f"--workdir={workdir}")
    assert_one_sentence(ended, f"{workdir} holds no run", "--workdir")


def test_evaluate_without_checkpoint(programs, run):
    shutil.rmtree(run / "checkpoints")
    ended = programs.run(run.parent, "evaluate", "--workdir=run")
    assert_one_sentence(ended, "no checkpoint folder", "run", "--workdir")


def test_evaluate_damaged_checkpoint(programs, run):
    for path in run.glob("checkpoints/*/state/**/*"):
        if path.is_file():
            os.truncate(path, path.stat().st_size // 2)
    before = contents(run)
    ended = programs.run(run.parent, "evaluate", "--workdir=run")
    assert_one_sentence(ended, "run holds no whole checkpoint", "damaged", "train")
    assert contents(run) == before


@pytest.mark.parametrize(
    ("weights", "key"), [("best", "keep_best"), ("ema", "ema_decay")]
)
def test_evaluate_weights_that_were_not_kept(programs, run, weights, key):
    ended = programs.run(
        run.parent, "evaluate", "--workdir=run", f"--weights={weights}"
    )
    assert_one_sentence(ended, "kept no", key)


@pytest.mark.parametrize("plan", [None, "{", "[]", "{}", NO_SPEC])
def test_report_without_a_plan(programs, here, plan):
    (here / "sweep").mkdir()
    if plan is not None:
        (here / "sweep" / "plan.json").write_text(plan)
    ended = programs.run(here, "report", "--workdir=sweep")
    way = "delete it or restore it" if plan == "{" else "--workdir"
    assert_one_sentence(ended, "plan.json", way)
    assert os.listdir(here / "sweep") == ["plan.json"] * (plan is not None)
