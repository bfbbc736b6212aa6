"""The training loop through `fit`: what it writes, and how it resumes."""

import json
import shutil
import signal

import pytest

from cnnjax.config import digest
from cnnjax.devices import available
from cnnjax.errors import UserError
from cnnjax.interrupt import Stopped
from cnnjax.records import read_json
from cnnjax.run import loop
from cnnjax.run.provenance import git_commit, processor
from cnnjax.run.setup import set_up
from tests.run.tiny import Shown, fit, rows_of, tiny_config, tiny_run

# 9 steps of 8 images, three an epoch; two seeds; noise from every stream.
NOISY = {
    "arguments": {"dropout_rate": 0.2},
    "augment__crop_pad": 1,
    "seeds__count": 2,
    "train__ema_decay": 0.5,
    "train__steps_per_dispatch": 2,
}
COMPILED = []


def without_cost(result):
    """What is the same however often a run was interrupted."""
    return {k: value for k, value in result.items() if k not in ("cost", "digest")}


@pytest.fixture(scope="module")
def noisy():
    return tiny_run(**NOISY)


@pytest.fixture(autouse=True)
def compiled_once(noisy, monkeypatch):
    """Programs are pure: the run that is started many times is compiled once."""
    compile_programs = loop.compile_programs

    def lookup(run, state, shared=None):
        if run is not noisy:
            return compile_programs(run, state, shared)
        if not COMPILED:
            COMPILED.append(compile_programs(run, state))
        return COMPILED[0]

    monkeypatch.setattr(loop, "compile_programs", lookup)


@pytest.fixture(scope="module")
def whole(noisy, tmp_path_factory):
    """A run that was never interrupted."""
    path = tmp_path_factory.mktemp("runs") / "whole"
    return path, fit(noisy, path)


# -- what is written -------------------------------------------------------------------


def test_metrics_are_as_the_design_page_says(whole):
    path, _ = whole
    for seed in (0, 1):
        rows = rows_of(path, seed)
        train = [row for row in rows if row["kind"] == "train"]
        evals = [row for row in rows if row["kind"] == "eval"]
        assert [(row["step"], row["epoch"]) for row in train] == [
            (3, 1.0),
            (6, 2.0),
            (9, 3.0),
        ]
        for row in train:
            assert row.keys() == {
                "kind",
                "step",
                "epoch",
                "loss",
                "error",
                "grad_norm",
                "learning_rate",
            }
            assert row["learning_rate"] == pytest.approx(0.1)
            assert row["loss"] > 0
            assert 0 <= row["error"] <= 100
            # 24 images: the error is a whole number of them.
            assert row["error"] * 24 / 100 == pytest.approx(round(row["error"] * 0.24))
        assert [(row["step"], row["split"], row["count"]) for row in evals] == [
            (3, "validation", 9),
            (6, "validation", 9),
            (9, "train", 24),
            (9, "validation", 9),
            (9, "test", 10),
        ]
        keys = {"kind", "step", "epoch", "split", "loss", "error", "top5_error"}
        assert all(row.keys() == keys | {"count"} for row in evals)


def test_results_are_as_the_design_page_says(whole, noisy):
    path, fitted = whole
    for seed, result in enumerate(fitted.results):
        assert read_json(path / f"seed-{seed}" / "result.json") == result
        assert result.keys() == {
            "arm",
            "seed",
            "status",
            "reason",
            "evaluated",
            "step",
            "epochs",
            "final",
            "best",
            "cost",
            "num_params",
            "multiply_adds",
            "config_hash",
            "data_fingerprint",
            "commits",
            "metrics_digest",
            "digest",
        }
        (start,) = result["commits"]
        assert start == {
            "commit": git_commit(),
            "step": 0,
            "processor": processor(),
            "devices": ["cpu:cpu"],
        }
        assert (result["arm"], result["seed"]) == ("tiny", seed)
        assert (result["status"], result["reason"]) == ("done", None)
        assert (result["step"], result["epochs"]) == (9, 3.0)
        assert {split: row["count"] for split, row in result["final"].items()} == {
            "train": 24,
            "validation": 9,
            "test": 10,
        }
        assert result["config_hash"] == digest(noisy.config)
        assert result["data_fingerprint"] == noisy.dataset.fingerprint
        # 48 inputs, 6 hidden units with a norm, 3 classes.
        assert result["num_params"] == 48 * 6 + 2 * 6 + 6 * 3 + 3
        assert result["multiply_adds"] == 48 * 6 + 6 * 3
        assert all(value > 0 for value in result["cost"].values())
        last = rows_of(path, seed)[-3:]
        for row in last:
            final = result["final"][row["split"]]
            assert (row["loss"], row["error"]) == (final["loss"], final["error"])
    seeds = [result["final"]["train"]["loss"] for result in fitted.results]
    assert seeds[0] != seeds[1]


def test_the_display_hears_of_every_dispatch(whole):
    _, fitted = whole
    assert fitted.shown.first_step == 0
    assert fitted.shown.updates == [2, 3, 5, 6, 8, 9]
    assert fitted.shown.ended == "done"
    assert fitted.warnings == []


def test_records_are_written_beside(whole, noisy):
    path, _ = whole
    assert read_json(path / "config.json") == json.loads(noisy.config.to_json())
    provenance = read_json(path / "provenance.json")
    assert provenance["data"]["fingerprint"] == noisy.dataset.fingerprint
    assert provenance["devices"]
    assert provenance["onednn"] == available.has_onednn()


