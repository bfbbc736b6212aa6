"""Everything in a picture can be read: no text is cut off, nothing hides a failure."""

import dataclasses
import itertools

import matplotlib
import numpy as np
import pytest

from cnnjax.ablation.define import Ablation, Axis, Scale, higher, not_higher
from cnnjax.ablation.judge.collect import collect
from cnnjax.ablation.judge.verdict import WORDS, Shown
from cnnjax.ablation.judge.verdicts import judge
from cnnjax.ablation.report.plots import draw, effects
from cnnjax.ablation.report.plots.figures import draw_figure, style_of
from cnnjax.ablation.report.plots.groups import answer_group, build_groups
from cnnjax.ablation.report.plots.rows import rows_of
from cnnjax.ablation.report.plots.series import MARKERS
from cnnjax.ablation.report.verdict_colours import COLOURS
from tests.ablation.synthetic_sweep import edit_result, write_sweep

LONG = "a unit whose name is as long as those of shortcut-only gating with a bias"
FAILURE = {"status": "failed", "reason": "infinite", "final": None, "best": None}


def ablation_of(nets, depths):
    """Claims with sentences of several lines, on metrics with long titles."""
    first, second = (f"{nets[0]}-{depth}" for depth in depths[:2])
    claims = [
        higher(metric, first, than=second, source="x")
        for metric in ("train_error", "generalization_gap", "train_loss")
    ]
    return Ablation(
        name="toy",
        title="Toy",
        question="Which?",
        source="nobody",
        axes=[
            Axis.over("net", "model.name", nets, title="net (of a kind)"),
            Axis.over("depth", "model.depth", depths, title="a title " * 8),
        ],
        arm_name="{net}-{depth}",
        x_axis="depth" if nets[0] == "plain" else "net",
        series_axis="net" if nets[0] == "plain" else "depth",
        metrics=["train_error", "best_test_error"],
        claims=claims,
        scales={"s": Scale(recipe="r", seeds=3)},
    )


KINDS = {
    "numbers": ablation_of(["plain", "residual"], ["20", "32"]),
    "long names": ablation_of([LONG, "b" * 69, "none"], ["20", "32"]),
    "many": ablation_of([f"kind {i} of a unit" for i in range(9)], ["20", "32"]),
}


@pytest.fixture(scope="module", params=KINDS)
def sweep(request, tmp_path_factory):
    """Three runs an arm; one arm has failed on one seed."""
    folder = tmp_path_factory.mktemp("runs")
    write_sweep(folder, "s", seeds=(0, 1, 2), ablation=KINDS[request.param])
    arm = collect(folder).arm_names[1]
    edit_result(folder / arm / "seed-0", **FAILURE)
    return collect(folder)


def figure_of(panels, columns, titles):
    with matplotlib.rc_context(style_of("x")):
        figure = draw_figure(panels, columns, titles)
        figure.draw_without_rendering()
    return figure


@pytest.fixture(scope="module")
def groups(sweep):
    verdicts = judge(sweep)
    return [answer_group(sweep, verdicts[0]), *build_groups(sweep, verdicts)]


@pytest.fixture(scope="module")
def figures(groups):
    """Name of a group -> its figure; the answer as on a page, without a title."""
    return {
        group.name: figure_of(group.panels, group.columns, group.name != "answer")
        for group in groups
    }


def check_inside(figure):
    for ax in figure.axes:
        boxes = [ax.get_tightbbox(), *(text.get_window_extent() for text in ax.texts)]
        for box in boxes:
            assert box.x0 >= -1, box
            assert box.y0 >= -1, box
            assert box.x1 <= figure.bbox.x1 + 1, box
            assert box.y1 <= figure.bbox.y1 + 1, box


def test_no_text_leaves_its_picture(figures):
    assert list(figures) == ["answer", "error", "effects", "curves"]
    for figure in figures.values():
        check_inside(figure)


def test_no_panel_is_wider_than_a_phone_can_show(groups):
    widths = {panel.width for group in groups for panel in group.panels}
    assert widths == {draw.PANEL_SIZE[0]}


def test_no_label_of_a_row_is_on_another(figures):
    for ax in figures["effects"].axes:
        boxes = [text.get_window_extent() for text in ax.texts]
        for one, other in itertools.combinations(boxes, 2):
            assert not one.overlaps(other)


