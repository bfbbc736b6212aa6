"""Renders panels as files (PNG, SVG) and as SVG elements within a page.

The inline SVG draws text, axes and grid in the colour of the surrounding text, so that
it fits light and dark pages.
"""

import dataclasses
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
from matplotlib.text import Text
from PIL import Image

from cnnjax.ablation.report.plots.scales import PANEL_SIZE
from cnnjax.ablation.report.plots.series import legend_rows
from cnnjax.ablation.report.plots.words import drawn
from cnnjax.errors import in_words
from cnnjax.records import write_bytes, write_text
from cnnjax.screen import say

# Of text, axes and grid: used nowhere else, and replaced by currentColor in SVG.
INK = "#010203"
TITLE_LETTERS = 36
TITLE_HEIGHT = 0.25  # inches
PNG_DPI = 120
PNG_COLORS = 96  # small files, still with smooth edges


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
      photographs: whether it shows images, which need more colours.
    """

    name: str
    title: str
    caption: str
    panels: Sequence[Panel]
    columns: int
    photographs: bool = False


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
            as_png, as_svg = _both(group)
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


def _both(group: Group) -> tuple[bytes, str]:
    """PNG and SVG of one drawing."""
    with matplotlib.rc_context(style_of(group.name)):
        figure = draw_figure(group.panels, group.columns, titles=True)
        as_png = _png(figure, PNG_DPI, group.photographs)
        return as_png, _svg(figure, group.name)


def png_of(panel: Panel, name: str, dpi: int) -> bytes:
    """One panel as a PNG."""
    with matplotlib.rc_context(style_of(name)):
        return _png(draw_figure([panel], 1, titles=True), dpi)


def _png(figure: Figure, dpi: int, photographs: bool = False) -> bytes:
    """The figure with a small palette, which makes files three times smaller."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, facecolor="white")
    image = Image.open(buffer, formats=["PNG"]).convert("RGB")
    if photographs:
        few = image.quantize(256, dither=Image.Dither.FLOYDSTEINBERG)
    else:
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
    with matplotlib.rc_context(style_of(name)):
        text = _svg(draw_figure([panel], 1, titles=False), name)
    text = text[text.index("<svg") :]
    head, rest = text.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-labelledby="{name}-title">{rest}'


def draw_figure(panels: Sequence[Panel], columns: int, titles: bool) -> Figure:
    """Draws panels side by side, by the rc parameters; no text leaves the picture.

    Args:
      panels: in reading order.
      columns: panels in a row.
      titles: whether each has its title.
    """
    columns = min(columns, len(panels))
    rows = [panels[i : i + columns] for i in range(0, len(panels), columns)]
    heights = [max(panel.height for panel in row) for row in rows]
    width = max(panel.width for panel in panels)
    extra = TITLE_HEIGHT if titles else 0.0
    size = (width * columns, sum(heights) + extra * len(rows))
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.add_gridspec(len(rows), columns, height_ratios=heights)
    for index, panel in enumerate(panels):
        ax = figure.add_subplot(grid[divmod(index, columns)])
        panel.draw(ax)
        if titles:
            pad = 8 + 16 * _rows_above(ax)
            title = "\n".join(textwrap.wrap(drawn(panel.title), TITLE_LETTERS))
            ax.set_title(title, loc="left", fontweight="bold", pad=pad)
    _shrink_long_texts(figure, width)
    return figure


def _rows_above(ax: Axes) -> int:
    """Rows of the legend, with its title."""
    legend = ax.get_legend()
    if legend is None:
        return 0
    labels = [text.get_text().replace("\n", " ") for text in legend.get_texts()]
    return legend_rows(labels) + bool(legend.get_title().get_text())


def _shrink_long_texts(figure: Figure, width: float) -> None:
    """Makes texts smaller that leave their panel, such as long ones of others."""
    figure.draw_without_rendering()
    most, ends, has_shrunk = 0.94 * width * figure.dpi, figure.bbox, False
    for text in figure.findobj(Text):
        if not text.get_visible() or not text.get_text():
            continue
        box = text.get_window_extent()
        # Of a text that is centred, half is on each side.
        out = 2 * max(-box.x0, box.x1 - ends.x1, -box.y0, box.y1 - ends.y1, 0.0)
        longest = max(box.width, box.height)
        if (room := min(most, longest - out)) < longest:
            share = max(room / longest, 0.2)
            text.set_fontsize(text.get_fontsize() * share)
            has_shrunk = True
    if not has_shrunk:
        figure.set_layout_engine("none")  # not once more for each file


def _svg(figure: Figure, name: str) -> str:
    buffer = io.StringIO()
    figure.savefig(
        buffer,
        format="svg",
        transparent=True,
        metadata={"Date": None, "Creator": None, "Format": None, "Type": None},
    )
    text = buffer.getvalue().replace(INK, "currentColor")
    # Several pictures share one page: their ids must differ.
    # Nothing refers to an image, and equal ones have the same id.
    text = re.sub(r'\bid="image[0-9a-f]+" ?', "", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    return text.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')


def style_of(name: str) -> dict[Any, Any]:
    """The rc parameters of a picture with this name."""
    inked = ("axes.edgecolor", "axes.labelcolor", "text.color", "xtick.color")
    return {
        **matplotlib.rcParamsDefault,
        **dict.fromkeys((*inked, "ytick.color", "grid.color"), INK),
        "axes.axisbelow": True,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "backend": "agg",
        "font.size": 10.5,
        "grid.alpha": 0.18,
        "legend.fontsize": 9.5,
        "lines.linewidth": 1.8,
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "text.parse_math": False,  # see plots.words
    }