# -- going on --------------------------------------------------------------------------


def test_a_finished_run_returns_at_once(whole, noisy, monkeypatch):
    path, fitted = whole
    before = rows_of(path)

    def refuse(*args, **kwargs):
        raise AssertionError("a finished run was compiled again")

    monkeypatch.setattr(loop, "compile_programs", refuse)
    again = fit(noisy, path)
    assert again.results == fitted.results
    assert again.shown.first_step is None
    assert rows_of(path) == before


@pytest.mark.parametrize("stops", [(2,), (5, 6), (3, 8)])
def test_a_stopped_run_goes_on_bit_for_bit(whole, noisy, tmp_path, stops):
    """Stopped on and off the boundaries of epochs, once and twice."""
    for stop_at in stops:
        with pytest.raises(Stopped, match=f"stopped at step {stop_at}"):
            fit(noisy, tmp_path, stop_at)
        assert not (tmp_path / "seed-0" / "result.json").exists()
    resumed = fit(noisy, tmp_path)
    assert resumed.shown.first_step == stops[-1]
    path, fitted = whole
    for seed in (0, 1):
        assert rows_of(tmp_path, seed) == rows_of(path, seed)
        assert without_cost(resumed.results[seed]) == without_cost(fitted.results[seed])


def test_killed_between_the_last_rows_and_the_results(whole, noisy, tmp_path):
    """Rows that are there already are not written a second time."""
    path, fitted = whole
    shutil.copytree(path, tmp_path / "copy")
    for seed in (0, 1):
        (tmp_path / "copy" / f"seed-{seed}" / "result.json").unlink()
    again = fit(noisy, tmp_path / "copy")
    for seed in (0, 1):
        assert rows_of(tmp_path / "copy", seed) == rows_of(path, seed)
        assert without_cost(again.results[seed]) == without_cost(fitted.results[seed])


def test_a_damaged_newest_checkpoint_is_passed_over(whole, noisy, tmp_path):
    with pytest.raises(Stopped):
        fit(noisy, tmp_path, stop_at=6)
    folder = tmp_path / "checkpoints"
    assert sorted(int(p.name) for p in folder.iterdir() if p.name.isdigit()) == [3, 6]
    large = max((f for f in (folder / "6").rglob("*") if f.is_file()), key=_size)
    large.write_bytes(large.read_bytes()[: _size(large) // 2])
    resumed = fit(noisy, tmp_path)
    assert resumed.shown.first_step == 3
    assert any("checkpoints/6 is damaged" in warning for warning in resumed.warnings)
    path, fitted = whole
    assert rows_of(tmp_path) == rows_of(path)
    assert without_cost(resumed.results[0]) == without_cost(fitted.results[0])


def _size(path):
    return path.stat().st_size


def test_a_seed_that_has_ended_keeps_its_metrics(whole, noisy, tmp_path):
    """Its program runs again for the seed beside it, and may be interrupted again."""
    whole_path, fitted = whole
    path = shutil.copytree(whole_path, tmp_path / "run")
    shutil.rmtree(path / "checkpoints")
    shutil.rmtree(path / "seed-1")
    before = (path / "seed-0" / "metrics.jsonl").read_bytes()
    with pytest.raises(Stopped):
        fit(noisy, path, stop_at=2)
    assert (path / "seed-0" / "metrics.jsonl").read_bytes() == before
    done = fit(noisy, path)
    assert (path / "seed-0" / "metrics.jsonl").read_bytes() == before
    assert [without_cost(r) for r in done.results] == [
        without_cost(r) for r in fitted.results
    ]
    assert rows_of(path, 1) == rows_of(whole_path, 1)


def test_another_config_is_refused_with_the_keys_that_differ(whole):
    path, _ = whole
    arguments = NOISY | {"optimizer__weight_decay": 0.5, "train__steps": 12}
    with pytest.raises(UserError) as refused:
        fit(tiny_run(**arguments), path)
    assert "optimizer.weight_decay: 0.0001 -> 0.5" in str(refused.value)
    assert "train.steps: 9 -> 12" in str(refused.value)
    assert "--workdir" in str(refused.value)


def test_other_data_is_refused(whole, noisy):
    path, _ = whole
    config = tiny_config(**NOISY)
    images = noisy.dataset.train.images.copy()
    images[0] += 1
    split = type(noisy.dataset.train)(images, noisy.dataset.train.labels)
    changed = type(noisy.dataset)(
        **{**vars(noisy.dataset), "train": split, "fingerprint": "0123456789abcdef"}
    )
    with pytest.raises(UserError, match=r"on other data.*0123456789abcdef"):
        fit(set_up(config, changed), path)


def test_where_files_lie_may_change(whole, noisy):
    path, fitted = whole
    moved = tiny_run(**NOISY, data__data_dir="/elsewhere", log__tensorboard=False)
    assert fit(moved, path).results == fitted.results


def test_a_signal_while_processes_agree_is_not_lost(noisy, tmp_path, monkeypatch):
    """It comes after this process gave its answer: the next time counts it."""
    agree, shown = loop.distributed.max_over_processes, Shown()

    def interrupted(value):
        if shown.updates == [2]:
            shown.stop.set(signal.SIGTERM)
        return agree(value)

    monkeypatch.setattr(loop.distributed, "max_over_processes", interrupted)
    with pytest.raises(Stopped, match="stopped at step 3"):
        fit(noisy, tmp_path, shown=shown)
    assert shown.stop.exit_code == 128 + signal.SIGTERM
