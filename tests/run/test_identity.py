"""A record says of which run it is, and readers compare."""

import errno
import os
import shutil

import pytest

from cnnjax import load_run, records
from cnnjax.ablation.report.tables import flat
from cnnjax.devices.available import devices
from cnnjax.errors import UserError
from cnnjax.files import read_regular
from cnnjax.interrupt import Stopped
from cnnjax.records import read_json, write_json
from cnnjax.run import loop, provenance, single
from cnnjax.run.folder import RunFolder
from cnnjax.seal import SEAL, broken, result_digest, sealed
from tests.run.tiny import fit, rows_of, tiny_run

COMPILED = []


@pytest.fixture(scope="module")
def run():
    return tiny_run(seeds__count=2, train__steps_per_dispatch=2)


@pytest.fixture(autouse=True)
def compiled_once(run, monkeypatch):
    compile_programs = loop.compile_programs

    def lookup(wanted, state, shared=None):
        if wanted is not run:
            return compile_programs(wanted, state, shared)
        if not COMPILED:
            COMPILED.append(compile_programs(run, state))
        return COMPILED[0]

    monkeypatch.setattr(loop, "compile_programs", lookup)
    monkeypatch.setattr(single, "compile_programs", lookup)
    monkeypatch.setattr(single, "set_up", lambda config: run)


@pytest.fixture(scope="module")
def whole(run, tmp_path_factory):
    return tmp_path_factory.mktemp("runs") / "whole"


@pytest.fixture
def folder(run, whole, tmp_path):
    """A copy of a finished run."""
    if not whole.exists():
        fit(run, whole)
    return shutil.copytree(whole, tmp_path / "run")


def as_before(path):
    """A result as earlier versions wrote it."""
    new = ("commits", "digest", "metrics_digest")
    write_json(path, {k: v for k, v in read_json(path).items() if k not in new})


# -- results ---------------------------------------------------------------------------


def test_digests_are_of_the_text_and_of_the_metrics(folder):
    result = read_json(folder / "seed-0" / "result.json")
    metrics = folder / "seed-0" / "metrics.jsonl"
    assert broken(result, metrics) is None
    assert sealed(result, metrics) == result
    for change in ({"seed": 1}, {"more": None}, {"final": {}}):
        assert "result.json was edited" in broken(result | change, metrics)
    assert "metrics.jsonl is not" in broken(result, folder / "seed-1/metrics.jsonl")
    assert broken(result, folder / "gone.jsonl") is None
    assert broken({"status": "done"}, metrics) is None  # of an earlier version
    with metrics.open("a") as file:
        file.write('{"kind": "tra')  # what a kill left is no row
    assert broken(result, metrics) is None


def test_results_of_earlier_versions_are_still_read(run, folder):
    for seed in (0, 1):
        as_before(folder / f"seed-{seed}" / "result.json")
    assert [r["seed"] for r in fit(run, folder).results] == [0, 1]
    assert load_run(folder, "last", 1).test_error is not None


def copy_whole_seed(folder):
    shutil.rmtree(folder / "seed-1")
    shutil.copytree(folder / "seed-0", folder / "seed-1")
    return "seed 0, not 1"


def copy_result(folder):
    shutil.copy(folder / "seed-0/result.json", folder / "seed-1/result.json")
    return "seed 0, not 1"


def copy_metrics(folder):
    shutil.copy(folder / "seed-0/metrics.jsonl", folder / "seed-1/metrics.jsonl")
    return r"metrics\.jsonl is not the file"


def edit(folder):
    path = folder / "seed-1" / "result.json"
    result = read_json(path)
    result["final"]["test"]["error"] = 1.5
    write_json(path, result)
    return "was edited or damaged"


def of_another_config(folder):
    path = folder / "seed-1" / "result.json"
    other = read_json(path) | {"config_hash": "0123456789ab"}
    write_json(path, sealed(other, path.parent / "metrics.jsonl"))
    (folder / "config.json").unlink()
    return "config_hash 0123456789ab"


def of_other_data(folder):
    path = folder / "seed-1" / "result.json"
    other = read_json(path) | {"data_fingerprint": "0123456789ab"}
    write_json(path, sealed(other, path.parent / "metrics.jsonl"))
    return "data_fingerprint 0123456789ab"


def nonsense(folder):
    path = folder / "seed-1" / "result.json"
    result = read_json(path)
    result["final"]["test"]["error"] = 795
    write_json(path, sealed(result, path.parent / "metrics.jsonl"))
    return "error is 795, not a number from 0 to 100"


FOREIGN = [
    *(copy_whole_seed, copy_result, copy_metrics, edit),
    *(of_another_config, of_other_data, nonsense),
]


