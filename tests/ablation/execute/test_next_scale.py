"""What a quick answer says at its end."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from cnnjax.ablation.execute import next_scale as module
from cnnjax.ablation.execute.next_scale import print_next, seconds_of
from cnnjax.ablation.plan import load_ablation, make_plan

OPTIONS = {"num_seeds": None, "data_dir": "", "workdir": "", "changes": {}}


@pytest.fixture
def plan(monkeypatch):
    """A quick plan, of whose runs two of two seeds took 2 s and 4 s a seed."""
    runs = [
        SimpleNamespace(
            status="done", result={"cost": {"compile_seconds": 1.0, "run_seconds": run}}
        )
        for run in (2.0, 2.0, 4.0, 4.0)
    ]
    monkeypatch.setattr(module, "collect", lambda _: SimpleNamespace(rows=runs))
    monkeypatch.setattr(module, "jobs_of", lambda _: 2)
    return make_plan(load_ablation("degradation"), "quick", **OPTIONS)


def test_the_next_command_and_what_it_adds(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = []
    print_next(plan, "degradation", Path("report.md"), lines.append)
    assert lines[0] == "report: report.md"
    assert lines[1].startswith(
        "next: ./launch.sh ablate --ablation=degradation --scale=laptop adds 8 arms"
    )
    assert ", probe lesion" in lines[1]
    assert " claims, " in lines[1]


def test_its_time_is_that_of_the_runs_that_are_there(plan, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    larger = make_plan(plan.ablation, "laptop", **OPTIONS)
    epochs = larger.cells[0].config.train.epochs / plan.cells[0].config.train.epochs
    compiling = 1.0 * len(plan.seeds) * 12 * (1 + 3 * module.PROBE_SHARE)
    running = 3.0 * 60 * epochs
    assert seconds_of(plan, larger) == pytest.approx((compiling + running) / 2)


def test_after_other_scales_there_is_nothing_to_add(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = []
    smoke = make_plan(load_ablation("degradation"), "smoke", **OPTIONS)
    print_next(smoke, "degradation", Path("report.md"), lines.append)
    assert len(lines) == 1
