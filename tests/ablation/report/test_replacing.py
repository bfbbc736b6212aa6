"""A published folder is replaced as a whole, and nothing else is ever deleted."""

import dataclasses
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from cnnjax import lock
from cnnjax.ablation.judge.collect import collect
from cnnjax.ablation.report import definition
from cnnjax.ablation.report import publish as publishing
from cnnjax.ablation.report.publish import publish, publish_atlas
from cnnjax.ablation.report.replacing import alone, replacing
from cnnjax.errors import UserError
from cnnjax.records import read_json, write_json
from tests.ablation.small_degradation import get_ablation
from tests.ablation.synthetic_sweep import write_sweep


def published(folder, text="old"):
    (folder / "plots").mkdir(parents=True)
    (folder / "report.md").write_text(text)
    (folder / "plots/error.png").write_text(text)
    return folder


def write(folder):
    (folder / "report.md").write_text("new")
    (folder / "plots").mkdir()
    (folder / "plots/error.png").write_text("new")


def texts(folder):
    return {p.name: p.read_text() for p in folder.rglob("*.*")}


def test_the_new_one_takes_the_place(tmp_path):
    (published(tmp_path / "a-laptop") / "results.csv").write_text("gone")
    with replacing(tmp_path, "a-laptop") as new:
        write(new)
        assert texts(tmp_path / "a-laptop")["report.md"] == "old"
    assert texts(tmp_path / "a-laptop") == {"report.md": "new", "error.png": "new"}
    assert os.listdir(tmp_path) == ["a-laptop"]
    assert os.access(tmp_path / "a-laptop", os.R_OK | os.X_OK)


def test_with_a_failure_the_old_one_stays(tmp_path):
    published(tmp_path / "a-laptop")

    def fail():
        with replacing(tmp_path, "a-laptop") as new:
            write(new)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert texts(tmp_path / "a-laptop")["report.md"] == "old"
    assert os.listdir(tmp_path) == ["a-laptop"]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("at", range(6))
def test_a_kill_at_any_moment_loses_nothing(tmp_path, monkeypatch, at):
    """Every change of the file system from there on does not happen."""
    published(tmp_path / "a-laptop")
    calls = []

    def dying(name):
        real = getattr(os, name)

        def call(*arguments, **options):
            calls.append(name)
            if len(calls) > at:
                raise Killed
            return real(*arguments, **options)

        return call

    with monkeypatch.context() as patch:
        for name in ("rename", "unlink", "rmdir"):
            patch.setattr(os, name, dying(name))
        with pytest.raises(Killed), replacing(tmp_path, "a-laptop") as new:
            write(new)
    found = [texts(folder) for folder in tmp_path.iterdir()]
    whole = [{"report.md": word, "error.png": word} for word in ("old", "new")]
    assert any(text in found for text in whole)
    # The next one needs no help and leaves nothing behind.
    with replacing(tmp_path, "a-laptop") as new:
        write(new)
    assert os.listdir(tmp_path) == ["a-laptop"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda f: f.mkdir(), "no report.md"),
        (lambda f: (published(f) / "notes.txt").touch(), "notes.txt"),
        (lambda f: (published(f) / "plots/mine.svg").touch(), "plots/mine.svg"),
        (lambda f: (published(f) / "results.csv").mkdir(), "results.csv"),
        (lambda f: (published(f) / "results.csv").symlink_to("/dev/null"), "results"),
        (lambda f: f.symlink_to(published(f.with_name("elsewhere"))), "no folder"),
        (lambda f: f.write_text("a file"), "no folder"),
        (lambda f: f.symlink_to("nowhere"), "no folder"),
    ],
)
def test_what_publish_did_not_write_is_never_touched(tmp_path, make, words):
    make(tmp_path / "a-laptop")
    before = sorted(os.walk(tmp_path))
    with (
        pytest.raises(UserError, match=rf"no report that publish wrote.*{words}"),
        replacing(tmp_path, "a-laptop"),
    ):
        pass
    assert sorted(os.walk(tmp_path)) == before


@pytest.mark.parametrize("name", ["../../precious", "/tmp/precious", ".", "", "a\nb"])
@pytest.mark.parametrize("key", ["ablation", "scale"])
def test_a_name_in_a_record_is_never_a_path(tmp_path, name, key):
    runs = write_sweep(tmp_path / "runs", seeds=(0, 1))
    precious = published(tmp_path / "precious-laptop")
    plan = read_json(runs / "plan.json")
    spec = plan["spec"]
    if key == "scale":
        spec["ablation"]["scales"][name] = spec["ablation"]["scales"][spec["scale"]]
        spec["scale"] = name
    else:
        spec["ablation"]["name"] = name
    write_json(runs / "plan.json", plan)
    repository = tmp_path / "repository"
    (repository / "docs/results").mkdir(parents=True)
    (repository / "docs/first_verdict.md").write_text("text")
    with pytest.raises(UserError):
        publish(runs, repository)
    assert texts(precious)["report.md"] == "old"
    assert not list((repository / "docs/results").iterdir())