@pytest.mark.parametrize("exchange", FOREIGN)
def test_a_foreign_or_changed_result_is_refused(run, folder, exchange):
    words = exchange(folder)
    before = {p: p.read_bytes() for p in folder.rglob("*.json*")}
    with pytest.raises(UserError, match=words):
        fit(run, folder)
    assert {p: p.read_bytes() for p in folder.rglob("*.json*")} == before
    if exchange is not of_another_config:  # which took config.json away
        with pytest.raises(UserError, match=words):
            load_run(folder, "last", 1)


def test_a_failure_never_replaces_a_result(run, folder):
    path = folder / "seed-1" / "result.json"
    own = RunFolder(folder, run, "tiny")
    done = read_json(path)
    crashed = [own.crashed(seed, "it crashed") for seed in run.seeds]
    (folder / "seed-0" / "result.json").unlink()
    first, second = own.write_results(crashed)
    assert (first["reason"], second) == ("it crashed", done)
    assert read_json(path) == done
    path.write_text("{ damaged")
    own.write_results(crashed)
    assert path.read_text() == "{ damaged"
    # A crash is replaced, by a later one too.
    later = [own.crashed(0, "again")]
    assert own.write_results(later)[0]["reason"] == "again"


# -- checkpoints -----------------------------------------------------------------------


def test_a_renamed_checkpoint_is_not_of_its_name(run, whole, tmp_path):
    """Step 3 of 9, called 9: it was 'done' without training."""
    with pytest.raises(Stopped):
        fit(run, tmp_path, stop_at=3)
    folder = tmp_path / "checkpoints"
    (folder / "3").rename(folder / "9")
    with pytest.raises(UserError, match="no whole checkpoint"):
        load_run(tmp_path, "last", 0)
    resumed = fit(run, tmp_path)
    assert resumed.shown.first_step == 0
    assert any("damaged (it is of step 3)" in words for words in resumed.warnings)
    (aside,) = (folder / "damaged").iterdir()
    assert aside.name.startswith("9-")
    assert resumed.results[0]["step"] == 9
    assert rows_of(tmp_path)[0]["step"] == 3


def test_checkpoints_of_another_config_are_no_weights_of_this(folder):
    config = read_json(folder / "config.json")
    config["optimizer"]["momentum"] = 0.5
    write_json(folder / "config.json", config)
    for seed in (0, 1):
        (folder / f"seed-{seed}" / "result.json").unlink()
    with pytest.raises(UserError, match=r"another config than .*momentum"):
        load_run(folder, "last", 0)


# -- a net that is loaded --------------------------------------------------------------

OTHER = "0123456789abcdef"


def say_other_data(folder, *files):
    """Lets files of a cell be those of a training of the same config on other data."""
    for name in files:
        path = folder / name
        record = read_json(path)
        if name == "provenance.json":
            record["data"]["fingerprint"] = OTHER
        else:
            record["data_fingerprint"] = OTHER
        if name == "preprocessing.json":
            record[SEAL] = result_digest(record)
        if name.endswith("result.json"):
            record = sealed(record, path.parent / "metrics.jsonl")
        write_json(path, record)


RECORDS = ("provenance.json", "preprocessing.json", "seed-0/result.json")
MIXED = {
    "all but the checkpoints": (RECORDS, r"checkpoints.9 is not of this run"),
    "the result": (RECORDS[2:], r"seed-0.result\.json is not of this run"),
    "what images become": (RECORDS[1:2], r"preprocessing\.json is not of this run"),
    "the provenance": (RECORDS[:1], r"preprocessing\.json is not of this run"),
}


@pytest.mark.parametrize("case", MIXED)
def test_files_of_trainings_on_different_data_are_no_net(folder, case):
    """One config on two data folders: nothing but the fingerprint differs."""
    files, words = MIXED[case]
    say_other_data(folder, *files)
    with pytest.raises(UserError, match=rf"{words} \(data_fingerprint .*, not "):
        load_run(folder, "last", 0)
    (folder / "seed-0" / "result.json").unlink()
    if case != "the result":
        with pytest.raises(UserError, match=words):
            load_run(folder, "last", 0)


def test_images_are_never_prepared_as_for_another_run(folder):
    say_other_data(folder, "preprocessing.json")
    with pytest.raises(UserError, match=r"preprocessing\.json is not of this run"):
        load_run(folder, "initial", 0)
    record = read_json(folder / "preprocessing.json")
    changed = record | {
        "config_hash": "0123456789ab",
        "data_fingerprint": read_json(folder / "provenance.json")["data"][
            "fingerprint"
        ],
    }
    changed[SEAL] = result_digest(changed)
    write_json(folder / "preprocessing.json", changed)
    with pytest.raises(UserError, match=r"\(config_hash 0123456789ab, not "):
        load_run(folder, "last", 0)


