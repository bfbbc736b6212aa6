"""Runs of a published report need not be trained again."""

import copy
import dataclasses
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from cnnjax.ablation.define import Axis
from cnnjax.ablation.execute import dry_run
from cnnjax.ablation.execute.dispatch import train_cells
from cnnjax.ablation.execute.dry_run import estimate
from cnnjax.ablation.execute.jobs import write_jobs
from cnnjax.ablation.execute.taken import take_published, takeable
from cnnjax.ablation.judge.collect import collect
from cnnjax.ablation.judge.published import (
    PublishedRun,
    read_published,
    write_published,
)
from cnnjax.ablation.plan import load_ablation, make_plan, write_plan
from cnnjax.ablation.report.tables import shared_provenance, taken_runs
from cnnjax.errors import UserError
from cnnjax.lock import LOCK, locked
from cnnjax.records import read_json, write_json
from cnnjax.run.single import evaluate
from cnnjax.run.trained.load import load_run
from cnnjax.seal import sealed_with
from tests.ablation.small_transfer import get_ablation
from tests.ablation.synthetic_sweep import write_cells

FACTS = {"num_params": 1, "multiply_adds": 1, "epochs": 1.0, "steps": 20}
COMMIT = "0" * 40


def plan_in(workdir, num_seeds=None, published=None, ablation=None, **changes):
    return make_plan(
        ablation or load_ablation("degradation"),
        "smoke",
        num_seeds=num_seeds,
        data_dir="",
        workdir=str(workdir),
        changes=changes,
        published=published and published.plan,
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Two seeds of every arm, published."""
    runs, folder = (tmp_path_factory.mktemp(name) for name in ("runs", "published"))
    plan = plan_in(runs, 2)
    write_plan(plan, {cell.name: FACTS for cell in plan.cells})
    write_cells(runs)
    write_published(collect(runs), runs, folder, str, 300_000)
    return folder


@pytest.fixture
def published(report):
    return read_published(report)


def take(plan, published, fingerprint="abc"):
    """Takes what fits, then writes the plan, as a start does; what was said."""
    run = SimpleNamespace(dataset=SimpleNamespace(fingerprint=fingerprint))
    said = []
    take_published(
        plan, {cell.name: run for cell in plan.cells}, published, said.append
    )
    write_plan(plan, {cell.name: FACTS for cell in plan.cells})
    return said


def started(workdir, published):
    """The plan of a start that has taken nothing, written."""
    plan = plan_in(workdir, published=published)
    write_plan(plan, {cell.name: FACTS for cell in plan.cells})
    return plan


def missing(workdir):
    rows = collect(workdir).rows
    assert {row.status for row in rows} <= {"done", "missing"}
    return [(row.arm, row.seed) for row in rows if row.status == "missing"]


def test_all_is_taken_and_says_where_it_comes_from(published, tmp_path):
    plan = plan_in(tmp_path, published=published)
    said = take(plan, published)
    assert missing(tmp_path) == []
    runs = len(collect(tmp_path).rows)
    words = f"{runs} of {runs} runs are taken from degradation-smoke, trained at commit"
    assert said == [f"{words} {COMMIT[:10]}"]
    sweep = collect(tmp_path)
    trained = f"{runs} of {runs} runs, trained at commit {COMMIT}"
    assert taken_runs(sweep) == [("taken from degradation-smoke", trained)]
    assert "origin" not in dict(shared_provenance(sweep))
    # Another start finds all of it done.
    before = (tmp_path / "plain-8/seed-0/result.json").stat()
    assert take(plan_in(tmp_path, published=published), published) == [
        "no runs are taken from degradation-smoke"
    ]
    assert (tmp_path / "plain-8/seed-0/result.json").stat() == before


def test_seeds_that_are_added_are_what_is_left(published, tmp_path):
    plan = plan_in(tmp_path, 3, published)
    take(plan, published)
    assert missing(tmp_path) == [(arm.name, 2) for arm in plan.arms]
    assert collect(tmp_path).sequential
    with pytest.raises(UserError, match="--seeds=1, but the published report holds 2"):
        plan_in(tmp_path / "other", 1, published)


def test_an_arm_that_is_added_is_what_is_left(published, tmp_path):
    del published.plan["arms"][1]
    other = dict(published.cells)
    gone = other.pop(next(name for name in other if name == "plain-14"), None)
    assert gone
    less = dataclasses.replace(published, cells=other)
    plan = plan_in(tmp_path, 2, less)
    take(plan, less)
    assert missing(tmp_path) == [("plain-14", 0), ("plain-14", 1)]
    # No commit but that of the runs is told of them.
    assert taken_runs(collect(tmp_path))[0][1].startswith("6 of 8 runs")


def edited(published, **changes):
    """The report with other keys in the result of seed 1 of plain-8, sealed again."""
    cells = dict(published.cells)
    cell = copy.deepcopy(cells["plain-8"])
    result = {**cell.runs[1].result, **changes}
    if "digest" not in changes:
        result = sealed_with(result, result["metrics_digest"])
    cell.runs[1] = PublishedRun(result, cell.runs[1].metrics)
    return dataclasses.replace(published, cells=cells | {"plain-8": cell})


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"digest": "0" * 64}, "was edited or damaged: its digest"),
        ({"config_hash": "older"}, "ran with another config"),
        ({"data_fingerprint": "other"}, "ran on other data"),
        ({"crashed": True, "status": "failed"}, "crashed"),
        ({"seed": 0}, "holds the result of another seed"),
        ({"arm": "plain-14"}, "holds the result of another arm"),
        ({"final": {"test": {"error": 795.0}}}, "cannot be read"),
        ({"status": "perfect"}, "cannot be read"),
    ],
)
def test_a_cell_with_a_run_that_does_not_fit_is_trained(
    published, tmp_path, changes, reason
):
    other = edited(published, **changes)
    said = take(plan_in(tmp_path, published=other), other)
    assert f"plain-8 of degradation-smoke is not taken: seed 1 {reason}" in said[0]
    assert missing(tmp_path) == [("plain-8", 0), ("plain-8", 1)]


def test_a_dry_run_counts_only_what_is_left(published, tmp_path, monkeypatch):
    run = SimpleNamespace(num_params=1, multiply_adds=1, total_steps=1)
    run.steps_per_epoch, run.seeds, run.work = 1, (0, 1), lambda: 6.0
    run.load = lambda: SimpleNamespace(layers=1)
    monkeypatch.setattr(dry_run, "set_up", lambda config, data, parent: run)
    monkeypatch.setattr(dry_run, "cautions_of_arms", lambda runs: [])
    plan = plan_in(tmp_path, 3, published)
    found = estimate(plan, edited(published, config_hash="older"))
    counts = {arm.arm: arm.num_runs for arm in found.arms}
    assert counts == {arm.name: 1 for arm in plan.arms} | {"plain-8": 3}
    assert found.notes[-1].startswith("6 runs are taken from degradation-smoke if")
    assert estimate(plan).num_runs == 12
    other = {**published.plan, "ablation": "bottleneck"}
    with pytest.raises(UserError, match="give another --resume_from"):
        estimate(plan, dataclasses.replace(published, plan=other))
    assert not list(tmp_path.iterdir())


def test_other_configs_or_other_data_are_all_trained(published, tmp_path):
    changed = plan_in(tmp_path / "a", published=published, **{"train.batch_size": 32})
    said = take(changed, published)
    assert len(missing(tmp_path / "a")) == 8
    assert sum("ran with another config" in sentence for sentence in said) == 4
    assert said[-1] == "no runs are taken from degradation-smoke"
    said = take(plan_in(tmp_path / "b", published=published), published, "other")
    assert len(missing(tmp_path / "b")) == 8
    assert "ran on other data" in said[0]


def test_what_a_seed_lacks_is_told(published, tmp_path):
    del published.cells["plain-8"].runs[1]
    published.warnings.append("line 3 is left out")
    said = take(plan_in(tmp_path, published=published), published)
    assert said[0] == "line 3 is left out"
    assert said[1].endswith(
        "plain-8 of degradation-smoke is not taken: seed 1 is not there"
    )


def test_other_ablations_and_scales_are_refused(published, tmp_path):
    published.plan["scale"] = "laptop"
    with pytest.raises(UserError, match="the runs of scale 'laptop', not of 'smoke'"):
        take(plan_in(tmp_path, published=published), published)
    published.plan["ablation"] = "dense"
    with pytest.raises(UserError, match="the runs of ablation 'dense'"):
        take(plan_in(tmp_path, published=published), published)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("own", ["checkpoints/3", "seed-0", "seed-1"])
def test_what_is_being_trained_there_stays(published, tmp_path, own):
    started(tmp_path, published)
    (tmp_path / "plain-8" / own).mkdir(parents=True)
    take(plan_in(tmp_path, published=published), published)
    assert missing(tmp_path) == [("plain-8", 0), ("plain-8", 1)]
    assert not (tmp_path / "plain-8/provenance.json").exists()


def test_a_cell_that_waits_in_a_queue_or_has_a_process_is_not_taken(
    published, tmp_path
):
    plan = started(tmp_path, published)
    write_jobs(tmp_path, "slurm", {"plain-8": {"job": "7", "attempt": 1}})
    with locked(tmp_path / "plain-14" / LOCK, "it is busy"):
        take(plan, published)
    assert {arm for arm, _ in missing(tmp_path)} == {"plain-8", "plain-14"}


def test_a_kill_leaves_a_cell_that_is_taken_again(published, tmp_path):
    take(plan_in(tmp_path, published=published), published)
    (tmp_path / "plain-8/seed-0/result.json").unlink()
    shutil.rmtree(tmp_path / "plain-8/seed-1")
    take(plan_in(tmp_path, published=published), published)
    assert missing(tmp_path) == []
    # Without the mark it is a training of its own.
    (tmp_path / "plain-8/seed-0/result.json").unlink()
    path = tmp_path / "plain-8/provenance.json"
    write_json(path, {k: v for k, v in read_json(path).items() if k != "origin"})
    take(plan_in(tmp_path, published=published), published)
    assert [seed for _, seed in running(tmp_path)] == [0]


def test_there_are_no_weights_of_runs_that_were_taken(published, tmp_path):
    take(plan_in(tmp_path, published=published), published)
    words = "were taken from degradation-smoke, and a published report keeps no weights"
    with pytest.raises(UserError, match=words):
        evaluate(tmp_path / "plain-8", weights="last", statistics="", data_dir="")
    with pytest.raises(UserError, match=words):
        load_run(tmp_path / "plain-8")


@pytest.fixture(scope="module")
def transferred(tmp_path_factory):
    """A report of arms of which some start from others."""
    runs, folder = (tmp_path_factory.mktemp(name) for name in ("runs", "chain"))
    plan = plan_in(runs, ablation=get_ablation())
    write_plan(plan, {cell.name: FACTS for cell in plan.cells})
    write_cells(runs)
    write_published(collect(runs), runs, folder, str, 300_000)
    return folder


def with_arms(**more):
    """The small ablation of transfer with further arms."""
    ablation = get_ablation()
    axis = Axis("way", ablation.axes[0].values | more)
    return dataclasses.replace(ablation, axes=[axis])


MORE = {"starts_from": "probe", "train.epochs": 2.0}


@pytest.mark.parametrize("taken_before", [False, True])
def test_what_a_new_arm_starts_from_is_trained(transferred, tmp_path, taken_before):
    """A report keeps no weights, so the whole chain before the new arm is."""
    known = read_published(transferred)
    if taken_before:
        take(plan_in(tmp_path, None, known, get_ablation()), known)
        assert missing(tmp_path) == []
    plan = plan_in(tmp_path, None, known, with_arms(more=MORE))
    left = [] if taken_before else ["scratch", "all"]
    assert takeable(plan, known) == left
    said = take(plan, known)
    assert said[:2] == [
        f"{arm} is trained and not taken from small_transfer-smoke, which keeps no "
        f"weights: {child} starts from them"
        for arm, child in (("source", "probe"), ("probe", "more"))
    ]
    arms = ("source", "probe", "more")
    assert missing(tmp_path) == [(arm, seed) for arm in arms for seed in (0, 1)]
    assert not (tmp_path / "source/provenance.json").exists()
    # Another start says it again and changes nothing.
    assert take(plan, known)[:2] == said[:2]


def test_new_seeds_of_an_arm_need_only_new_seeds_of_its_start(transferred, tmp_path):
    known = read_published(transferred)
    plan = plan_in(tmp_path, 3, known, get_ablation())
    assert "trained and not taken" not in " ".join(take(plan, known))
    assert {seed for _, seed in missing(tmp_path)} == {2}


def test_one_seed_for_all_that_was_taken_is_trained(transferred, tmp_path):
    known = read_published(transferred)
    ablation = with_arms(more=MORE | {"start.seed": 0, "starts_from": "source"})
    plan = plan_in(tmp_path, None, known, ablation)
    assert take(plan, known)[0].startswith("source is trained and not taken")
    assert {arm for arm, _ in missing(tmp_path)} == {"source", "more"}


def with_nets(*nets):
    """The ablation at depth 8 only."""
    ablation = load_ablation("degradation")
    scale = dataclasses.replace(
        ablation.scale("smoke"), grids=[{"net": list(nets), "depth": ["8"]}]
    )
    return dataclasses.replace(
        ablation, scales={"smoke": scale}, claims=[], published=[]
    )


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["inline", "local"])
def test_only_the_rest_is_trained(tmp_path, monkeypatch, launcher):
    """The rest is an arm and a seed that the report has not."""
    # For the processes of the cells, where the launcher sets the other one.
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[3]))
    monkeypatch.setenv("PYTHONSAFEPATH", "1")
    tiny = {
        "model.widths": (4,),
        "eval.probes": (),
        "train.epochs": 1.0,
        "data.num_train": 128,
        "log.tensorboard": False,
    }
    how = {"launcher": launcher, "jobs": 1, "launcher_options": "", "wait": True}
    first = plan_in(tmp_path / "a", 2, ablation=with_nets("plain"), **tiny)
    assert train_cells(first, **how) == 0
    report = tmp_path / "published"
    write_published(collect(first.workdir), first.workdir, report, str, 300_000)
    shutil.rmtree(first.workdir)

    published = read_published(report)
    nets = with_nets("plain", "residual")
    second = plan_in(tmp_path / "b", 3, published, nets, **tiny)
    assert train_cells(second, **how, published=published) == 0
    sweep = collect(second.workdir)
    assert [row.status for row in sweep.rows] == ["done"] * 6
    trained = {
        cell.name: (second.workdir / cell.name / "checkpoints").is_dir()
        for cell in second.cells
    }
    assert trained == {
        "plain-8": False,
        "plain-8/seeds-2": True,
        "residual-8": True,
    }
    taken = published.cells["plain-8"].runs
    assert [row.result for row in sweep.rows[:2]] == [taken[0].result, taken[1].result]
    assert taken_runs(sweep)[0][1].startswith("2 of 6 runs, trained at commit ")
    # All runs are on the same data, by the same config.
    assert len({row.result["data_fingerprint"] for row in sweep.rows}) == 1


def running(workdir):
    rows = collect(workdir).rows
    return [(row.arm, row.seed) for row in rows if row.status == "running"]
