"""Whose folder a work folder is, before anything is written there."""

import json
import os

import pytest

from cnnjax.config import to_dict
from cnnjax.errors import UserError
from cnnjax.record_kinds import FILES_OF_RUN
from cnnjax.run.folder import RunFolder
from cnnjax.run.heartbeat import write_heartbeat
from tests.run.tiny import fit, tiny_run


@pytest.fixture(scope="module")
def run():
    return tiny_run()


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("plan.json", "{}", "the folder of an ablation.*--workdir"),
        ("metrics.jsonl", "", "the folder of one seed of a run.*--workdir"),
        ("config.json", '{"architectures": ["x"]}', "architectures is a list.*workdir"),
        ("config.json", '{"sections": {}}', "not that of a run.*be replaced"),
        ("config.json", "[]", "it is a list, not an object.*--workdir"),
        ("config.json", "{", "not valid JSON"),
    ],
)
def test_a_folder_of_something_else_is_left_alone(run, tmp_path, file, content, words):
    (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=words):
        RunFolder(tmp_path, run, "tiny")
    assert (tmp_path / file).read_text() == content


def test_a_run_that_has_only_its_config(run, tmp_path):
    """As a plan leaves it, or a kill before the second record."""
    config = to_dict(run.config)
    (tmp_path / "config.json").write_text(json.dumps(config))
    RunFolder(tmp_path, run, "tiny")
    config["train"]["steps"] = 7
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"train\.steps: 7 -> 9"):
        RunFolder(tmp_path, run, "tiny")


def test_other_files_do_no_harm(run, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    RunFolder(tmp_path, run, "tiny").write_records()
    assert (tmp_path / "notes.txt").read_text() == "mine"


MINE = {
    "an object": '{"chapters": [1, 2]}',
    "a list": "[1, 2]",
    "no JSON": "my own notes",
    "nothing": "",
}


@pytest.mark.parametrize("content", MINE)
@pytest.mark.parametrize("file", FILES_OF_RUN)
def test_a_file_of_the_user_is_never_replaced(run, tmp_path, file, content):
    """A name of ours, in a folder that is not."""
    (tmp_path / file).write_text(MINE[content])
    with pytest.raises(UserError, match=rf"has a {file} that no run wrote .*--workdir"):
        RunFolder(tmp_path, run, "tiny")
    with pytest.raises(UserError, match=rf"has a {file} that no run wrote"):
        fit(run, tmp_path)
    assert (tmp_path / file).read_text() == MINE[content]
    assert os.listdir(tmp_path) == [file]


@pytest.mark.parametrize(
    "file",
    ["seed-0/metrics.jsonl", "checkpoints/7/model.pt", "plots/mine.png", "seed-0"],
)
def test_a_folder_of_the_user_is_never_written_into(run, tmp_path, file):
    (tmp_path / file).parent.mkdir(exist_ok=True, parents=True)
    (tmp_path / file).write_text("mine")
    name = file.split("/")[0]
    with pytest.raises(UserError, match=rf"has a {name} that no run wrote .*--workdir"):
        fit(run, tmp_path)
    assert (tmp_path / file).read_text() == "mine"
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [tmp_path / file]


def test_folders_that_no_run_writes_into_do_no_harm(run, tmp_path):
    """Nor do empty ones: checkpoints may be a link to a larger disk."""
    disk = tmp_path / "disk"
    disk.mkdir()
    folder = tmp_path / "run"
    (folder / "seed-999").mkdir(parents=True)
    (folder / "seed-999" / "mine").write_text("mine")
    (folder / "plots").mkdir()
    (folder / "checkpoints").symlink_to(disk)
    RunFolder(folder, run, "tiny").write_records()
    (disk / "7").mkdir()
    RunFolder(folder, run, "tiny")


def test_what_a_killed_start_left_is_ours(run, tmp_path):
    """A heartbeat comes first, then the records, then reports."""
    write_heartbeat(tmp_path, "starting")
    RunFolder(tmp_path, run, "tiny").write_records()
    (tmp_path / "config.json").unlink()
    (tmp_path / "seed-0").mkdir()  # as of runs that are taken from a report
    (tmp_path / "seed-0" / "metrics.jsonl").write_text("")
    RunFolder(tmp_path, run, "tiny").write_records()
    for name in ("report.md", "crash.txt"):
        (tmp_path / name).write_text("ours, beside config.json")
    RunFolder(tmp_path, run, "tiny")
