"""How many seeds a plan needs, by what earlier runs tell."""

import dataclasses
import json
import statistics

import pytest

from cnnjax.ablation.define import higher, not_higher
from cnnjax.ablation.execute import needs as module
from cnnjax.ablation.execute.needs import needs, sentences
from cnnjax.ablation.judge.collect import collect, write_csv
from cnnjax.ablation.judge.power import seeds_to_exclude, seeds_to_see
from cnnjax.ablation.plan import make_plan
from tests.ablation.small_degradation import get_ablation
from tests.ablation.synthetic_sweep import write_sweep

# Made-up test errors of these have a spread near 1 point.
ARMS = "residual-20", "residual-32"
MATTERS = higher(
    "test_error",
    ARMS[0],
    than=ARMS[1],
    source="nobody",
    name="matters",
    matters=1.5,
    because="made up",
)
TOLERANCE = not_higher(
    "test_error", *ARMS[:1], than=ARMS[1], tolerance=2.0, source="nobody", name="most"
)


@pytest.fixture
def no_reports(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "RESULTS", tmp_path / "results")
    return tmp_path / "results"


def plan(workdir, *claims, **options):
    ablation = dataclasses.replace(get_ablation(), claims=claims, published=())
    given = {"num_seeds": None, "data_dir": "", "changes": {}} | options
    return make_plan(ablation, "laptop", workdir=str(workdir), **given)


def spread(folder):
    """Standard deviation of the contrast, by hand, pooled over its arms."""
    values = collect(folder).values("test_error")
    rows = [list(values[arm].values()) for arm in ARMS]
    means = [sum(row) / len(row) for row in rows]
    squares = sum(
        (x - mean) ** 2 for row, mean in zip(rows, means, strict=True) for x in row
    )
    pooled = squares / sum(len(row) - 1 for row in rows)
    return (2 * pooled) ** 0.5


def test_a_pilot_in_the_folder_tells_the_spread(tmp_path, no_reports):
    folder = write_sweep(tmp_path / "runs", seeds=(0, 1, 2))
    found, source = needs(plan(folder, MATTERS, TOLERANCE))
    sd = spread(folder)
    assert source == str(folder)
    assert [need.sd for need in found] == pytest.approx([sd, sd])
    assert [need.num_runs for need in found] == [6, 6]
    alpha = 0.05 / 2
    assert found[0].to_see == seeds_to_see(1.5, sd, alpha)
    assert found[0].to_exclude == seeds_to_exclude(1.5, 0.0, sd, alpha)
    # Where there is no difference, a tolerance is as far away as it is large.
    assert found[1].to_see == seeds_to_see(2.0, sd, alpha)
    words = sentences(found, source)
    assert words[0] == f"seeds for 80% power, with the spread of {folder}"
    assert words[1].startswith(f"  matters: {found[0].to_see} to see 1.5 points; ")
    assert words[1].endswith("planned 3 (too few)")


def test_arms_that_evaluate_the_same_nets_are_paired(tmp_path, no_reports):
    folder = write_sweep(tmp_path / "runs", seeds=(0, 1, 2, 3))
    alike = {seed: 10.0 + 3 * seed for seed in range(4)}
    shifts = (1.0, 1.1, 0.9, 1.0)
    values = {
        ARMS[0]: {seed: alike[seed] + shifts[seed] for seed in alike},
        ARMS[1]: alike,
    }
    need = needs(plan(folder, MATTERS))[0][0]
    paired = module._with_spread(need, values, alpha=0.05, sequential=False)
    assert paired.is_paired
    assert paired.sd == pytest.approx(statistics.stdev(shifts))
    assert "of pairs" in sentences([paired], "")[1]


def test_seeds_that_are_added_to_a_pilot_were_looked_at(tmp_path, no_reports):
    folder = write_sweep(tmp_path / "runs", seeds=(0, 1, 2))
    (need,), _ = needs(plan(folder, MATTERS, num_seeds=5))
    assert need.to_see == seeds_to_see(1.5, need.sd, 0.05, anytime=True)


def test_a_headline_and_a_limit(tmp_path, no_reports):
    folder = write_sweep(tmp_path / "runs", seeds=(0, 1, 2))
    headline = dataclasses.replace(MATTERS, headline=True)
    found, source = needs(plan(folder, headline, TOLERANCE), most=30)
    assert found[0].to_see == seeds_to_see(1.5, found[0].sd, 0.05, anytime=True)
    assert found[1].to_see == seeds_to_see(2.0, found[1].sd, 0.05, anytime=True)
    assert "at most 30" in sentences(found, source)[1]


@pytest.mark.parametrize("records", [True, False])
def test_a_published_report_tells_the_spread(tmp_path, no_reports, records):
    folder = write_sweep(tmp_path / "runs")
    report = no_reports / "degradation-laptop"
    report.mkdir(parents=True)
    sweep = collect(folder)
    if records:
        from cnnjax.ablation.judge.published import write_published

        write_published(sweep, folder, report, str, 10**6)
    else:
        write_csv(sweep, report / "results.csv")
    found, source = needs(plan(tmp_path / "new", MATTERS))
    assert source == "docs/results/degradation-laptop"
    assert found[0].sd == pytest.approx(spread(folder))


def test_runs_that_failed_are_no_spread(tmp_path, no_reports):
    folder = write_sweep(tmp_path / "runs", seeds=(0, 1, 2, 3))
    before = spread(folder)
    path = folder / ARMS[0] / "seed-3" / "result.json"
    result = json.loads(path.read_text())
    result["final"]["train"]["error"] = result["final"]["test"]["error"] = 90.0
    path.write_text(json.dumps(result))
    definition = json.loads((folder / "plan.json").read_text())
    definition["spec"]["ablation"]["failed_above"] = 81.0
    (folder / "plan.json").write_text(json.dumps(definition))
    (need,), _ = needs(plan(folder, MATTERS))
    assert need.num_runs == 7
    assert need.sd == pytest.approx(before, rel=0.5)


def test_nothing_is_known_without_earlier_runs(tmp_path, no_reports):
    found, source = needs(plan(tmp_path, MATTERS))
    assert (found[0].to_see, found[0].num_runs, source) == (None, 0, "")
    words = sentences(found, source)
    assert "run a few as a pilot" in words[0]
    assert words[1] == "  matters: at least 2; planned 5"
    robust = dataclasses.replace(MATTERS, test="wilcoxon")
    found, source = needs(plan(tmp_path, robust))
    assert sentences(found, source)[1] == (
        "  matters: no fewer than 6 can decide it; planned 5 (too few)"
    )


def test_folds_are_a_number_by_themselves(tmp_path, no_reports):
    assert needs(plan(tmp_path, MATTERS, num_folds=3)) == ([], "")


def test_a_damaged_report_says_nothing(tmp_path, no_reports):
    report = no_reports / "degradation-laptop"
    report.mkdir(parents=True)
    (report / "results.csv").write_bytes(b"\xff\x00,arm\n1,2")
    assert needs(plan(tmp_path, MATTERS))[1] == ""
    (report / "records.jsonl").write_text("nothing")
    assert needs(plan(tmp_path, MATTERS))[1] == ""
