"""Arms that start from the weights of other arms."""

import dataclasses
import json
import time
from types import SimpleNamespace

import pytest

from cnnjax.ablation import plan as plans
from cnnjax.ablation.define import Axis
from cnnjax.ablation.execute import inline
from cnnjax.ablation.execute.dispatch import train_cells
from cnnjax.ablation.plan import make_plan
from cnnjax.ablation.report.pages import write_report
from cnnjax.config import digest
from cnnjax.errors import UserError
from cnnjax.interrupt import StopRequest
from cnnjax.run.trained.load import load_run
from tests.ablation.small_transfer import get_ablation


def planned(folder, num_seeds=None, num_folds=0):
    return make_plan(
        get_ablation(),
        "smoke",
        num_seeds=num_seeds,
        num_folds=num_folds,
        data_dir="",
        workdir=str(folder),
        changes={},
    )


def test_a_plan_names_what_an_arm_starts_from_by_its_config(tmp_path):
    cells = {cell.name: cell for cell in planned(tmp_path).cells}
    assert list(cells) == ["source", "scratch", "probe", "all"]
    assert cells["probe"].after == ("source",)
    start = cells["all"].config.start
    assert (start.weights, start.folder) == ("probe", str(tmp_path))
    assert start.digest == digest(cells["probe"].config)
    assert not cells["scratch"].config.start.weights


def test_the_hash_of_an_arm_covers_the_chain_and_not_the_folder(tmp_path):
    here, there = (
        {cell.name: digest(cell.config) for cell in planned(tmp_path / name).cells}
        for name in ("a", "b")
    )
    assert here == there
    changed = make_plan(
        get_ablation(),
        "smoke",
        num_seeds=None,
        data_dir="",
        workdir=str(tmp_path / "c"),
        changes={"train.epochs": 2.0},
    )
    other = {cell.name: cell.config.start.digest for cell in changed.cells}
    before = {cell.name: cell.config.start.digest for cell in planned(tmp_path).cells}
    assert other["all"] != before["all"]


def test_an_arm_has_the_seeds_of_all_that_start_from_it(tmp_path):
    wanted = {"source": 1, "scratch": 2, "probe": 2, "all": 4}
    plan = planned(tmp_path, wanted)
    seeds = {cell.name: len(cell.seeds) for cell in plan.cells}
    assert seeds == {"source": 4, "scratch": 2, "probe": 4, "all": 4}


def test_folds_start_from_the_same_fold(tmp_path):
    cells = {cell.name: cell for cell in planned(tmp_path, num_folds=2).cells}
    assert cells["probe/fold-1"].after == ("source/fold-1",)
    start = cells["probe/fold-1"].config.start
    assert start.weights == "source/fold-1"
    assert start.digest == digest(cells["source/fold-1"].config)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"a": {"starts_from": "sauce"}, "source": {}}, "did you mean 'source'"),
        ({"a": {"starts_from": "b"}, "b": {"starts_from": "a"}}, "starts from"),
        ({"a": {"starts_from": "{x}"}}, "starts_from='{x}' cannot be filled in"),
        ({"a": {"starts_from": 3}}, "starts_from"),
    ],
)
def test_arms_that_nothing_can_start_from_are_refused(values, words):
    with pytest.raises(UserError, match=words):
        dataclasses.replace(get_ablation(), axes=[Axis("way", values)], claims=[])


def trained(folder, num_seeds=None):
    plan = planned(folder, num_seeds)
    return train_cells(plan, launcher="inline", jobs=2, launcher_options="", wait=True)


def test_a_cell_waits_for_those_that_it_starts_from(tmp_path, monkeypatch):
    plan, order = planned(tmp_path), []
    plan.workdir.mkdir(exist_ok=True)

    def train_cell(folder, name, *others):
        order.append(("begins", name))
        time.sleep(0.02)
        order.append(("ends", name))

    monkeypatch.setattr(inline, "train_cell", train_cell)
    monkeypatch.setattr(inline, "shared_keys", lambda run: ())
    monkeypatch.setattr(inline, "check_claim", lambda folder: None)
    monkeypatch.setattr(inline, "is_done", lambda plan, name, run: True)
    runs = {cell.name: SimpleNamespace(work=lambda: 1.0) for cell in plan.cells}
    after = {cell.name: cell.after for cell in plan.cells}
    inline.run_cells(plan, inline.in_order(runs, after), 4, None, StopRequest())
    for cell in plan.cells:
        for parent in cell.after:
            assert order.index(("ends", parent)) < order.index(("begins", cell.name))
    assert order[1][0] == "begins"  # those that wait for none run side by side


