"""Which commit is recorded as that of the code."""

import os
import subprocess

import pytest

from cnnjax.run import provenance

WHO = ("-c", "user.name=me", "-c", "user.email=me@example.org")


def git(folder, *words):
    own = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    command = ["git", *WHO, "-C", str(folder), *words]
    return subprocess.run(
        command, env=own, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A repository of a user, in which our file lies but is not tracked."""
    git(tmp_path, "init", "--quiet")
    git(tmp_path, "commit", "--quiet", "--allow-empty", "--message", "theirs")
    file = tmp_path / "packages" / "provenance.py"
    file.parent.mkdir()
    file.write_text("")
    monkeypatch.setattr(provenance, "__file__", str(file))
    return tmp_path


def test_the_repository_around_an_installed_package_is_not_that_of_the_code(project):
    assert provenance.git_commit() is None
    (project / ".gitignore").write_text("packages\n")
    assert provenance.git_commit() is None


def test_the_repository_of_the_code(project):
    git(project, "add", "packages")
    git(project, "commit", "--quiet", "--message", "ours")
    head = git(project, "rev-parse", "HEAD")
    assert provenance.git_commit() == head
    (project / "packages" / "provenance.py").write_text("changed")
    assert provenance.git_commit() == f"{head}-dirty"


def test_variables_of_a_hook_name_no_other_repository(project, tmp_path, monkeypatch):
    git(project, "add", "packages")
    git(project, "commit", "--quiet", "--message", "ours")
    other = tmp_path / "other"
    other.mkdir()
    git(other, "init", "--quiet")
    git(other, "commit", "--quiet", "--allow-empty", "--message", "another")
    monkeypatch.setenv("GIT_DIR", str(other / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(other))
    monkeypatch.setenv("GIT_INDEX_FILE", str(other / ".git" / "index"))
    assert provenance.git_commit() == git(project, "rev-parse", "HEAD")


def test_outside_of_git_there_is_none(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "provenance.py"))
    assert provenance.git_commit() is None
