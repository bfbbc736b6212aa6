"""Turns panels into files (PNG, SVG) and into SVG that lives inside a page.

The inline SVG draws text, axes and grid in the colour of the surrounding text, so that
one picture serves a light and a dark page.
"""

import dataclasses
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from cnnjax.ablation import plots
from cnnjax.ablation.claims import Verdict
from cnnjax.ablation.collect import Sweep
from cnnjax.ablation.metrics import METRICS

# A colour that nothing else uses; replaced by currentColor in SVG.
SENTINEL = "#010203"
PAPER_INK = "#1b1f24"
PANEL_SIZE = (4.8, 3.6)  # inches
PNG_DPI = 160


@dataclasses.dataclass(frozen=True)
class Panel:
    """One set of axes.

    Attributes:
      title: heading of the panel.
      draw: draws on the axes that it is given.
      height: in inches.
    """

    title: str
    draw: Callable[[Axes], None]
    height: float = PANEL_SIZE[1]


@dataclasses.dataclass(frozen=True)
class Group:
    """Panels that belong together: one file in `plots/`, one row in the page.

    Attributes:
      name: of the file.
      title: heading.
      caption: what the reader sees.
      panels: in reading order, `columns` a row.
      columns: panels side by side in the file.
    """

    name: str
    title: str
    caption: str
    panels: Sequence[Panel]
    columns: int


def build_groups(sweep: Sweep, verdicts: Sequence[Verdict]) -> list[Group]:
    """The figures of a report that have something to show."""
    groups = [_metric_group(sweep), _effect_group(verdicts), _curve_group(sweep)]
    return [group for group in groups if group.panels]


def save_group(group: Group, folder: Path) -> list[Path]:
    """Writes a group as PNG and SVG; the same files give the same bytes."""
    png, svg = folder / f"{group.name}.png", folder / f"{group.name}.svg"
    with matplotlib.rc_context(_style(PAPER_INK, group.name)):
        # matplotlib otherwise writes its version, which says nothing about the data.
        _figure(group.panels, group.columns, titles=True).savefig(
            png, dpi=PNG_DPI, facecolor="white", metadata={"Software": None}
        )
    svg.write_text(_svg(group.panels, group.columns, group.name, True), "utf-8")
    return [png, svg]


def inline_svg(panel: Panel, name: str) -> str:
    """One panel as an SVG element that scales with the page."""
    text = _svg([panel], 1, name, titles=False)
    text = text[text.index("<svg") :]
    head, rest = text.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-labelledby="{name}-title">{rest}'


def _metric_group(sweep: Sweep) -> Group:
    panels = [
        Panel(
            METRICS[metric].title.capitalize(),
            lambda ax, metric=metric: plots.draw_metric(ax, sweep, metric),
        )
        for metric in plots.plotted_metrics(sweep)
    ]
    caption = (
        "Large markers: mean over seeds; bars: 95% t interval of the mean; small "
        "markers: single seeds. Where errors span decades the axis is linear below 1% "
        "and logarithmic above."
    )
    return Group("error", f"Error against {sweep.ablation.x_axis}", caption, panels, 2)


def _effect_group(verdicts: Sequence[Verdict]) -> Group:
    count = sum(v.contrast is not None for v in verdicts)
    caption = (
        "Each claim says that its effect lies to the right of its margin. Paired over "
        "seeds, 95% t interval, not corrected for the number of claims. Circles: "
        "supported; squares: contradicted; crosses: undecided."
    )
    draw = Panel(
        "Effect per claim",
        lambda ax: plots.draw_effects(ax, verdicts),
        1.2 + 0.34 * count,
    )
    return Group("effects", "Effects", caption, [draw] if count else [], 1)


def _curve_group(sweep: Sweep) -> Group:
    exact = plots.curves_of(sweep, "train")
    train = "train" if exact else "running"
    series = plots.series_labels(sweep)
    by = sweep.ablation.x_axis
    names = {train: "training error", "validation": "validation error"}
    panels = [
        Panel(
            f"{label}: {name} by {by}".removeprefix(": ").capitalize(),
            lambda ax, label=label, split=split: plots.draw_curves(
                ax, sweep, label, split
            ),
        )
        for split, name in names.items()
        if plots.curves_of(sweep, split)
        for label in series
    ]
    how = (
        "over the whole training set"
        if exact
        else "over the training batches as they came, averaged since the point before"
    )
    caption = (
        f"Lines: mean over seeds; bands: smallest to largest seed. Training error "
        f"{how}."
    )
    return Group("curves", "Training curves", caption, panels, max(len(series), 1))


def _figure(panels: Sequence[Panel], columns: int, titles: bool) -> Figure:
    columns = min(columns, len(panels))
    rows = -(-len(panels) // columns)
    height = max(panel.height for panel in panels)
    figure = Figure(figsize=(PANEL_SIZE[0] * columns, height * rows))
    figure.set_layout_engine("constrained")
    FigureCanvasAgg(figure)
    for index, panel in enumerate(panels):
        ax = figure.add_subplot(rows, columns, index + 1)
        panel.draw(ax)
        if titles:
            pad = 26 if ax.get_legend() else 8
            ax.set_title(panel.title, loc="left", fontweight="bold", pad=pad)
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


def _style(ink: str, salt: str) -> dict[str, object]:
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
    }