def test_failed_runs_are_marked_where_no_value_is(sweep, figures):
    values = [v for row in sweep.values("train_error").values() for v in row.values()]
    for ax in figures["error"].axes:
        sideways = ax.get_ylabel() == ""
        (mark,) = [text for text in ax.texts if "1/3" in text.get_text()]
        assert "failed" in " ".join(text.get_text() for text in ax.texts)
        box = mark.get_window_extent().transformed(ax.transAxes.inverted())
        start, end = (box.x0, box.x1) if sideways else (box.y0, box.y1)
        assert start >= 1 - draw.FAILED_ROOM
        assert end <= 1
        points = np.zeros((len(values), 2))
        points[:, 0 if sideways else 1] = values
        seen = ax.transAxes.inverted().transform(ax.transData.transform(points))
        assert seen[:, 0 if sideways else 1].max() < start
        axis = ax.xaxis if sideways else ax.yaxis
        assert max(axis.get_majorticklocs()) <= 100


def test_panels_of_one_figure_share_their_axes(figures):
    for name in ("error", "curves"):
        axes = figures[name].axes
        limits = {(ax.get_xlim(), ax.get_ylim()) for ax in axes}
        assert len(axes) > 1
        assert len(limits) == 1


def test_rings_are_around_the_arms_of_the_claim(sweep, figures):
    headline = judge(sweep)[0]
    (ax,) = figures["answer"].axes
    rings = [line for line in ax.get_lines() if line.get_markersize() == 15]
    values = sweep.values("train_error")
    means = [np.mean(list(values[arm].values())) for arm in headline.claim.contrast]
    horizontal = ax.get_ylabel() == ""
    drawn = [(r.get_xdata() if horizontal else r.get_ydata())[0] for r in rings]
    assert sorted(drawn) == pytest.approx(sorted(means))


def test_rows_are_from_top_to_bottom_without_gaps():
    rows = rows_of(["a", "b " * 60, "c"], content=0.3)
    assert rows.at == sorted(rows.at, reverse=True)
    assert len(rows.labels[1].split("\n")) == 3
    one, two, three = rows.at
    assert one - two > two - three > 0.3


def verdict_of(value, low, high, **margin):
    claim = not_higher("train_error", "a", than="b", source="x", **margin)
    found = Shown(value, low, high, limit=margin["tolerance"], most=True)
    return claim, found


def test_effects_and_limits_stand_where_their_sentence_says(sweep):
    verdict = next(v for v in judge(sweep) if v.shown)
    claim, found = verdict_of(3.4, 2.0, 4.8, tolerance=5.0)
    costs = dataclasses.replace(verdict, claim=claim, shown=found)
    ax = matplotlib.figure.Figure().add_subplot()
    effects.draw_effects(ax, [costs], "effect")
    bar, side, value = (line.get_xdata()[0] for line in ax.get_lines()[:3])
    assert (bar, side, value) == (5.0, 5.0, 3.4)
    assert ax.get_lines()[1].get_marker() == effects.TO_THE_LEFT
    assert ax.texts[0].get_text().replace("\n", " ") == claim.text


def test_verdicts_differ_in_shape_and_all_are_named(sweep):
    shapes = [MARKERS[COLOURS[word].line % len(MARKERS)] for word in WORDS]
    assert len(set(shapes)) == len(WORDS)
    verdict = judge(sweep)[0]
    all_words = [dataclasses.replace(verdict, verdict=word) for word in WORDS]
    said = effects.shapes_in_words(all_words)
    assert all(f": {word}" in said for word in WORDS)


def test_the_answer_on_failed_runs_shows_their_share_and_nothing_twice(tmp_path):
    ablation = KINDS["numbers"]
    claim = higher("failed", "plain-20", than="plain-32", source="x", headline=True)
    ablation = dataclasses.replace(ablation, claims=[claim])
    write_sweep(tmp_path, "s", seeds=(0, 1, 2), ablation=ablation)
    for seed in range(3):
        edit_result(tmp_path / f"plain-20/seed-{seed}", **FAILURE)
    found = collect(tmp_path)
    group = answer_group(found, judge(found)[0])
    assert "strip" not in group.caption
    (ax,) = figure_of(group.panels, 1, False).axes
    assert ax.get_ylim()[1] > 100
    assert not ax.texts


def test_a_long_legend_takes_nothing_from_the_picture(tmp_path):
    heights = []
    for nets in (["plain", "residual"], ["plain", *(f"kind {i}" for i in range(15))]):
        folder = tmp_path / str(len(nets))
        write_sweep(folder, "s", (0, 1), ablation=ablation_of(nets, ["20", "32"]))
        group = answer_group(collect(folder), None)
        (ax,) = figure_of(group.panels, 1, False).axes
        heights.append(ax.get_window_extent().height)
    assert heights[1] > 0.85 * heights[0]
