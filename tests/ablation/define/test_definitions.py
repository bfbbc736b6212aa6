"""Every definition in configs/ablations/, at every scale."""

import re
from pathlib import Path

import pytest

import configs.ablations.degradation
from cnnjax.ablation.execute.inline import run_ablation, set_up_all
from cnnjax.ablation.judge.collect import collect
from cnnjax.ablation.plan import load_ablation, make_plan
from cnnjax.ablation.report.pages import write_report
from cnnjax.config import digest
from tests.slow import slow_but

FOLDER = Path(configs.ablations.degradation.__file__).parent
NAMES = sorted(path.stem for path in FOLDER.glob("[!_]*.py"))
EMBEDDED = ("digits",)  # the data that need no folder
MAX_LINES = 390
# One training evaluated in several ways: a high error is the result, no failure.
UNGATED = ("bn_train_test",)


def plan_of(name, scale, workdir):
    return make_plan(
        load_ablation(name),
        scale,
        num_seeds=None,
        data_dir="",
        workdir=str(workdir),
        changes={},
    )


@pytest.mark.parametrize("name", NAMES)
def test_what_a_definition_says(name):
    ablation, path = load_ablation(name), FOLDER / f"{name}.py"
    text = path.read_text()
    assert ablation.name == name
    assert ablation.question.endswith("?")
    assert {"smoke", "laptop", "paper"} <= set(ablation.scales)
    assert len(text.splitlines()) <= MAX_LINES
    assert "fmt: " not in text
    assert "Source: " in text
    assert f"./launch.sh ablate --ablation={name}" in text
    assert ablation.claims
    for claim in ablation.claims:
        assert re.search(r"(19|20)\d\d", claim.source), claim.name
        assert claim.text.endswith(".")


@pytest.mark.parametrize("name", NAMES)
def test_every_scale_resolves_to_arms_that_differ(name, tmp_path):
    ablation = load_ablation(name)
    for scale in ablation.scales:
        plan = plan_of(name, scale, tmp_path / scale)
        hashes = {cell.name: digest(cell.config) for cell in plan.cells}
        assert len(set(hashes.values())) == len(hashes), scale


@pytest.mark.parametrize("name", NAMES)
def test_laptop_poses_a_claim_and_takes_several_seeds(name):
    ablation = load_ablation(name)
    assert ablation.posed("laptop")
    assert ablation.scale("laptop").seeds >= 5


@pytest.mark.parametrize("name", NAMES)
def test_what_decides_is_stated_beforehand(name):
    ablation = load_ablation(name)
    for scale_name, scale in ablation.scales.items():
        if scale_name == "smoke":  # shows that it runs, and decides nothing
            continue
        posed = ablation.posed(scale_name)
        assert sum(claim.headline for claim in posed) == 1
        assert (scale.gate is None) == (name in UNGATED)
        for claim in posed:
            # A tolerance says by itself what matters; the cost of a step is measured
            # once, so that nothing could show that there is no difference.
            exempt = claim.is_tolerance or claim.metric == "step_milliseconds"
            assert (claim.matters is None) == exempt, claim.name
    assert (ablation.failed_above is None) == (name in UNGATED)


@pytest.mark.parametrize("name", NAMES)
def test_smoke_needs_no_folder_of_data(name, tmp_path):
    plan = plan_of(name, "smoke", tmp_path)
    assert {cell.config.data.name for cell in plan.cells} <= set(EMBEDDED)


@pytest.mark.parametrize("name", slow_but(["bn_train_test"], NAMES))
def test_smoke_takes_seconds(name, tmp_path):
    runs = set_up_all(plan_of(name, "smoke", tmp_path))
    # Seconds: no more than a net of a million multiply-adds on some epochs of digits.
    assert sum(run.work() for run in runs.values()) < 3e11


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_smoke_runs_and_reports(name, tmp_path):
    assert run_ablation(plan_of(name, "smoke", tmp_path), jobs=2) == 0
    sweep = collect(tmp_path)
    assert {row.status for row in sweep.rows} <= {"done", "failed"}
    assert any(row.status == "done" for row in sweep.rows)
    page, *_ = write_report(tmp_path)
    assert sweep.ablation.question in page.read_text()