def test_a_report_needs_no_block_of_its_own(tmp_path, monkeypatch):
    # What is written does not matter here, and drawing takes seconds.
    monkeypatch.setattr(
        publishing, "_write", lambda entry, runs, new: write(new) or collect(runs)
    )
    runs = write_sweep(tmp_path / "runs", seeds=(0, 1))
    old = published(tmp_path / "docs/results/degradation-laptop")
    (tmp_path / "docs/first_verdict.md").write_text("text")
    assert publish(runs, tmp_path) == old
    assert texts(old)["report.md"] != "old"
    assert (tmp_path / "docs/first_verdict.md").read_text() == "text"


def publish_meanwhile(monkeypatch, second):
    """Lets a second command publish while the first writes its folder."""
    said, left = [], [second]

    def write_and_wait(entry, runs, new):
        write(new)
        if left:
            call = left.pop()
            with ThreadPoolExecutor(1) as others, pytest.raises(UserError) as refused:
                others.submit(call).result()
            said.append(str(refused.value))
        (new / "plan.json").write_text("{}")
        return collect(runs)

    monkeypatch.setattr(publishing, "_write", write_and_wait)
    return said


@pytest.mark.parametrize(
    "second", ["publish", "publish_atlas", "refresh", "state_change", "models"]
)
def test_two_at_a_time_never_mix(tmp_path, monkeypatch, second):
    """The first to end took the half-written folder of the other for a leftover."""
    runs = write_sweep(tmp_path / "runs/degradation/laptop", seeds=(0, 1))
    (tmp_path / "docs/results").mkdir(parents=True)
    page = tmp_path / "docs/first_verdict.md"
    page.write_text(
        "<!-- begin degradation-laptop -->\n<!-- end degradation-laptop -->\n"
    )

    def another():
        if second == "publish":
            return publish(runs, tmp_path)
        if second == "publish_atlas":
            return publish_atlas(tmp_path / "runs", "laptop", tmp_path, ["degradation"])
        if second == "refresh":
            return definition.refresh(tmp_path)
        if second == "state_change":
            return definition.state_change(tmp_path, ["degradation-laptop"], "rounding")
        with alone(tmp_path):  # as whoever writes a block of a page
            raise AssertionError

    said = publish_meanwhile(monkeypatch, another)
    folder = publish(runs, tmp_path)
    assert "is being published into by this process: wait for it" in said[0]
    assert set(texts(folder)) == {"report.md", "error.png", "plan.json"}
    assert os.listdir(tmp_path / "docs/results") == ["degradation-laptop"]
    assert "seeds" in page.read_text()


@pytest.mark.parametrize("command", ["publish", "publish_atlas", "refresh"])
def test_the_lists_are_written_under_the_lock(tmp_path, monkeypatch, command):
    """No second command comes between a report and the pages that list it."""
    monkeypatch.setattr(
        publishing, "_write", lambda entry, runs, new: write(new) or collect(runs)
    )
    runs = write_sweep(tmp_path / "runs/degradation/laptop", seeds=(0, 1))
    (tmp_path / "docs").mkdir()
    pages = {"degradation-laptop": "first_verdict.md", "atlas-laptop": "atlas.md"}
    for name, page in pages.items():
        marks = f"<!-- begin {name} -->\n<!-- end {name} -->\n"
        (tmp_path / "docs" / page).write_text(marks)
    held = []
    refresh, blocks = definition.refresh, definition.expected_blocks

    def refresh_if_held(repository):
        held.append(lock.held(tmp_path / "docs/results" / lock.LOCK))
        return refresh(repository)

    def blocks_if_held(repository):
        held.append(lock.held(tmp_path / "docs/results" / lock.LOCK))
        return blocks(repository)

    monkeypatch.setattr(definition, "expected_blocks", blocks_if_held)
    if command == "refresh":
        definition.refresh(tmp_path)
    else:
        monkeypatch.setattr(definition, "refresh", refresh_if_held)
    if command == "publish":
        publish(runs, tmp_path)
    if command == "publish_atlas":
        publish_atlas(tmp_path / "runs", "laptop", tmp_path, ["degradation"])
    assert held
    assert all(held)
    assert not (tmp_path / "docs/results" / lock.LOCK).exists()


def test_one_that_cannot_be_published_leaves_the_others(tmp_path, monkeypatch):
    monkeypatch.setattr(
        publishing, "_write", lambda entry, runs, new: write(new) or collect(runs)
    )
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/atlas.md").write_text(
        "<!-- begin atlas-laptop -->\n<!-- end atlas-laptop -->\n"
    )
    for name in ("degradation", "dense"):
        ablation = dataclasses.replace(get_ablation(), name=name)
        folder = tmp_path / "runs" / name / "laptop"
        write_sweep(folder, seeds=(0, 1), ablation=ablation)
    shutil.copytree(tmp_path / "runs/dense", tmp_path / "runs/head")
    mine = published(tmp_path / "docs/results/dense-laptop") / "notes.txt"
    mine.touch()
    names = ["degradation", "dense", "head", "inception"]
    folders, left = publish_atlas(tmp_path / "runs", "laptop", tmp_path, names)
    assert [folder.name for folder in folders] == ["degradation-laptop"]
    assert mine.exists()
    assert list(left) == ["dense", "head", "inception"]
    assert "notes.txt" in left["dense"]
    assert left["head"] == "its folder holds 'dense' at scale 'laptop'"
    assert left["inception"] == "it is not finished"
