"""The positions of labels, and the grouping of arms into lines."""

import itertools

import pytest

from cnnjax.ablation.define import Ablation, Axis, Scale, higher
from cnnjax.ablation.judge.collect import collect
from cnnjax.ablation.report.pages import write_report
from cnnjax.ablation.report.plots.scales import place
from cnnjax.ablation.report.plots.series import lines_of, style, x_labels
from tests.ablation.synthetic_sweep import edit_result, write_sweep


def gaps(labels):
    at = list(place(labels).at.values())
    return [b - a for a, b in itertools.pairwise(at)]


def test_labels_that_halve_stand_at_equal_distances_in_the_order_given():
    labels = ("32", "16", "8", "4", "2")
    assert place(labels).kind == "log"
    assert min(gaps(labels)) > 0
    assert gaps(labels) == pytest.approx([gaps(labels)[0]] * 4)


def test_numbers_within_a_decade_stand_by_value():
    assert place(("20", "32", "56")).at == {"20": 20.0, "32": 32.0, "56": 56.0}


@pytest.mark.parametrize(
    "labels",
    [
        ("relu", "tanh"),
        ("nan", "1"),
        ("1", "1.0"),
        ("1", "2", "3", "1000000", "1000001"),  # would overlap
    ],
)
def test_what_is_no_scale_stands_side_by_side(labels):
    places = place(labels)
    assert places.kind == "names"
    assert [abs(at) for at in places.at.values()] == list(range(len(labels)))


def test_long_labels_stand_below_each_other():
    labels = tuple(f"shortcut-only gating with bias {n}" for n in range(20))
    places = place(labels)
    assert places.vertical
    assert max(places.at.values()) == places.at[labels[0]]


def test_lines_of_one_colour_differ_in_marker_and_dashes():
    looks = [style(index) for index in range(40)]
    for one, other in itertools.combinations(looks, 2):
        if one["color"] == other["color"]:
            assert one["marker"] != other["marker"]
            assert one["ls"] != other["ls"]


@pytest.fixture
def grid(tmp_path):
    """Three axes, one of them neither horizontal nor the series; a failed arm."""
    ablation = Ablation(
        name="grid",
        title="Rates",
        question="Which?",
        source="nobody",
        axes=(
            Axis.over("scale", "init.scale", ("0.3", "3.0")),
            Axis.over("norm", "norm.kind", ("none", "batch")),
            Axis.over("rate", "schedule.learning_rate", ("0.01", "0.1", "1.0")),
        ),
        x_axis="rate",
        series_axis="norm",
        arm_name="{norm}-{scale}-{rate}",
        metrics=("step_milliseconds", "test_error"),
        claims=[
            higher(metric, "none-3.0-0.1", than="batch-3.0-0.1", source="nobody")
            for metric in ("step_milliseconds", "test_error")
        ],
        scales={"s": Scale(recipe="r", seeds=3)},
    )
    write_sweep(tmp_path, "s", seeds=(0, 1, 2), ablation=ablation)
    for arm, seed in itertools.product(ablation.arms("s"), range(3)):
        cost = {"step_seconds": 0.0123 + 0.001 * seed * len(arm.name)}
        edit_result(tmp_path / arm.name / f"seed-{seed}", cost=cost)
    for seed in range(3):
        edit_result(
            tmp_path / "none-3.0-1.0" / f"seed-{seed}",
            status="failed",
            reason="the loss was not finite",
            final=None,
            best=None,
        )
    return tmp_path


def test_every_arm_is_on_one_line(grid):
    sweep = collect(grid)
    lines = lines_of(sweep)
    assert [line.label for line in lines] == [
        "none, 0.3",
        "batch, 0.3",
        "none, 3.0",
        "batch, 3.0",
    ]
    assert x_labels(sweep) == ["0.01", "0.1", "1.0"]
    drawn = [arm for line in lines for arm in line.arms.values()]
    assert sorted(drawn) == sorted(sweep.arm_names)


def test_units_and_failed_runs_are_in_picture_and_tables(grid):
    write_report(grid)
    page, text = (grid / "report.html").read_text(), (grid / "report.md").read_text()
    assert ">3/3</text>" in page
    assert "time of a step per seed (ms)" in page
    assert "effect (ms)" in page
    assert "effect (percentage points)" in page
    for file in (page, text):
        assert "Nothing is selected on the test set." in file
    # 12.3, 24.3, 36.3 ms: a name with twelve letters.
    assert "24 ± 30" in text
