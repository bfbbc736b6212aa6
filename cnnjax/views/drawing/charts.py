"""Panels of spaces, landscapes and signals: pictures with axes."""

from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from cnnjax.ablation.report.plots.figures import INK, Panel
from cnnjax.ablation.report.plots.series import show_legend, style
from cnnjax.ablation.report.plots.words import drawn
from cnnjax.analysis.places import Place
from cnnjax.views.landscape import Surface
from cnnjax.views.spaces import Plane

WIDTH, HEIGHT = 5.0, 4.0
MOST_CLASSES = 20  # with a colour of their own


def plane_panel(
    plane: Plane, labels: np.ndarray, names: Sequence[str], title: str
) -> Panel:
    """Points coloured by class; the name of a class stands at the middle of it."""

    def draw(ax: Axes) -> None:
        colours = matplotlib.colormaps["tab10" if len(names) <= 10 else "tab20"]
        for index in np.unique(labels):
            of_class = plane.points[labels == index]
            colour = colours(int(index) % colours.N)
            xs, ys = of_class.T
            ax.scatter(xs, ys, s=9, color=colour, alpha=0.55, lw=0)
            if len(names) <= MOST_CLASSES:
                _name_class(ax, of_class, drawn(names[index], 14), colour)
        ax.set_xticks([])
        ax.set_yticks([])
        if plane.explained is not None:
            x, y = (f"{100 * share:.0f}% of the variance" for share in plane.explained)
            ax.set(xlabel=f"component 1 ({x})", ylabel=f"component 2 ({y})")

    return Panel(title, draw, WIDTH, WIDTH * 0.85)


def _name_class(ax: Axes, points: np.ndarray, name: str, colour: Any) -> None:
    """Writes the name of a class at the middle of its points."""
    x, y = np.median(points, axis=0)
    box = {"boxstyle": "round,pad=0.15", "fc": "white", "ec": colour, "alpha": 0.9}
    place: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 8, "zorder": 5}
    ax.text(x, y, name, color="#111111", bbox=box, **place)


def line_panel(
    lines: Mapping[str, Sequence[float] | np.ndarray],
    places: Sequence[str],
    title: str,
    ylabel: str,
    xlabel: str = "",
    log: bool = False,
) -> Panel:
    """A line for each net over the same places along its depth.

    Args:
      lines: name -> values; nets of other depths have their own number of them.
      places: names on the axis, used where all lines are as long; else positions are
        shares of the depth.
      title: of the panel.
      ylabel: of the values, with their unit.
      xlabel: of the places.
      log: whether values stand on a logarithmic axis.
    """
    alike = len({len(values) for values in lines.values()}) == 1

    def draw(ax: Axes) -> None:
        for index, (name, values) in enumerate(lines.items()):
            count = len(values)
            xs = np.arange(1, count + 1) if alike else np.linspace(0, 1, count)
            looks = style(index) | {"ms": 4.5 if count < 24 else 0}
            label = drawn(name) if len(lines) > 1 else None
            ax.plot(xs, np.asarray(values, float), label=label, **looks)
        if alike and len(places) <= 12:
            shown = [drawn(place, 28) for place in places]
            looks = {"rotation": 35, "ha": "right", "fontsize": 8.5}
            ax.set_xticks(range(1, len(places) + 1), shown, **looks)
        elif alike:
            ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        ax.set(ylabel=ylabel, xlabel=xlabel if alike else "share of the depth")
        if log and all(np.min(values) > 0 for values in lines.values()):
            _plain_log_axis(ax)
        elif not log:
            ax.set_ylim(bottom=0)
        ax.grid(axis="y")
        show_legend(ax)

    return Panel(title, draw, WIDTH, HEIGHT)


def _plain_log_axis(ax: Axes) -> None:
    """A logarithmic axis whose numbers are written out."""
    ax.set_yscale("log")
    low, high = np.log10(ax.get_ylim())
    steps = (1.0,) if high - low > 3 else (1.0, 2.0, 5.0)
    ax.yaxis.set_major_locator(LogLocator(subs=steps))
    ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    ax.yaxis.set_minor_formatter(NullFormatter())


