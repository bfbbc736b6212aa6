"""Whose folder a work folder is, before anything is written there."""

import json

import pytest

from cnnjax.config import to_dict
from cnnjax.errors import UserError
from cnnjax.run.folder import RunFolder
from tests.run.tiny import tiny_run


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
