"""Paths on the command line and in configs: `~` and relative folders."""

import os

import pytest

from cnnjax import cli
from cnnjax.config import digest, to_dict
from cnnjax.errors import UserError
from configs import base


@pytest.mark.parametrize(
    ("given", "stored"), [("", ""), ("sets", "HERE/sets"), ("~/sets", "HOME/sets")]
)
def test_stored_paths_do_not_depend_on_the_current_folder(
    tmp_path, monkeypatch, given, stored
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/HOME")
    config = base.get_config()
    config.data.data_dir = given
    expected = stored.replace("HERE", os.getcwd()).replace("HOME", "/HOME")
    assert to_dict(config)["data"]["data_dir"] == expected
    assert config.data.data_dir == given
    assert digest(to_dict(config)) == digest(base.get_config())


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("--workdir=~/runs", "--workdir=/HOME/runs"),
        ("--any.flag=~", "--any.flag=/HOME"),
        ("--set=data.data_dir=~/sets", "--set=data.data_dir=/HOME/sets"),
        ("--config=~/a.py", "--config=/HOME/a.py"),
        ("~/runs", "/HOME/runs"),
        ("--workdir=./~/runs", "--workdir=./~/runs"),
        ("--workdir=a~b", "--workdir=a~b"),
        ("--workdir=~/a=~\nb", "--workdir=/HOME/a=~\nb"),
    ],
)
def test_the_home_folder(monkeypatch, word, meant):
    monkeypatch.setenv("HOME", "/HOME")
    assert cli._at_home(word) == meant


def test_nobody_has_this_home():
    with pytest.raises(UserError, match="home folder of ~nobody-here is not known"):
        cli._at_home("--workdir=~nobody-here/runs")
