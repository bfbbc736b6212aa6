"""A folder of a program: only what it wrote there is replaced."""

import json
import os

import pytest

from cnnjax.errors import UserError
from cnnjax.lock import LOCK, TakenError
from cnnjax.process import identity
from cnnjax.records import read_json, write_json, write_text
from cnnjax.studies.own_folder import RECORD, own_folder

ASKED = {"split": "test", "tops": [1, 5]}


def write(folder, asked=ASKED, program="predict", **files):
    with own_folder(folder, program, asked) as new:
        for name, text in (files or {"scores": "1"}).items():
            write_text(new / f"{name}.csv", text)


def content(folder):
    return {path.name: path.read_text() for path in sorted(folder.iterdir())}


def texts(folder):
    return {name: text for name, text in content(folder).items() if name != RECORD}


@pytest.fixture
def out(tmp_path):
    write(tmp_path / "out", scores="1", confusion="2")
    return tmp_path / "out"


def test_files_of_an_earlier_start_are_replaced(out):
    write(out, scores="3", more="4")
    assert texts(out) == {"scores.csv": "3", "more.csv": "4"}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda out: (out / "notes.txt").write_text("x"), "holds notes.txt, which is"),
        (lambda out: (out / "scores.csv").write_text("x"), "scores.csv was changed"),
        (lambda out: (out / "confusion.csv").mkdir(), "confusion.csv was changed"),
        (
            lambda out: (out / "confusion.csv").symlink_to(out / "scores.csv"),
            "confusion.csv was changed",
        ),
        (lambda out: (out / "plots").mkdir(), "holds plots, which is not ours"),
        (lambda out: (out / RECORD).write_text("mine"), "holds confusion.csv, which"),
        (lambda out: (out / RECORD).unlink(), "holds confusion.csv, which is not ours"),
    ],
)
def test_what_others_wrote_stays(out, change, words):
    if "confusion.csv was" in words:
        (out / "confusion.csv").unlink()
    change(out)
    before = sorted(os.listdir(out)), (out / "scores.csv").read_text()
    with pytest.raises(UserError, match=f"{words}.*a new folder by --out"):
        write(out)
    assert (sorted(os.listdir(out)), (out / "scores.csv").read_text()) == before


def test_a_record_of_a_person_stays(tmp_path):
    (tmp_path / RECORD).write_text("mine")
    with pytest.raises(UserError, match=f"holds {RECORD}, which is not ours"):
        write(tmp_path)
    assert content(tmp_path) == {RECORD: "mine"}


@pytest.mark.parametrize(
    ("asked", "program", "words"),
    [
        ({"split": "train", "tops": [1, 5]}, "predict", "for 'split' 'test', not 'tra"),
        ({"split": "test"}, "predict", r"for 'tops' \[1, 5\], not None"),
        (ASKED, "find_lr", "holds what 'predict' wrote"),
    ],
)
def test_what_was_made_for_something_else_stays(out, asked, program, words):
    before = content(out)
    with pytest.raises(UserError, match=words):
        write(out, asked, program)
    assert content(out) == before


def fail_in(folder):
    with own_folder(folder, "predict", ASKED) as new:
        write_text(new / "scores.csv", "half")
        raise RuntimeError


def test_a_failure_leaves_everything_as_it_was(out, tmp_path):
    before = content(out)
    for folder in (out, tmp_path / "new" / "one"):
        with pytest.raises(RuntimeError):
            fail_in(folder)
    assert content(out) == before
    assert not (tmp_path / "new").exists()


def test_what_a_kill_leaves_is_replaced(out):
    """Before the files change, and between two of them."""
    record = read_json(out / RECORD)
    (out / ".unfinished-abc").mkdir()
    (out / ".unfinished-abc" / "scores.csv").write_text("half")
    write_json(out / RECORD, record | {"unfinished": ".unfinished-abc"})
    write(out, scores="3", confusion="4")
    assert texts(out) == {"scores.csv": "3", "confusion.csv": "4"}
    files = read_json(out / RECORD)["files"]
    both = {name: files[name] + record["files"][name] for name in files}
    (out / "scores.csv").write_text("1")
    write_json(out / RECORD, record | {"files": both})
    write(out, scores="5")
    assert texts(out) == {"scores.csv": "5"}


@pytest.mark.parametrize("name", ["precious", "../precious", ".unfinished-link"])
def test_a_record_of_others_removes_nothing(out, tmp_path, name):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "x").write_text("x")
    if name == ".unfinished-link":
        (out / name).symlink_to(precious)
    write_json(out / RECORD, read_json(out / RECORD) | {"unfinished": name})
    with pytest.raises(UserError, match="is not ours"):
        write(out)
    assert content(precious) == {"x": "x"}


def test_one_writes_at_a_time(out):
    before = content(out)
    (out / LOCK).write_text(json.dumps(identity(os.getppid()) | {"key": "another"}))
    with pytest.raises(TakenError, match=r"is being written by .*another --out"):
        write(out)
    (out / LOCK).unlink()
    assert content(out) == before


def test_files_that_appear_meanwhile_stay(out):
    with (
        pytest.raises(UserError, match=r"notes\.txt"),
        own_folder(out, "predict", ASKED),
    ):
        (out / "notes.txt").write_text("mine")
    assert texts(out) == {"scores.csv": "1", "confusion.csv": "2", "notes.txt": "mine"}
