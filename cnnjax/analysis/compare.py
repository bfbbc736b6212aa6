"""Complexity against published accuracy, for many nets at once."""

import json
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from cnnjax.analysis.formats import Column, as_csv, as_markdown, as_text
from cnnjax.errors import UserError
from cnnjax.models.registry import variant

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GIGA, MEGA = 1e9, 1e6
DATA = "ImageNet"
# Bubble area in points squared per million parameters.
AREA = 6.0
LEGEND = (5, 25, 100)  # million parameters
# Okabe and Ito's colours, told apart by the colour-blind.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C8C")
# With seven colours no pair is repeated among the first 28 families.
SHAPES = ("o", "s", "D", "^")

COLUMNS = (
    Column("model", str, left=True),
    Column("mult-adds G", lambda n: variant(n).multiply_adds / GIGA, "{:.2f}".format),
    Column("params M", lambda n: variant(n).num_params / MEGA, "{:.1f}".format),
    Column("published top-1 %", lambda n: accuracy(n), "{:.1f}".format),
    Column("source of the accuracy", lambda n: _source(n), left=True),
)


def accuracy(name: str) -> float | None:
    """Published top-1 accuracy on ImageNet in percent, if there is one."""
    published = variant(name).published
    if published is None or published.data != DATA or published.error is None:
        return None
    return 100 - published.error


def _source(name: str) -> str:
    published = variant(name).published
    if published is None or accuracy(name) is None:
        return f"none for {DATA}"
    return published.source


def render_comparison(names: list[str], form: str) -> str:
    """The numbers behind the picture, in one of `formats.FORMATS`."""
    if form == "json":
        return json.dumps({"models": [_record(name) for name in names]}, indent=2)
    render = {"text": as_text, "md": as_markdown, "csv": as_csv}
    return render[form](COLUMNS, names)


def _record(name: str) -> dict:
    return {
        "name": name,
        "params": variant(name).num_params,
        "multiply_adds": variant(name).multiply_adds,
        "published_accuracy": accuracy(name),
        "source": _source(name),
    }


def draw_comparison(names: list[str], folder: pathlib.Path) -> list[pathlib.Path]:
    """Draws multiply-adds against published accuracy, parameters as area of a bubble.

    Args:
      names: entries; those without a published ImageNet accuracy are left out.
      folder: where `complexity.png` and `complexity.svg` go.

    Returns:
      The files.

    Raises:
      UserError: nothing is left to draw.
    """
    drawn = [name for name in names if accuracy(name) is not None]
    if not drawn:
        raise UserError(
            f"none of {', '.join(names)} has a published {DATA} accuracy to draw "
            "(./launch.sh models --format=json shows which have)"
        )
    figure = draw_bubbles(drawn)
    files = [folder / f"complexity.{kind}" for kind in ("png", "svg")]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            figure.savefig(file, dpi=160)
    except OSError as error:
        raise UserError(
            f"cannot write the picture in {folder} ({error.strerror}): choose another "
            "folder with --out"
        ) from error
    return files


def draw_bubbles(names: Sequence[str]) -> "Figure":
    """The picture of `draw_comparison`, of entries with a published accuracy."""
    # Imported late: tables need no matplotlib.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), layout="constrained")
    FigureCanvasAgg(figure)
    ax = figure.add_subplot()
    _draw_bubbles(ax, names)
    figure.draw_without_rendering()  # fixes the positions that labels keep clear of
    _label(ax, names)
    return figure


def _draw_bubbles(ax, names: Sequence[str]) -> None:
    families = list(dict.fromkeys(_family(name) for name in names))
    for i, family in enumerate(families):
        members = [name for name in names if _family(name) == family]
        ax.scatter(
            [variant(n).multiply_adds / GIGA for n in members],
            [accuracy(n) for n in members],
            s=[AREA * variant(n).num_params / MEGA for n in members],
            color=COLORS[i % len(COLORS)],
            marker=SHAPES[i // len(COLORS) % len(SHAPES)],
            alpha=0.6,
            edgecolors="white",
            label=family,
        )
    ax.set_xscale("log")
    ax.margins(0.09)
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("multiply-adds of one image (G), at the published input size")
    ax.set_ylabel(f"published top-1 accuracy on {DATA} (%)")
    ax.set_title(
        "Accuracies as published; protocols (crops, recipes) differ", fontsize=10
    )
    ax.grid(alpha=0.25)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)
    look = {"frameon": False, "loc": "upper left", "borderaxespad": 0.0}
    legend = ax.legend(title="family", bbox_to_anchor=(1.02, 1.0), **look)
    for handle in legend.legend_handles:
        handle.set_sizes([60])
    ax.add_artist(legend)
    legend.set_clip_on(False)  # else the layout has no room for it
    sizes = [
        ax.scatter([], [], s=AREA * millions, color="0.6", label=f"{millions} M")
        for millions in LEGEND
    ]
    ax.legend(
        handles=sizes,
        title="parameters",
        bbox_to_anchor=(1.02, 0.36),
        labelspacing=2,
        borderpad=1.2,
        **look,
    )


def _family(name: str) -> str:
    return variant(name).build.__module__.rpartition(".")[2]


def _label(ax, names: Sequence[str]) -> None:
    """Names beside their bubbles, each at the nearest place that is still free."""
    taken: list[Any] = [_bubble_box(ax, name) for name in names]
    for name in sorted(names, key=lambda n: -variant(n).num_params):
        radius = _radius(name)
        place = (variant(name).multiply_adds / GIGA, accuracy(name))
        text = ax.annotate(
            name, place, (0, 0), textcoords="offset points", fontsize=7, va="center"
        )
        for x, y, side in _places(radius):
            text.set_position((x, y))
            text.set_ha(side)
            box = text.get_window_extent()
            inside = ax.bbox.x0 < box.x0 and box.x1 < ax.bbox.x1 and box.y1 < ax.bbox.y1
            if inside and not any(box.overlaps(other) for other in taken):
                break
        taken.append(box)
        if math.hypot(x, y) > radius + 12:
            line = {"arrowstyle": "-", "color": "0.5", "lw": 0.5, "shrinkA": 0}
            ax.annotate("", place, (x, y), textcoords="offset points", arrowprops=line)


def _bubble_box(ax, name: str) -> Any:
    """Where the middle of a bubble is, in pixels; names may touch its edge."""
    from matplotlib.transforms import Bbox

    x, y = ax.transData.transform((variant(name).multiply_adds / GIGA, accuracy(name)))
    half = 0.75 * _radius(name) * ax.figure.dpi / 72
    return Bbox([[x - half, y - half], [x + half, y + half]])


def _radius(name: str) -> float:
    """Of a bubble, in points."""
    return math.sqrt(AREA * variant(name).num_params / MEGA / math.pi)


def _places(radius: float) -> Iterator[tuple[float, float, str]]:
    """Offsets in points around a bubble, near ones first."""
    for away in range(3, 200, 9):
        for up in (0, 0.5, -0.5, 1, -1):
            across = (1 - abs(up) / 2) * (radius + away)
            yield across, up * (radius + away), "left"
            yield -across, up * (radius + away), "right"
        yield 0, radius + away + 3, "center"
        yield 0, -radius - away - 3, "center"
