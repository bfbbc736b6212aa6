"""Renders panels as files (PNG, SVG) and as SVG elements within a page.

The inline SVG draws text, axes and grid in the colour of the surrounding text, so that
it fits light and dark pages.
"""

import dataclasses
import functools
import io
import re
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from cnnjax.ablation.define.metrics import METRICS
from cnnjax.ablation.judge.collect import Sweep
from cnnjax.ablation.judge.verdict import Verdict
from cnnjax.ablation.report.plots import curves, draw, profiles
from cnnjax.ablation.report.plots.series import legend_rows, x_title
from cnnjax.ablation.report.plots.words import drawn
from cnnjax.errors import in_words
from cnnjax.records import write_bytes, write_text
from cnnjax.screen import say

# A colour used nowhere else; replaced by currentColor in SVG.
SENTINEL = "#010203"
PAPER_INK = "#1b1f24"
PANEL_SIZE = (4.8, 3.6)  # inches
EFFECTS_WIDTH = 7.2
TITLE_LETTERS = 40
PNG_DPI = 120
PNG_COLORS = 96  # small files, still with smooth edges
MOST_COLUMNS = 3
CURVES_A_PANEL = 7


@dataclasses.dataclass(frozen=True)
class Panel:
    """One set of axes.

    Attributes:
      title: heading of the panel.
      draw: draws on the given axes.
      width: in inches.
      height: in inches.
    """

    title: str
    draw: Callable[[Axes], None]
    width: float = PANEL_SIZE[0]
    height: float = PANEL_SIZE[1]


@dataclasses.dataclass(frozen=True)
class Group:
    """Panels that belong together: one file in `plots/`, one section of the page.

    Attributes:
      name: of the file.
      title: heading.
      caption: explains the marks.
      panels: in reading order, `columns` per row.
      columns: panels side by side in the file.
    """

    name: str
    title: str
    caption: str
    panels: Sequence[Panel]
    columns: int


def build_groups(sweep: Sweep, verdicts: Sequence[Verdict]) -> list[Group]:
    """The figures of a report that are not empty."""
    groups = [_metric_group(sweep), _effect_group(verdicts), _curve_group(sweep)]
    groups += _probe_groups(sweep)
    return [group for group in groups if group.panels]


def save_groups(
    groups: Sequence[Group], folder: Path
) -> tuple[list[Group], list[Path]]:
    """Writes groups as PNG and SVG; the same results give the same bytes.

    One that cannot be drawn, whatever the reason, leaves the others and the page.

    Returns:
      The groups, where this one has no panels and a caption that says why, and the
      paths written.

    Raises:
      UserError: the folder cannot be written.
    """
    shown, paths = [], []
    for group in groups:
        png, svg = folder / f"{group.name}.png", folder / f"{group.name}.svg"
        try:
            as_png = png_of(group.panels, group.columns, group.name)
            as_svg = _svg(group.panels, group.columns, group.name, titles=True)
        except Exception as error:  # of matplotlib, for numbers or texts of any kind
            for path in (png, svg):  # of an earlier report
                path.unlink(missing_ok=True)
            why = f"{group.title} cannot be drawn ({in_words(error)})"
            say(f"note: {why}")
            shown.append(dataclasses.replace(group, panels=[], caption=f"{why}."))
            continue
        write_bytes(png, as_png)
        write_text(svg, as_svg)
        shown.append(group)
        paths += [png, svg]
    return shown, paths


def png_of(
    panels: Sequence[Panel], columns: int, name: str, dpi: int = PNG_DPI
) -> bytes:
    """Panels with a small palette, which makes files three times smaller."""
    buffer = io.BytesIO()
    with matplotlib.rc_context(_style(PAPER_INK, name)):
        figure = _figure(panels, columns, titles=True)
        figure.savefig(buffer, format="png", dpi=dpi, facecolor="white")
    image = Image.open(buffer, formats=["PNG"]).convert("RGB")
    few = image.quantize(PNG_COLORS, dither=Image.Dither.NONE)
    content = io.BytesIO()
    few.save(content, format="png", optimize=True)
    return content.getvalue()


def inline_svg(panel: Panel, name: str) -> str:
    """One panel as an SVG element that scales with the page.

    Args:
      panel: to draw.
      name: begins the ids in the element, so it is of letters, digits and '-'.
    """
    text = _svg([panel], 1, name, titles=False)
    text = text[text.index("<svg") :]
    head, rest = text.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-labelledby="{name}-title">{rest}'


def first_panel(sweep: Sweep) -> Panel | None:
    """The panel of a report in an overview; None if nothing is measured."""
    panels = _metric_group(sweep).panels
    return panels[0] if panels else None


