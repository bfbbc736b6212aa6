"""What a net is fed with is that of its run, or the folder is refused."""

import shutil

import pytest

from cnnjax.errors import UserError
from cnnjax.records import read_json, write_json
from cnnjax.run.folder import PREPROCESSING, RunFolder
from cnnjax.run.trained.load import load_run
from cnnjax.seal import SEAL, result_digest
from tests.run.tiny import tiny_run


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fed") / "mine"
    RunFolder(folder, tiny_run(), "mine").write_records()
    return folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "mine")


def none(record):
    plain = {"standardize": "none", "mean": 0.0, "std": 1.0}
    record["preprocessing"] |= plain


def grey(record):
    record["preprocessing"]["to_grey"] = True


def names(record):
    record["class_names"] = record["class_names"][::-1]


def fewer(record):
    record["class_names"] = record["class_names"][:-1]


def size(record):
    record["preprocessing"]["height"] = 6


def mean(record):
    record["preprocessing"]["mean"][0] += 0.01


EDITS = {
    none: "standardize none, not channel",
    grey: "to_grey True, config.data.channels 0",
    names: "other class names than in data.json",
    fewer: "other class names than in data.json",
    size: r"images \[6, 4, 3\], not \[4, 4, 3\] as in data.json",
}


def edited(folder, edit, seal):
    """With a digest anew, or as earlier versions, without one."""
    record = read_json(folder / PREPROCESSING)
    assert record.pop(SEAL) == result_digest(record)
    edit(record)
    write_json(folder / PREPROCESSING, seal(record))


def resealed(record):
    return record | {SEAL: result_digest(record)}


@pytest.mark.parametrize("seal", [resealed, dict])
@pytest.mark.parametrize("edit", EDITS)
def test_it_is_what_the_other_files_say(folder, edit, seal):
    assert load_run(folder, "initial").class_names
    edited(folder, edit, seal)
    with pytest.raises(UserError, match=rf"{PREPROCESSING} is not of .*{EDITS[edit]}"):
        load_run(folder, "initial")


@pytest.mark.parametrize("edit", [mean, *EDITS])
def test_an_edit_without_another_digest_is_damage(folder, edit):
    digest = read_json(folder / PREPROCESSING)[SEAL]
    edited(folder, edit, lambda record: record | {SEAL: digest})
    with pytest.raises(UserError, match=r"\(it was edited or damaged\): restore it"):
        load_run(folder, "initial")


def test_without_data_json_and_digest_as_earlier_versions(folder):
    (folder / "data.json").unlink()
    edited(folder, mean, dict)
    assert load_run(folder, "initial").preprocess.standardize == "channel"
