"""Dry runs: what a plan would train, without data."""

import dataclasses
import io

import pytest
from rich.console import Console

from cnnjax.ablation.define import Ablation, Axis, Scale
from cnnjax.ablation.execute import dry_run as module
from cnnjax.ablation.execute.dry_run import (
    ArmEstimate,
    Estimate,
    duration,
    estimate,
    large,
    print_atlas,
    print_plan,
    tflop,
)
from cnnjax.ablation.plan import load_ablation, make_plan
from cnnjax.devices.speed import Speed

OPTIONS = {"num_seeds": 3, "data_dir": "", "workdir": "", "changes": {}}


@pytest.fixture(scope="module")
def paper():
    """Two nets of He et al. 2015 for CIFAR-10, without the data."""
    ablation = Ablation(
        name="toy",
        title="Depth",
        question="Deep?",
        source="nobody",
        axes=(Axis.over("depth", "model.depth", (20, 1202)),),
        x_axis="depth",
        arm_name="residual-{depth}",
        metrics=("test_error",),
        scales={"paper": Scale(recipe="resnet_cifar10", seeds=5)},
    )
    return make_plan(ablation, "paper", **OPTIONS)


def test_published_facts_stand_in_for_data(paper):
    found = estimate(paper)
    small, deep = found.arms
    assert (small.num_params, small.multiply_adds) == (269_722, 40_551_040)
    assert (deep.num_params, deep.multiply_adds) == (19_421_274, 2_829_238_912)
    assert small.steps == 64_000
    # Three forward passes (two for the gradient) of 128 images, for 3 seeds.
    assert small.work == 3 * 40_551_040 * 64_000 * 128 * 3
    assert found.num_runs == 6
    assert len(found.notes) == 1
    assert "CIFAR-10" in found.notes[0]


def test_the_dry_run_fits_a_narrow_screen(paper, monkeypatch):
    monkeypatch.setattr(module, "machine_speed", lambda _: Speed(1e12, 1e-4, 1.0))
    console = Console(file=io.StringIO(), width=80, color_system=None)
    print_plan(paper, console=console)
    text = console.file.getvalue()
    for word in ("residual-1202", "64,000", "2.829 G", "19.42 M", "6 runs"):
        assert word in text
    assert "…" not in text
    assert "published facts" in text


def test_time_is_compiling_probes_and_steps_of_what_runs_side_by_side():
    speed = Speed(rate=100.0, layer_seconds=0.01, compile_seconds=2.0)
    arm = ArmEstimate(
        "a", num_runs=3, steps=10, epochs=1.0, num_params=1, multiply_adds=1,
        work=500.0, variables=4, num_probes=2,
    )  # fmt: skip
    # 5 s of multiply-adds; 4 s of programs and of each probe; 30 steps of 0.04 s.
    assert arm.seconds(speed) == pytest.approx(5 + 4 + 8 + 1.2)
    found = Estimate((arm, arm, arm), (), is_declared=False)
    assert found.seconds(speed, 2) == pytest.approx(15 + 1.5 * 13.2)
    # Never less than its longest arm.
    assert found.seconds(speed, 100) == pytest.approx(5 + 13.2)
    done = dataclasses.replace(arm, num_runs=0, num_cells=0, work=0.0)
    assert Estimate((done,), (), is_declared=False).seconds(speed, 2) == 0


def test_one_line_an_ablation_and_the_totals(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "machine_speed", lambda _: Speed(1e9, 1e-4, 1.0))
    lines = []
    names = ["degradation", "no such", "bottleneck"]
    options = {key: value for key, value in OPTIONS.items() if key != "workdir"}
    assert print_atlas(names, tmp_path, "smoke", lines.append, **options) == 1
    plans = [make_plan(load_ablation(n), "smoke", **OPTIONS) for n in names[::2]]
    counts = [sum(len(cell.seeds) for cell in plan.cells) for plan in plans]
    assert f"{len(plans[0].arms)} arms, {counts[0]} runs" in lines[0]
    assert lines[1].startswith("no such: refused: unknown ablation")
    assert lines[-1].startswith(f"all: {sum(counts)} runs")
    assert len(lines) == 4


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (duration(42.04), "42 s"),
        (duration(600), "10 min"),
        (duration(5 * 3600), "5 h"),
        (duration(86400 * 5330), "5,330 d"),
        (large(19_074), "19,074"),
        (large(269_722), "269.7 k"),
        (large(2_829_238_912), "2.829 G"),
        (tflop(0.5e12), "1"),
        (tflop(123_456e12), "246,912"),
    ],
)
def test_large_numbers(text, expected):
    assert text == expected
