"""Figures of the measurements of probes."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from cnnjax.ablation.judge.collect import collect
from cnnjax.ablation.report.plots.figures import save_groups
from cnnjax.ablation.report.plots.groups import build_groups
from cnnjax.ablation.report.plots.profiles import draw_profile, profiles_of
from tests.ablation.synthetic_sweep import edit_result

AXES = ["layer", "norm (of a kind)"]


def profile(depth, values):
    labels = [f"conv{i}" for i in range(depth)]
    positions = list(range(1, depth + 1))
    return {"axes": AXES, "labels": labels, "positions": positions, "values": values}


@pytest.fixture
def probed_dir(sweep_dir):
    """Two arms of different depth; the values of seed k are 10^k times as large."""
    for arm, depth in (("plain-8", 3), ("plain-20", 5)):
        for seed in (0, 1):
            values = [10.0**seed * (i + 1) for i in range(depth)]
            at_end = profile(depth, [*values[:-1], None if seed else values[-1]])
            record = {"profiles": {"early": profile(depth, values), "late": at_end}}
            edit_result(sweep_dir / f"{arm}/seed-{seed}", probes={"norms": record})
    return sweep_dir


def drawn(sweep, which, arms):
    ax = Figure().add_subplot()
    draw_profile(ax, sweep, which, arms)
    return ax


def test_reports_without_probes_have_no_such_figure(sweep_dir):
    sweep = collect(sweep_dir)
    assert profiles_of(sweep) == []
    assert [g.name for g in build_groups(sweep, [])] == ["error", "curves"]


def test_one_line_an_arm_with_the_mean_over_seeds(probed_dir):
    sweep = collect(probed_dir)
    early, late = profiles_of(sweep)
    assert (early.probe, early.name, late.name) == ("norms", "early", "late")
    ax = drawn(sweep, early, ["plain-8", "residual-8", "plain-20"])
    short, long = ax.get_lines()
    np.testing.assert_allclose(short.get_ydata(), [5.5, 11.0, 16.5])
    assert list(long.get_xdata()) == [1, 2, 3, 4, 5]
    assert short.get_color() != long.get_color()
    assert (ax.get_xlabel(), ax.get_ylabel()) == tuple(AXES)
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["8", "20"]
    # A value that is not finite in one seed has no mean.
    *_, last = drawn(sweep, late, ["plain-8"]).get_lines()[0].get_ydata()
    assert np.isnan(last)


def test_values_over_decades_have_a_logarithmic_axis(probed_dir):
    sweep = collect(probed_dir)
    assert drawn(sweep, profiles_of(sweep)[0], ["plain-8"]).get_yscale() == "log"
    for arm, depth in (("plain-8", 3), ("plain-20", 5)):
        for seed in (0, 1):
            record = {"profiles": {"": profile(depth, [2.0] * depth)}}
            edit_result(probed_dir / f"{arm}/seed-{seed}", probes={"norms": record})
    sweep = collect(probed_dir)
    ax = drawn(sweep, profiles_of(sweep)[0], ["plain-8"])
    assert ax.get_yscale() == "linear"
    assert ax.get_ylim()[0] <= 0


def test_runs_that_do_not_count_are_not_drawn(probed_dir):
    edit_result(probed_dir / "plain-8/seed-1", status="failed", reason="why not")
    early = profiles_of(collect(probed_dir))[0]
    assert early.values["plain-8"][1].tolist() == [[1.0, 2.0, 3.0]]


def test_a_figure_for_each_probe_with_a_panel_for_each_profile(probed_dir, tmp_path):
    group = build_groups(collect(probed_dir), [])[-1]
    assert (group.name, group.title) == ("norms", "Norms")
    # Residual nets have no such profile.
    assert [panel.title for panel in group.panels] == ["Plain, early", "Plain, late"]
    for path in save_groups([group], tmp_path)[1]:
        assert path.stat().st_size > 1000
