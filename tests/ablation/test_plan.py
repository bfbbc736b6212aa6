"""The files that a plan writes before anything runs."""

import dataclasses

import pytest

from cnnjax.ablation.plan import earlier_plan, load_ablation, make_plan, write_plan
from cnnjax.errors import UserError
from cnnjax.record_kinds import (
    FILES_OF_ABLATION,
    FILES_OF_RUN,
    FOLDERS_OF_ABLATION,
    FOLDERS_OF_RUN,
)
from cnnjax.records import read_json, write_json

FACTS = {"num_params": 1, "multiply_adds": 1, "epochs": 1.0, "steps": 20}


def plan_in(workdir, *args, **changes):
    plan = planned(workdir, *args, **changes)
    write_plan(plan, {cell.name: FACTS for cell in plan.cells})
    return plan


def planned(workdir, num_seeds=None, num_folds=0, **changes):
    return make_plan(
        load_ablation("degradation"),
        "smoke",
        num_seeds=num_seeds,
        num_folds=num_folds,
        data_dir="",
        workdir=str(workdir),
        changes=changes,
    )


def seeds_of(plan):
    return {cell.name: cell.seeds for cell in plan.cells if cell.arm.name == "plain-8"}


def test_a_resumed_plan_keeps_its_date_and_changes_nothing(tmp_path):
    plan = plan_in(tmp_path)
    path = tmp_path / "plan.json"
    write_json(path, read_json(path) | {"created": "2001-02-03T04:05:06+00:00"})
    before = path.read_bytes()
    plan_in(tmp_path)
    assert path.read_bytes() == before
    assert all((tmp_path / arm.name / "config.json").is_file() for arm in plan.arms)


def test_another_config_in_the_same_folder_is_refused(tmp_path):
    plan_in(tmp_path)
    before = (tmp_path / "plan.json").read_bytes()
    with pytest.raises(UserError, match=r"batch_size: 64 -> 32"):
        plan_in(tmp_path, **{"train.batch_size": 32})
    assert (tmp_path / "plan.json").read_bytes() == before


@pytest.mark.parametrize(
    "file",
    [
        *FILES_OF_ABLATION,
        *(f"{name}/mine" for name in FOLDERS_OF_ABLATION),
        *(f"plain-8/{name}" for name in FILES_OF_RUN),
        *(f"plain-8/{name}/mine" for name in (*FOLDERS_OF_RUN, "seed-0", "seed-1")),
    ],
)
def test_files_of_the_user_are_never_replaced(tmp_path, file):
    (tmp_path / file).parent.mkdir(exist_ok=True, parents=True)
    (tmp_path / file).write_text("mine")
    with pytest.raises(UserError, match=r"that no run wrote .*--workdir"):
        plan_in(tmp_path)
    assert [str(p.relative_to(tmp_path)) for p in files_in(tmp_path)] == [file]


def files_in(folder):
    return [path for path in folder.rglob("*") if path.is_file()]


def test_more_seeds_are_cells_of_their_own(tmp_path):
    first = {"plain-8": (0, 1)}
    assert seeds_of(plan_in(tmp_path)) == first
    before = (tmp_path / "plain-8" / "config.json").read_bytes()
    more = first | {"plain-8/seeds-2": (2, 3, 4)}
    assert seeds_of(plan_in(tmp_path, 5)) == more
    # What is there is kept, and said nothing about it stays.
    assert (tmp_path / "plain-8" / "config.json").read_bytes() == before
    assert seeds_of(plan_in(tmp_path)) == more
    again = more | {"plain-8/seeds-5": (5,)}
    assert seeds_of(plan_in(tmp_path, 6)) == again
    assert read_json(tmp_path / "plan.json")["seeds"] == list(range(6))
    with pytest.raises(UserError, match=r"--seeds=3, but .* holds 6 seeds"):
        plan_in(tmp_path, 3)


def test_a_plan_that_another_command_has_overtaken_is_refused(tmp_path):
    """Made before the lock was taken, while the other still wrote its own."""
    plan = plan_in(tmp_path)
    plan_in(tmp_path, 5)
    before = (tmp_path / "plan.json").read_bytes()
    with pytest.raises(UserError, match="seeds-2, which would no longer be planned"):
        write_plan(plan, {cell.name: FACTS for cell in plan.cells})
    assert (tmp_path / "plan.json").read_bytes() == before


