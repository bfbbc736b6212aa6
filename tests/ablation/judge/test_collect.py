import csv
import dataclasses
import json
import math
import shutil

import pytest

from cnnjax.ablation.define import Axis
from cnnjax.ablation.judge.collect import collect, write_csv
from cnnjax.errors import UserError
from tests.ablation.small_degradation import get_ablation
from tests.ablation.synthetic_sweep import edit_result


def _row(sweep, arm, seed):
    return next(r for r in sweep.rows if (r.arm, r.seed) == (arm, seed))


def test_a_finished_sweep(sweep_dir):
    sweep = collect(sweep_dir)
    assert len(sweep.rows) == 40
    assert {row.status for row in sweep.rows} == {"done"}
    assert not sweep.warnings
    row = _row(sweep, "plain-56", 2)
    result = json.loads((sweep_dir / "plain-56/seed-2/result.json").read_text())
    assert row.metric("train_error") == result["final"]["train"]["error"]
    assert row.metric("best_test_error") == result["best"]["test"]["error"]
    assert row.cost("run_seconds") == result["cost"]["run_seconds"]
    assert sweep.values("train_error")["plain-56"][2] == row.metric("train_error")
    assert sweep.resolution("train_error") == pytest.approx(100 / 1437)
    assert sweep.resolution("train_loss") == 0.0
    assert sweep.provenance["plain-8"]["git_commit"] == "0" * 40


def test_missing_running_failed_and_half_written_cells(sweep_dir):
    shutil.rmtree(sweep_dir / "residual-32")
    (sweep_dir / "plain-8/seed-0/result.json").unlink()
    (sweep_dir / "plain-8/seed-1/result.json").write_text('{"arm": "plain-8", "se')
    edit_result(
        sweep_dir / "plain-56/seed-1",
        status="failed",
        reason="the loss was not finite",
        final=None,
        best=None,
        cost=None,
    )
    sweep = collect(sweep_dir)
    assert _row(sweep, "residual-32", 4).status == "missing"
    assert _row(sweep, "plain-8", 0).status == "running"
    damaged = _row(sweep, "plain-8", 1)
    words = "result.json cannot be read (it is not valid JSON)"
    assert (damaged.status, damaged.reason) == ("excluded", words)
    failed = _row(sweep, "plain-56", 1)
    assert (failed.status, failed.reason) == ("failed", "the loss was not finite")
    assert math.isnan(failed.metric("train_error"))
    assert math.isnan(failed.cost("run_seconds"))
    assert set(sweep.values("test_error")["plain-56"]) == {0, 2, 3, 4}


def test_a_nan_is_no_value(sweep_dir):
    path = sweep_dir / "plain-8/seed-0/result.json"
    data = json.loads(path.read_text())
    data["final"]["train"]["error"] = math.nan
    path.write_text(json.dumps(data))
    assert set(collect(sweep_dir).values("train_error")["plain-8"]) == {1, 2, 3, 4}


@pytest.mark.parametrize("loss", ["NaN", "Infinity"])
def test_done_with_a_loss_that_is_not_finite_is_failed(sweep_dir, loss):
    """As early versions wrote it; its error of 100% does not count."""
    path = sweep_dir / "plain-8/seed-0/result.json"
    data = json.loads(path.read_text())
    data["final"]["test"] |= {"loss": loss, "error": 100.0}
    path.write_text(json.dumps(data))
    sweep = collect(sweep_dir)
    row = _row(sweep, "plain-8", 0)
    want = ("failed", f"the loss on the test images is {float(loss)}")
    assert (row.status, row.reason) == want
    assert set(sweep.values("test_error")["plain-8"]) == {1, 2, 3, 4}


def test_cells_of_another_config_or_of_other_data_are_not_averaged(sweep_dir):
    edit_result(sweep_dir / "plain-20/seed-3", config_hash="older")
    edit_result(sweep_dir / "residual-20/seed-1", data_fingerprint="other")
    sweep = collect(sweep_dir)
    config, data = _row(sweep, "plain-20", 3), _row(sweep, "residual-20", 1)
    assert (config.status, data.status) == ("excluded", "excluded")
    assert "another config than the plan" in config.reason
    assert "fingerprint abc" in data.reason
    assert set(sweep.values("train_error")["plain-20"]) == {0, 1, 2, 4}
    assert set(sweep.values("train_error")["residual-20"]) == {0, 2, 3, 4}