def matrix_panel(
    values: np.ndarray, rows: Sequence[str], columns: Sequence[str], title: str
) -> Panel:
    """Likeness from 0 to 1 of layers with layers."""

    def draw(ax: Axes) -> None:
        ax.imshow(values, vmin=0, vmax=1, cmap="viridis", interpolation="none")
        for axis, names in (("x", columns), ("y", rows)):
            shown = [drawn(name, 28) for name in names]
            settings = {"fontsize": 8.5} | (
                {"rotation": 35, "ha": "right"} if axis == "x" else {}
            )
            getattr(ax, f"set_{axis}ticks")(range(len(names)), shown, **settings)
        if values.size <= 100:
            for i, j in np.ndindex(*values.shape):
                shade = "black" if values[i, j] > 0.55 else "white"
                word = f"{values[i, j]:.2f}" if np.isfinite(values[i, j]) else "–"
                ax.text(j, i, word, ha="center", va="center", color=shade, fontsize=8.5)

    return Panel(title, draw, WIDTH, WIDTH * 0.9)


def curve_panel(surfaces: Mapping[str, Surface], title: str) -> Panel:
    """Loss along one direction, of all nets on one scale."""

    def draw(ax: Axes) -> None:
        for index, (name, of) in enumerate(surfaces.items()):
            looks = style(index) | {"ms": 0}
            label = drawn(name) if len(surfaces) > 1 else None
            ax.plot(of.xs, _shown(of.losses[0]), label=label, **looks)
        ax.set(xlabel="distance along the direction", ylabel="loss")
        _plain_log_axis(ax)
        ax.grid(axis="y")
        show_legend(ax)

    return Panel(title, draw, WIDTH, HEIGHT)


def _shown(losses: np.ndarray) -> np.ndarray:
    """Losses for a logarithmic axis; what is not finite is a gap."""
    return np.where(np.isfinite(losses), np.maximum(losses, 1e-6), np.nan)


def surface_panel(
    of: Surface,
    levels: np.ndarray,
    title: str,
    points: Mapping[str, np.ndarray] | None = None,
    axes: tuple[str, str] = ("first direction", "second direction"),
) -> Panel:
    """Contours of the loss over two directions, with other weights in that plane.

    Args:
      of: the surface.
      levels: of the loss, the same for all nets that are compared.
      title: of the panel.
      points: name -> (x, y).
      axes: titles of both.
    """

    def draw(ax: Axes) -> None:
        losses = np.clip(_shown(of.losses), levels[0], levels[-1])
        grid = of.xs, of.ys, np.log10(losses), np.log10(levels)
        colours = ax.contourf(*grid, cmap="viridis")
        ax.contour(*grid, colors="white", linewidths=0.4, alpha=0.6)
        ax.plot(0, 0, marker="*", ms=13, color="white", mec="black", mew=0.8)
        for name, (x, y) in (points or {}).items():
            ax.plot(x, y, marker="o", ms=6, color="white", mec="black")
            looks: dict[str, Any] = {"color": "white", "fontsize": 9}
            ax.annotate(
                drawn(name), (x, y), (5, 5), textcoords="offset points", **looks
            )
        bar = ax.figure.colorbar(colours, ax=ax, fraction=0.046, pad=0.03)
        ticks = [float(tick) for tick in bar.get_ticks()]
        bar.set_ticks(ticks, labels=[_short(10**tick) for tick in ticks])
        bar.set_label("loss")
        ax.set(xlabel=axes[0], ylabel=axes[1], aspect="equal")

    return Panel(title, draw, WIDTH, WIDTH * 0.82)


def _short(value: float) -> str:
    """Two digits, without an exponent where there need be none."""
    return f"{value:.0f}" if 10 <= value < 1e5 else f"{value:.2g}"


def field_panel(field: np.ndarray, place: Place, side: float, title: str) -> Panel:
    """What the middle of a layer uses of the image, and what it could use."""
    rows, columns = (place.shape[0] // 2, place.shape[1] // 2)
    (top, bottom), (left, right) = place.window(rows, columns)

    def draw(ax: Axes) -> None:
        largest = field.max() if field.max() > 0 else 1
        ax.imshow(np.sqrt(field / largest), cmap="magma", interpolation="none")
        size = right - left + 1, bottom - top + 1
        corner = left - 0.5, top - 0.5
        frame = Rectangle(corner, *size, fill=False, ec="#56B4E9", lw=2.2)
        ax.add_patch(frame)
        ax.set_xlim(-0.5, field.shape[1] - 0.5)
        ax.set_ylim(field.shape[0] - 0.5, -0.5)
        ax.set_xticks([])
        ax.set_yticks([])
        words = f"could see {bottom - top + 1} px, uses {side:.1f} px"
        ax.set_xlabel(words, color=INK)

    return Panel(title, draw, 3.0, 3.2)