@pytest.mark.slow
def test_arms_are_trained_in_order_resumed_and_shown(tmp_path):
    assert trained(tmp_path) == 0
    start = json.loads((tmp_path / "all" / "provenance.json").read_text())["start"]
    assert start["weights"] == "probe"
    before = load_run(tmp_path / "source", "last", 1).variables["params"]
    probed = load_run(tmp_path / "probe", "last", 1).variables["params"]
    kernel = before["stage1_conv1"]["conv"]["kernel"]
    assert (probed["stage1_conv1"]["conv"]["kernel"] == kernel).all()
    assert (probed["head"]["kernel"] != before["head"]["kernel"]).any()
    assert trained(tmp_path, 3) == 0  # further seeds start from further seeds
    assert (tmp_path / "all" / "seeds-2" / "seed-2" / "result.json").is_file()
    write_report(tmp_path)
    for page in ("report.md", "report.html"):
        assert "from the weights of probe: all" in (tmp_path / page).read_text()


@pytest.mark.slow
def test_an_arm_whose_start_crashed_is_not_started_and_the_others_go_on(
    tmp_path, monkeypatch, capsys
):
    fit = inline.fit

    def failing(run, folder, **more):
        if more["name"] == "source":
            raise RuntimeError("no")
        return fit(run, folder, **more)

    monkeypatch.setattr(inline, "fit", failing)
    assert trained(tmp_path) == 1
    read = {
        arm: json.loads((tmp_path / arm / "seed-0" / "result.json").read_text())
        for arm in ("source", "scratch", "probe", "all")
    }
    assert {arm for arm, result in read.items() if result["status"] == "done"} == {
        "scratch"
    }
    assert read["probe"]["crashed"]
    assert "source, from whose weights it starts, is un" in read["probe"]["reason"]
    said = capsys.readouterr().out
    assert "not started, as what they start from is unfinished: probe, all" in said
    monkeypatch.setattr(inline, "fit", fit)
    assert trained(tmp_path) == 0
    capsys.readouterr()
    path = tmp_path / "probe" / "provenance.json"
    path.write_text(path.read_text().replace(digest_of(path), "0" * 64))
    assert trained(tmp_path) == 1
    said = capsys.readouterr().out
    assert "probe was trained from other weights than source has now" in said
    assert "all was trained" not in said


def digest_of(provenance):
    return json.loads(provenance.read_text())["start"]["digest"]


def test_an_arm_of_one_seed_for_all_waits_for_the_cell_of_that_seed(tmp_path):
    ablation = get_ablation()
    values = ablation.axes[0].values
    probe = values["probe"] | {"start.seed": 0}
    axis = Axis("way", values | {"probe": probe})
    ablation = dataclasses.replace(ablation, axes=[axis])

    def cells(folder, num_seeds, ablation=ablation):
        plan = make_plan(
            ablation,
            "smoke",
            num_seeds=num_seeds,
            data_dir="",
            workdir=str(folder),
            changes={},
        )
        return {cell.name: cell for cell in plan.cells}

    before = {"arms": [{"name": arm, "cells": [{"seeds": [0, 1]}]} for arm in values]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(plans, "earlier_plan", lambda folder: before)
        patch.setattr(plans, "_refuse_other_plan", lambda *plans: None)
        found = cells(tmp_path, 3)
    assert found["probe/seeds-2"].after == ("source",)
    assert found["all/seeds-2"].after == ("probe/seeds-2",)
    values = values | {"probe": probe | {"start.seed": 9}}
    other = dataclasses.replace(ablation, axes=[Axis("way", values)])
    with pytest.raises(UserError, match="source has the seeds 0 to 1"):
        cells(tmp_path / "b", None, other)