def test_torn_last_line_is_skipped_and_inner_damage_is_reported(sweep_dir):
    torn = sweep_dir / "plain-8/seed-0/metrics.jsonl"
    before = collect(sweep_dir).curves
    torn.write_text(torn.read_text() + '{"kind": "eval", "spl')
    sweep = collect(sweep_dir)
    assert not sweep.warnings
    assert sweep.curves == before
    torn.write_text("garbage\n" + torn.read_text())
    assert collect(sweep_dir).warnings == [
        "plain-8/seed-0/metrics.jsonl has unreadable lines, which are skipped: 1."
    ]


def test_steps_written_again_after_a_resume_count_once(sweep_dir):
    path = sweep_dir / "plain-8/seed-0/metrics.jsonl"
    row = {"kind": "eval", "split": "train", "step": 22, "epoch": 1.0, "error": 12.5}
    path.write_text(path.read_text() + json.dumps(row) + "\n")
    curve = next(
        c
        for c in collect(sweep_dir).curves
        if (c.arm, c.seed, c.split) == ("plain-8", 0, "train")
    )
    assert curve.epochs == tuple(float(e) for e in range(1, 21))
    assert curve.errors[0] == 12.5


@pytest.mark.parametrize("content", [None, "{", "[]", '{"arms": []}', '"x"'])
def test_a_folder_without_a_plan_is_one_sentence(tmp_path, content):
    if content is not None:
        (tmp_path / "plan.json").write_text(content)
    with pytest.raises(UserError, match=r"plan\.json"):
        collect(tmp_path)


def test_csv_has_every_cell_and_the_cost_last(sweep_dir, tmp_path):
    edit_result(sweep_dir / "plain-8/seed-0", status="failed", reason="because, so")
    write_csv(collect(sweep_dir), tmp_path / "out.csv")
    with (tmp_path / "out.csv").open() as file:
        lines = list(csv.reader(file))
    header, first = lines[0], dict(zip(lines[0], lines[1], strict=True))
    assert len(lines) == 41
    assert header[:6] == ["arm", "net", "depth", "seed", "status", "reason"]
    costs = ["compile_seconds", "run_seconds", "images_per_second"]
    assert header[-5:] == [*costs, "step_seconds", "memory_bytes"]
    assert (first["status"], first["reason"]) == ("failed", "because, so")
    row = dict(zip(header, lines[7], strict=True))
    exact = collect(sweep_dir).values("train_error")[row["arm"]][int(row["seed"])]
    assert float(row["train_error"]) == exact
    assert len(set(header)) == len(header)
    for column in [*header[:1], *header[3:], "Test_Error"]:
        axes = [Axis.over(column, "model.depth", [8])]
        with pytest.raises(UserError, match=f"axis '{column}' .*already: choose"):
            dataclasses.replace(get_ablation(), axes=axes)


def test_metrics_may_be_differences_and_have_units_of_their_own(sweep_dir):
    cost = {"step_seconds": 0.0125, "memory_bytes": 3 * 2**20}
    final = {"train": {"error": 1.5}, "test": {"error": 6.0, "count": 50}}
    edit_result(sweep_dir / "plain-8/seed-0", cost=cost, final=final)
    row = _row(collect(sweep_dir), "plain-8", 0)
    assert row.metric("generalization_gap") == 4.5
    assert row.resolution("generalization_gap") == 2.0
    assert row.metric("step_milliseconds") == pytest.approx(12.5)
    assert row.metric("memory_mib") == 3.0
    assert math.isnan(row.metric("lesion_increase"))
    probes = {"lesion": {"increase": 0.7, "profiles": {}}}
    edit_result(sweep_dir / "plain-8/seed-0", probes=probes)
    assert _row(collect(sweep_dir), "plain-8", 0).metric("lesion_increase") == 0.7


def test_a_run_that_diverged_may_count_as_guessing(sweep_dir):
    failed = {"status": "failed", "reason": "the loss became non-finite", "final": None}
    edit_result(sweep_dir / "plain-20/seed-3", **failed)
    edit_result(sweep_dir / "plain-20/seed-4", **failed, crashed=True)
    sweep = collect(sweep_dir)
    assert set(sweep.values("train_error")["plain-20"]) == {0, 1, 2}
    ablation = dataclasses.replace(sweep.ablation, diverged_error=90.0)
    sweep = dataclasses.replace(sweep, ablation=ablation)
    assert sweep.values("train_error")["plain-20"][3] == 90.0
    assert set(sweep.values("train_error")["plain-20"]) == {0, 1, 2, 3}
    assert set(sweep.values("train_loss")["plain-20"]) == {0, 1, 2}
