"""Dry runs: what a plan would train, without data."""

import io

import pytest
from rich.console import Console

from cnnjax.ablation.define import Ablation, Axis, Scale
from cnnjax.ablation.execute import dry_run as module
from cnnjax.ablation.execute.dry_run import (
    duration,
    estimate,
    large,
    print_atlas,
    print_plan,
    tflop,
)
from cnnjax.ablation.plan import load_ablation, make_plan

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
    monkeypatch.setattr(module, "training_rate", lambda: 1e12)
    console = Console(file=io.StringIO(), width=80, color_system=None)
    print_plan(paper, console=console)
    text = console.file.getvalue()
    for word in ("residual-1202", "64,000", "2.829 G", "19.42 M", "6 runs"):
        assert word in text
    assert "…" not in text
    assert "published facts" in text


def test_one_line_an_ablation_and_the_totals(monkeypatch, tmp_path):
    monkeypatch.setattr(module, "training_rate", lambda: 1e9)
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
