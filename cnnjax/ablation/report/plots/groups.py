"""Which figures a report has, and what they say."""

import functools
from collections.abc import Sequence

from cnnjax.ablation.define.metrics import METRICS
from cnnjax.ablation.judge.collect import Sweep
from cnnjax.ablation.judge.verdict import Verdict
from cnnjax.ablation.report.plots import curves, draw, effects, profiles
from cnnjax.ablation.report.plots.figures import Group, Panel
from cnnjax.ablation.report.plots.series import x_name

MOST_COLUMNS = 3
CURVES_A_PANEL = 7
MARKERS = (
    "Large markers: mean over seeds; bars: 95% t interval of the mean; small markers: "
    "single seeds."
)
SPREAD = "Lines: mean over seeds; bands: smallest to largest seed."


def build_groups(sweep: Sweep, verdicts: Sequence[Verdict]) -> list[Group]:
    """The figures of a report that are not empty, but for `answer_group`."""
    groups = [_metric_group(sweep), _effect_group(verdicts), _curve_group(sweep)]
    groups += _probe_groups(sweep)
    return [group for group in groups if group.panels]


def answer_group(sweep: Sweep, headline: Verdict | None) -> Group | None:
    """The one picture that shows the answer: the metric and the arms of the headline.

    Args:
      sweep: the runs.
      headline: verdict of the claim that answers the question; without one the first
        metric is shown.

    Returns:
      A group of one panel; None if nothing is measured.
    """
    metrics = draw.plotted_metrics(sweep)
    arms: tuple[str, ...] = ()
    if headline is not None:
        values = sweep.values(headline.claim.metric)
        arms = tuple(arm for arm in headline.claim.contrast if values[arm])
        metrics = [headline.claim.metric] if any(values.values()) else metrics
    if not metrics:
        return None
    shown = draw.answering(sweep, metrics[0], arms)
    caption = MARKERS
    if arms:
        caption += " Rings: the nets that are compared."
    caption += _of_failures(sweep, metrics[0])
    title = f"{_upper(METRICS[metrics[0]].title)} against {x_name(sweep)}"
    return Group("answer", title, caption, [_metric_panel(shown, title)], 1)


def _metric_panel(shown: draw.Shown, title: str) -> Panel:
    drawing = functools.partial(draw.draw_metric, shown=shown)
    return Panel(title, drawing, *shown.size)


def _metric_group(sweep: Sweep) -> Group:
    shown = draw.plotted_metrics(sweep)
    panels = [
        _metric_panel(draw.Shown(sweep, metric), _upper(METRICS[metric].title))
        for metric in shown
    ]
    caption = (
        f"{MARKERS} Where errors span more than a factor of ten, the axis is linear "
        "below 1% and logarithmic above."
    )
    caption += _of_failures(sweep, shown[0] if shown else "")
    rates = all(METRICS[metric].unit == "%" for metric in shown)
    what = "Error" if rates else " and ".join(METRICS[m].title for m in shown)
    title = f"{_upper(what)} against {x_name(sweep)}"
    return Group("error", title, caption, panels, 2)


def _of_failures(sweep: Sweep, metric: str) -> str:
    if draw.failed_runs(sweep, metric):
        return " Crosses in the shaded strip: how many runs failed."
    return ""


def _effect_group(verdicts: Sequence[Verdict]) -> Group:
    by_title: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.shown is not None:
            title = f"effect ({effect_unit(verdict.claim.metric)})"
            by_title.setdefault(title, []).append(verdict)
    tested = [verdict for own in by_title.values() for verdict in own]
    caption = (
        "Each effect has the sign of its claim. The claim holds on the side of the "
        "vertical bar to which the triangle points. Effects are paired over seeds; the "
        "95% intervals are not corrected for the number of claims. "
        f"{effects.shapes_in_words(tested)}"
    )
    if effects.has_endless(verdicts):
        caption += (
            " Bars that reach the edge have no end: where results decide how many "
            "seeds there are, so few of them bound nothing."
        )
    panels = [
        Panel(
            "Effect per claim" if len(by_title) == 1 else _upper(title),
            functools.partial(effects.draw_effects, verdicts=own, title=title),
            height=effects.effect_rows(own).height,
        )
        for title, own in by_title.items()
    ]
    return Group("effects", "Effects", caption, panels, 2)


def effect_unit(metric: str) -> str:
    """The unit of a difference of two values of a metric; its title if it has none.

    Differences of rates are percentage points.
    """
    about = METRICS[metric]
    if about.unit in ("%", "points"):
        return "percentage points"
    return about.unit or about.title


def _curve_group(sweep: Sweep) -> Group:
    splits = curves.splits_drawn(sweep)
    sets = curves.curve_sets(sweep, CURVES_A_PANEL)
    panels = [
        Panel(
            _upper(f"{title}: {name}".removeprefix(": ")),
            functools.partial(curves.draw_curves, sweep=sweep, arms=arms, split=split),
        )
        for split, name in splits.items()
        for title, arms in sets
        if any(curve.arm in arms for curve in curves.curves_of(sweep, split))
    ]
    how = (
        "over augmented training batches, averaged since the previous point"
        if "running" in splits
        else "over the whole training set"
    )
    caption = f"By {x_name(sweep)}. {SPREAD} Training error {how}."
    columns = min(len(sets), MOST_COLUMNS)
    return Group("curves", "Training curves", caption, panels, columns)


def _probe_groups(sweep: Sweep) -> list[Group]:
    """One group per probe; its profiles in rows, sets of arms in columns."""
    sets = curves.curve_sets(sweep, CURVES_A_PANEL)
    panels: dict[str, list[Panel]] = {}
    for profile in profiles.profiles_of(sweep):
        for title, arms in sets:
            if profile.values.keys() & set(arms):
                drawing = functools.partial(
                    profiles.draw_profile, sweep=sweep, profile=profile, arms=arms
                )
                name = _upper(", ".join(filter(None, (title, profile.name))))
                panels.setdefault(profile.probe, []).append(Panel(name, drawing))
    columns = min(len(sets), MOST_COLUMNS)
    return [
        Group(probe, _upper(probe.replace("_", " ")), SPREAD, own, columns)
        for probe, own in panels.items()
    ]


def _upper(title: str) -> str:
    return title[:1].upper() + title[1:]