def _metric_group(sweep: Sweep) -> Group:
    size = draw.metric_size(sweep, PANEL_SIZE)
    shown = draw.plotted_metrics(sweep)
    panels = [
        Panel(
            _upper(METRICS[metric].title),
            functools.partial(draw.draw_metric, sweep=sweep, metric=metric),
            *size,
        )
        for metric in shown
    ]
    caption = (
        "Large markers: mean over seeds; bars: 95% t interval of the mean; small "
        "markers: single seeds. Where errors span more than a factor of ten, the axis "
        "is linear below 1% and logarithmic above."
    )
    if any(row.status == "failed" for row in sweep.rows):
        caption += " Crosses at the end of the axis: runs that failed."
    rates = all(METRICS[metric].unit == "%" for metric in shown)
    what = "Error" if rates else " and ".join(METRICS[m].title for m in shown)
    columns = 2 if size[0] == PANEL_SIZE[0] else 1
    title = f"{_upper(what)} against {_axis(sweep)}"
    return Group("error", title, caption, panels, columns)


def _effect_group(verdicts: Sequence[Verdict]) -> Group:
    by_title: dict[str, list[Verdict]] = {}
    for verdict in verdicts:
        if verdict.contrast is not None:
            title = f"effect ({effect_unit(verdict.claim.metric)})"
            by_title.setdefault(title, []).append(verdict)
    caption = (
        "A claim states that its effect is larger than its margin, the vertical bar. "
        "Effects are paired over seeds; the 95% intervals are not corrected for the "
        "number of claims. Circles: supported; squares: contradicted; crosses: "
        "undecided."
    )
    if draw.has_endless(verdicts):
        caption += (
            " Bars that reach the edge have no end: where results decide how many "
            "seeds there are, so few of them bound nothing."
        )
    panels = [
        Panel(
            "Effect per claim" if len(by_title) == 1 else _upper(title),
            functools.partial(draw.draw_effects, verdicts=own, title=title),
            EFFECTS_WIDTH,
            1.2 + 0.34 * len(own),
        )
        for title, own in by_title.items()
    ]
    return Group("effects", "Effects", caption, panels, 1)


def effect_unit(metric: str) -> str:
    """The unit of a difference of two values of a metric; its title if it has none.

    Differences of rates are percentage points.
    """
    about = METRICS[metric]
    if about.unit in ("%", "points"):
        return "percentage points"
    return about.unit or about.title


def _curve_group(sweep: Sweep) -> Group:
    exact = curves.curves_of(sweep, "train")
    train = "train" if exact else "running"
    names = {train: "training error", "validation": "validation error"}
    sets = curves.curve_sets(sweep, CURVES_A_PANEL)
    panels = [
        Panel(
            _upper(f"{title}: {name}".removeprefix(": ")),
            functools.partial(curves.draw_curves, sweep=sweep, arms=arms, split=split),
        )
        for split, name in names.items()
        for title, arms in sets
        if any(curve.arm in arms for curve in curves.curves_of(sweep, split))
    ]
    how = (
        "over the whole training set"
        if exact
        else "over augmented training batches, averaged since the previous point"
    )
    caption = (
        f"By {_axis(sweep)}. Lines: mean over seeds; bands: smallest to "
        f"largest seed. Training error {how}."
    )
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
    caption = "Lines: mean over seeds; bands: smallest to largest seed."
    columns = min(len(sets), MOST_COLUMNS)
    return [
        Group(probe, _upper(probe.replace("_", " ")), caption, own, columns)
        for probe, own in panels.items()
    ]


def _axis(sweep: Sweep) -> str:
    """Title of the horizontal axis, without its unit."""
    return x_title(sweep).split(" (")[0]


def _upper(title: str) -> str:
    return title[:1].upper() + title[1:]


def _figure(panels: Sequence[Panel], columns: int, titles: bool) -> Figure:
    columns = min(columns, len(panels))
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    heights = [max(panel.height for panel in row) for row in rows]
    width = max(panel.width for panel in panels)
    figure = Figure(figsize=(width * columns, sum(heights)))
    figure.set_layout_engine("constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(rows), columns, height_ratios=heights)
    for index, panel in enumerate(panels):
        ax = figure.add_subplot(grid[divmod(index, columns)])
        panel.draw(ax)
        if titles:
            labels = ax.get_legend_handles_labels()[1]
            pad = 8 + 16 * legend_rows(labels)
            title = "\n".join(textwrap.wrap(drawn(panel.title), TITLE_LETTERS))
            ax.set_title(title, loc="left", fontweight="bold", pad=pad)
    return figure


def _svg(panels: Sequence[Panel], columns: int, name: str, titles: bool) -> str:
    buffer = io.StringIO()
    with matplotlib.rc_context(_style(SENTINEL, name)):
        _figure(panels, columns, titles).savefig(
            buffer,
            format="svg",
            transparent=True,
            metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
        )
    text = buffer.getvalue().replace(SENTINEL, "currentColor")
    # Several pictures share one page: their ids must differ.
    text = re.sub(r'\bid="', f'id="{name}-', text)
    return text.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')


def _style(ink: str, salt: str) -> dict[Any, Any]:
    """The rc parameters."""
    inked = ("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color")
    return {
        **matplotlib.rcParamsDefault,
        **dict.fromkeys((*inked, "ytick.color", "grid.color"), ink),
        "axes.axisbelow": True,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "backend": "agg",
        "font.size": 10.5,
        "grid.alpha": 0.18,
        "legend.fontsize": 9.5,
        "lines.linewidth": 1.8,
        "svg.fonttype": "none",
        "svg.hashsalt": salt,
        "text.parse_math": False,  # see plots.words
    }
