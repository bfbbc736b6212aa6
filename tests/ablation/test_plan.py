"""What a plan writes before anything runs."""

import pytest

from cnnjax.ablation.plan import load_ablation, make_plan, write_plan
from cnnjax.errors import UserError
from cnnjax.records import read_json, write_json

FACTS = {"num_params": 1, "multiply_adds": 1, "epochs": 1.0, "steps": 20}


def plan_in(workdir, **changes):
    plan = make_plan(
        load_ablation("degradation"),
        "smoke",
        num_seeds=None,
        data_dir="",
        workdir=str(workdir),
        changes=changes,
    )
    write_plan(plan, {arm.name: FACTS for arm in plan.arms})
    return plan


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
