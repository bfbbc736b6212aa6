"""Results that are not what the plan says are rows with a reason, never averaged."""

import dataclasses
import json
import os
import shutil

import pytest

from cnnjax.ablation.judge.collect import collect
from cnnjax.ablation.judge.verdicts import judge
from cnnjax.records import read_json, write_json
from cnnjax.seal import outcome_digest, sealed
from tests.ablation.small_transfer import get_ablation
from tests.ablation.synthetic_sweep import edit_result, write_sweep

SEED_0, SEED_1 = "plain-8/seed-0", "plain-8/seed-1"


def row(sweep, arm="plain-8", seed=1):
    return next(r for r in sweep.rows if (r.arm, r.seed) == (arm, seed))


def seal_all(sweep_dir):
    for path in sweep_dir.glob("*/seed-*/result.json"):
        write_json(path, sealed(read_json(path), path.parent / "metrics.jsonl"))


def excluded(sweep_dir, words, seed=1):
    sweep = collect(sweep_dir)
    found = row(sweep, seed=seed)
    assert found.status == "excluded"
    assert words in found.reason
    assert seed not in sweep.values("train_error")["plain-8"]
    assert not [c for c in sweep.curves if (c.arm, c.seed) == ("plain-8", seed)]
    return sweep


def test_a_sealed_sweep_is_whole(sweep_dir):
    seal_all(sweep_dir)
    assert {row.status for row in collect(sweep_dir).rows} == {"done"}


def test_copies_of_a_seed_are_not_further_seeds(sweep_dir):
    """They gave n = 5, a half width of 0.00 and 'supported'."""
    for arm in read_json(sweep_dir / "plan.json")["arms"]:
        for seed in (1, 2, 3, 4):
            folder = sweep_dir / arm["name"] / f"seed-{seed}"
            shutil.rmtree(folder)
            shutil.copytree(folder.with_name("seed-0"), folder)
    sweep = excluded(sweep_dir, "the result of seed 0")
    assert all(len(v) == 1 for v in sweep.values("train_error").values())
    said = {verdict.verdict for verdict in judge(sweep)}
    assert said <= {"undecided", "no information"}


@pytest.mark.parametrize("is_sealed", [True, False])
def test_a_result_that_was_copied(sweep_dir, is_sealed):
    if is_sealed:
        seal_all(sweep_dir)
    result = "result.json"
    shutil.copy(sweep_dir / SEED_0 / result, sweep_dir / SEED_1 / result)
    excluded(sweep_dir, "the result of seed 0")
    shutil.copy(sweep_dir / "plain-20/seed-1" / result, sweep_dir / SEED_1 / result)
    other = "metrics.jsonl is not" if is_sealed else "the result of plain-20"
    excluded(sweep_dir, other)


def test_metrics_that_were_copied(sweep_dir):
    seal_all(sweep_dir)
    metrics = "metrics.jsonl"
    shutil.copy(sweep_dir / SEED_0 / metrics, sweep_dir / SEED_1 / metrics)
    excluded(sweep_dir, "metrics.jsonl is not the file that its result")
    (sweep_dir / SEED_1 / metrics).unlink()
    assert row(collect(sweep_dir)).status == "done"  # its numbers are all there


def test_a_result_that_was_edited(sweep_dir):
    seal_all(sweep_dir)
    edit_result(sweep_dir / SEED_1, num_params=7)
    excluded(sweep_dir, "was edited or damaged")
    # Nor is it done because it says that it crashed, or the other way round.
    edit_result(sweep_dir / SEED_1, crashed=True)
    excluded(sweep_dir, "is of a run that is done and that crashed")
    crash = {"status": "failed", "reason": "killed"}
    edit_result(sweep_dir / SEED_1, **crash)
    excluded(sweep_dir, "was edited or damaged")
    # After a crash the metrics belong to the next attempt.
    seal_all(sweep_dir)
    (sweep_dir / SEED_1 / "metrics.jsonl").write_text('{"step": 1}\n')
    assert row(collect(sweep_dir)).status == "failed"


def test_a_result_that_is_nested_too_deeply(sweep_dir):
    deep = '{"a":' * 600 + "1" + "}" * 600
    text = f'{{"status": "done", "digest": "x", "more": {deep}}}'
    (sweep_dir / SEED_1 / "result.json").write_text(text)
    excluded(sweep_dir, "is nested too deeply")


@pytest.mark.parametrize("train", [{}, {"a": 1}, {"loss": 0.1, "count": 9}])
def test_a_number_that_one_seed_lacks_is_told(sweep_dir, train):
    final = read_json(sweep_dir / SEED_1 / "result.json")["final"]
    edit_result(sweep_dir / SEED_1, final={**final, "train": train})
    sweep = collect(sweep_dir)
    (words,) = [w for w in sweep.warnings if "training error" in w]
    assert words.startswith("plain-8 seed 1 is done, and its result.json has no")
    assert 1 not in sweep.values("train_error")["plain-8"]


