"""Complexity against published accuracy, for many nets at once."""

import pathlib

from cnnjax.analysis.formats import Column, as_csv, as_markdown, as_text
from cnnjax.errors import UserError
from cnnjax.models import variant

GIGA, MEGA = 1e9, 1e6
DATA = "ImageNet"
# Bubble area in points squared per million parameters.
AREA = 6.0
# Okabe and Ito's colours, told apart by the colour-blind.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C8C8C")

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
    return published.source if accuracy(name) is not None else f"none for {DATA}"


def render_comparison(names: list[str], form: str) -> str:
    """The numbers behind the picture, as text, Markdown or CSV."""
    render = {"text": as_text, "md": as_markdown, "csv": as_csv}
    if form not in render:
        raise UserError(f"--compare prints text, md or csv, not {form!r} (--format)")
    return render[form](COLUMNS, names)


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
    import matplotlib

    matplotlib.use("agg")
    from matplotlib import pyplot

    drawn = [name for name in names if accuracy(name) is not None]
    if not drawn:
        raise UserError(
            f"none of {', '.join(names)} has a published {DATA} accuracy to draw "
            "(./launch.sh models --format=json shows which have)"
        )
    figure, ax = pyplot.subplots(figsize=(9, 6), layout="constrained")
    _draw_bubbles(ax, drawn)
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"complexity.{kind}" for kind in ("png", "svg")]
    for file in files:
        figure.savefig(file, dpi=160)
    pyplot.close(figure)
    return files


def _draw_bubbles(ax, names: list[str]) -> None:
    families = list(dict.fromkeys(_family(name) for name in names))
    for i, family in enumerate(families):
        members = [name for name in names if _family(name) == family]
        ax.scatter(
            [variant(n).multiply_adds / GIGA for n in members],
            [accuracy(n) for n in members],
            s=[AREA * variant(n).num_params / MEGA for n in members],
            color=COLORS[i % len(COLORS)],
            alpha=0.55,
            edgecolors="white",
            label=family,
        )
    _label(ax, names)
    ax.set_xscale("log")
    ax.xaxis.set_major_formatter("{x:g}")
    ax.set_xlabel("multiply-adds of one image (G), at the published input size")
    ax.set_ylabel(f"published top-1 accuracy on {DATA} (%)")
    ax.set_title(
        "Area of a bubble: parameters. Accuracies from papers; protocols differ"
    )
    ax.grid(alpha=0.25)
    for side in ("top", "right"):
        ax.spines[side].set_visible(False)


def _family(name: str) -> str:
    return variant(name).build.__module__.rpartition(".")[2]


def _label(ax, names: list[str]) -> None:
    for name in names:
        place = (variant(name).multiply_adds / GIGA, accuracy(name))
        ax.annotate(name, place, textcoords="offset points", xytext=(5, 4), fontsize=7)