def test_files_that_say_nothing_of_their_run_are_still_read(run, folder):
    """As earlier versions wrote them."""
    record = read_json(folder / "preprocessing.json")
    old = {key: record[key] for key in ("class_names", "preprocessing")}
    write_json(folder / "preprocessing.json", old)
    for seed in (0, 1):
        path = folder / f"seed-{seed}" / "result.json"
        kept = {k: v for k, v in read_json(path).items() if not k.startswith("data_")}
        write_json(path, kept)
        as_before(path)
    assert load_run(folder, "last", 1).test_error is not None


# -- who trained it --------------------------------------------------------------------


def test_each_commit_stays_with_the_steps_that_it_trained(run, tmp_path, monkeypatch):
    def trained_by(commit, stop_at=None):
        monkeypatch.setattr(provenance, "git_commit", lambda: commit)
        if stop_at is None:
            return fit(run, tmp_path).results[1]["commits"]
        with pytest.raises(Stopped):
            fit(run, tmp_path, stop_at)
        return read_json(tmp_path / "provenance.json")["commits"]

    machine = {"processor": "this one", "devices": sorted(set(devices()))}
    monkeypatch.setattr(provenance, "processor", lambda: "this one")
    first = [{"commit": "a", "step": 0, **machine}]
    assert trained_by("a", stop_at=3) == first
    assert trained_by("a", stop_at=5) == first
    # Where the file is lost, the checkpoint still tells.
    (tmp_path / "provenance.json").unlink()
    both = [*first, {"commit": "b", "step": 5, **machine}]
    assert trained_by("b") == both
    assert read_json(tmp_path / "provenance.json")["commits"] == both
    assert read_json(tmp_path / "seed-0" / "result.json")["commits"] == both


def test_a_run_of_an_earlier_version_names_its_commit(run, tmp_path):
    assert provenance.earlier_commits({}) == []
    old = provenance.earlier_commits({"git_commit": "old"})
    machine = {"processor": "p", "devices": ["cpu:cpu"]}
    new = {"git_commit": "new", **machine}
    assert provenance.commits_from(old, 40, new) == [
        {"commit": "old", "step": 0},
        {"commit": "new", "step": 40, **machine},
    ]
    # What was trained after the checkpoint is trained again.
    assert provenance.commits_from(old, 0, new) == [
        {"commit": "new", "step": 0, **machine}
    ]
    # Which machine it was is not known: the commit is the same.
    assert provenance.commits_from(old, 40, new | {"git_commit": "old"}) == old


def test_each_machine_stays_with_the_steps_that_it_trained():
    first = {"git_commit": "a", "processor": "p", "devices": ["cpu:cpu"]}
    start = provenance.commits_from([], 0, first)
    assert provenance.commits_from(start, 5, first) == start
    for elsewhere in ({"processor": "q"}, {"devices": ["gpu:H100"]}):
        both = provenance.commits_from(start, 5, first | elsewhere)
        assert [entry["step"] for entry in both] == [0, 5]
        assert both[1] == both[0] | elsewhere | {"step": 5}
    text = flat(
        {"commits": provenance.commits_from(start, 5, first | {"processor": "q"})}
    )
    assert text == {"commits": "a from step 0 on p, a from step 5 on q"}
    assert flat({"commits": start}) == {"commits": "a from step 0"}


# -- the folder ------------------------------------------------------------------------


def test_a_folder_that_vanishes_is_a_failure(run, tmp_path, monkeypatch):
    save = loop.Loop.save

    def save_and_lose(self):
        save(self)
        self.checkpoints.wait()
        if self.step == 9:
            shutil.rmtree(tmp_path / "run")

    monkeypatch.setattr(loop.Loop, "save", save_and_lose)
    with pytest.raises(UserError, match=r"run was in use .* was moved or removed"):
        fit(run, tmp_path / "run")


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE])
@pytest.mark.parametrize(
    "name", ["config.json", "provenance.json", "seed-1/result.json"]
)
def test_what_cannot_be_read_now_ends_the_start(run, folder, name, number, monkeypatch):
    """It is neither missing nor damaged."""

    def read(path, most):
        if str(path).endswith(name):
            raise OSError(number, os.strerror(number))
        return read_regular(path, most)

    before = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    monkeypatch.setattr(records, "read_regular", read)
    with pytest.raises(UserError, match=f"cannot read .*{name}: {os.strerror(number)}"):
        fit(run, folder)
    after = {p: p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    assert after == before