def test_arms_may_have_different_numbers_of_seeds(tmp_path):
    counts = {arm.name: 2 for arm in load_ablation("degradation").arms("smoke")}
    plan = plan_in(tmp_path, counts | {"plain-8": 4})
    assert {c.arm.name: len(c.seeds) for c in plan.cells} == counts | {"plain-8": 4}
    assert seeds_of(plan_in(tmp_path)) == {"plain-8": (0, 1, 2, 3)}


def test_each_fold_is_a_cell(tmp_path):
    plan = plan_in(tmp_path, num_folds=3)
    assert seeds_of(plan) == {f"plain-8/fold-{i}": (0, 1) for i in range(3)}
    folds = [(c.config.data.num_folds, c.config.data.fold) for c in plan.cells]
    assert folds[:3] == [(3, 0), (3, 1), (3, 2)]
    planned = read_json(tmp_path / "plan.json")["arms"][0]["cells"]
    assert len({cell["data_hash"] for cell in planned}) == 3


def test_after_folds_each_arm_once_on_all_of_them(tmp_path):
    plan = make_plan(
        load_ablation("degradation"),
        "smoke",
        num_seeds=None,
        num_folds=3,
        holds_out=False,
        data_dir="",
        workdir=str(tmp_path / "folds"),
        changes={},
    )
    assert plan.workdir == tmp_path / "folds-all"
    assert seeds_of(plan) == {"plain-8": (0, 1)}
    for cell in plan.cells:
        assert (cell.config.data.num_folds, cell.config.data.fold) == (3, -1)
        assert cell.fold is None


@pytest.mark.parametrize("key", ["seeds.count", "data.num_folds", "data.fold"])
def test_what_has_a_flag_of_its_own(tmp_path, key):
    with pytest.raises(UserError, match=f"--set={key} does nothing here: give --"):
        plan_in(tmp_path, **{key: 2})


@pytest.mark.parametrize(
    ("file", "words"),
    [
        ("plan.json", "is not what a run wrote.*--workdir"),
        ("config.json", "the folder of a single training.*--workdir"),
    ],
)
@pytest.mark.parametrize("content", ['{"plan": 3}', "[]"])
def test_a_folder_of_something_else_is_refused(tmp_path, file, words, content):
    (tmp_path / file).write_text(content)
    with pytest.raises(UserError, match=words):
        earlier_plan(tmp_path)


def test_a_folder_keeps_its_ablation_its_scale_and_its_cells(tmp_path):
    plan = plan_in(tmp_path, num_folds=2)
    before = (tmp_path / "plan.json").read_bytes()
    with pytest.raises(UserError, match=r"holds plain-8/fold-0, which .*--folds"):
        plan_in(tmp_path)
    for ablation, scale, words in (
        ("degradation", "laptop", "a plan of scale 'smoke', not 'laptop'"),
        ("norm_axis", "smoke", "a plan of ablation 'degradation', not 'norm_axis'"),
    ):
        with pytest.raises(UserError, match=words):
            make_plan(
                dataclasses.replace(load_ablation("degradation"), name=ablation),
                scale,
                num_seeds=None,
                data_dir="",
                workdir=str(tmp_path),
                changes={},
            )
    assert (tmp_path / "plan.json").read_bytes() == before
    assert plan_in(tmp_path, num_folds=2).cells == plan.cells


@pytest.mark.parametrize("name", ["../up", "/abs", ".", "", "report.html"])
def test_a_plan_whose_arm_is_a_path_is_refused(tmp_path, name):
    plan_in(tmp_path)
    stored = read_json(tmp_path / "plan.json")
    stored["arms"][0]["name"] = name
    for cell in stored["arms"][0]["cells"]:
        cell["name"] = name
    write_json(tmp_path / "plan.json", stored)
    with pytest.raises(UserError, match=r"plan\.json .*arms\[0\]\.name: arm"):
        plan_in(tmp_path)