def test_an_ensemble_is_a_number_of_its_first_seed(sweep_dir):
    probes = read_json(sweep_dir / SEED_1 / "result.json").get("probes", {})
    edit_result(sweep_dir / SEED_1, probes={**probes, "ensemble": {"error": 3.0}})
    sweep = collect(sweep_dir)
    assert sweep.values("ensemble_error")["plain-8"] == {1: 3.0}
    assert not [w for w in sweep.warnings if "ensemble" in w]


@pytest.mark.parametrize("error", [-5.0, 795.0, "3.1", [], True, 10**400])
def test_an_error_that_no_run_has_is_not_averaged(sweep_dir, error):
    path = sweep_dir / SEED_1 / "result.json"
    result = json.loads(path.read_text())
    result["final"]["train"]["error"] = error
    path.write_text(json.dumps(result))
    excluded(sweep_dir, "final.train.error is")


def test_a_result_that_cannot_be_read_says_why(sweep_dir):
    path = sweep_dir / SEED_1 / "result.json"
    path.unlink()
    path.mkdir()
    excluded(sweep_dir, "cannot be read (it is a folder, not a file)")
    path.rmdir()
    os.mkfifo(path)
    excluded(sweep_dir, "cannot be read (it is a pipe, not a file)")
    path.unlink()
    path.symlink_to(path.name)
    excluded(sweep_dir, "cannot be read (Too many levels of symbolic links)")
    path.unlink()
    path.symlink_to(sweep_dir / SEED_0 / "result.json")  # a link may be followed
    excluded(sweep_dir, "the result of seed 0")


def test_done_without_an_evaluation_is_not_done(sweep_dir):
    edit_result(sweep_dir / SEED_1, final=None)
    excluded(sweep_dir, "lacks its last evaluation")


def test_a_run_that_diverged_elsewhere_is_no_guess(sweep_dir):
    """It became an error of 90%."""
    failed = {"status": "failed", "reason": "the loss became infinite", "final": None}
    edit_result(sweep_dir / SEED_1, **failed, config_hash="of another")
    edit_result(sweep_dir / SEED_0, **failed, data_fingerprint="of others")
    edit_result(sweep_dir / "plain-8/seed-2", **failed)
    crash = {"status": "failed", "reason": "killed", "crashed": True}
    write_json(sweep_dir / "plain-8/seed-3/result.json", crash)
    sweep = collect(sweep_dir)
    assert "another config" in row(sweep, seed=1).reason
    assert "other data" in row(sweep, seed=0).reason
    assert row(sweep, seed=3).status == "failed"
    ablation = dataclasses.replace(sweep.ablation, diverged_error=90.0)
    sweep = dataclasses.replace(sweep, ablation=ablation)
    assert set(sweep.values("train_error")["plain-8"]) == {2, 4}


@pytest.fixture
def chain(tmp_path):
    """Arms that start from others, each with the outcome of its start."""
    write_sweep(tmp_path, "smoke", (0, 1), get_ablation())
    path = tmp_path / "plan.json"
    plan = read_json(path)
    for arm, parent in (("probe", "source"), ("all", "probe")):
        described = next(known for known in plan["arms"] if known["name"] == arm)
        described["starts_from"] = parent
        outcomes = {
            str(seed): outcome_digest(
                read_json(tmp_path / parent / f"seed-{seed}/result.json")
            )
            for seed in (0, 1)
        }
        start = {"weights": parent, "digest": "0", "outcomes": outcomes}
        provenance = tmp_path / arm / "provenance.json"
        write_json(provenance, read_json(provenance) | {"start": start})
    write_json(path, plan)
    return tmp_path


def retrain(folder, **changes):
    path = folder / "seed-1/result.json"
    result = read_json(path)
    result["final"]["test"] |= changes
    write_json(path, result | {"cost": {"run_seconds": 9.0}})


def test_a_start_that_was_trained_anew_is_named_with_the_claims_on_it(chain):
    assert collect(chain).warnings == []
    retrain(chain / "source")  # came out as before
    assert collect(chain).warnings == []
    retrain(chain / "source", loss=0.125)
    (claim,) = get_ablation().claims
    assert collect(chain).warnings == [
        "probe was trained from weights of source that are others by now: move its "
        "folder away, and the same command trains it again. On it rests: "
        f"{claim.name}."
    ]
    assert {row.status for row in collect(chain).rows} == {"done"}


def test_runs_of_before_say_nothing_of_their_start(chain):
    for arm in ("probe", "all"):
        path = chain / arm / "provenance.json"
        record = read_json(path)
        del record["start"]["outcomes"]
        write_json(path, record)
    retrain(chain / "source", loss=0.125)
    assert collect(chain).warnings == []
