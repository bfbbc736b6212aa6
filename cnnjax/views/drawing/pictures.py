"""Panels of filters, maps, saliency and patches: pictures made of pictures."""

import functools
import math
import textwrap
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from cnnjax.ablation.report.plots.figures import INK, Panel
from cnnjax.ablation.report.plots.words import drawn
from cnnjax.views.drawing import tiles
from cnnjax.views.stages import Stage, strongest_channels
from cnnjax.views.units import Strongest, patch
from cnnjax.views.weights import Filters, pictures

MOST_FILTERS = 144
WIDTH = 4.4  # inches of a panel


def filter_panel(found: Filters, title: str) -> Panel:
    """The filters of one layer, strongest first; dead ones in grey."""
    shown = pictures(found)[:MOST_FILTERS]
    columns = math.ceil(math.sqrt(len(shown)))
    many = [_filter(each, dead) for each, dead in zip(shown, found.dead, strict=False)]
    whole = tiles.montage(many, columns, gap=5)
    height = WIDTH * whole.shape[0] / whole.shape[1]
    draw = functools.partial(tiles.show, picture=whole)
    return Panel(title, lambda ax: draw(ax), WIDTH, height)


def _filter(values: np.ndarray, dead: bool) -> np.ndarray:
    """A filter of -1 to 1; colour has 0 at middle grey, one channel has it at white."""
    if values.shape[-1] == 3:
        tile = tiles.rgba(127.5 + 127.5 * values)
    else:
        tile = tiles.signed(values[..., 0], 1.0)
    tile = tiles.enlarged(tile)
    if dead:
        tile[..., 3] = 0.25
    return tile


def map_panels(
    stages: Sequence[Stage], image: np.ndarray, prefix: str = "", count: int = 16
) -> list[Panel]:
    """The image, and the channels of each stage that vary most over it.

    Args:
      stages: with the maps of that image alone, [1, h, w, channels].
      image: uint8 [H, W, C].
      prefix: of the titles, such as the name of the net.
      count: channels of each stage.
    """
    input_tile = tiles.enlarged(tiles.rgba(image), 192)
    height, width = image.shape[:2]
    panels = [_picture(f"{prefix}image, {height}×{width}", input_tile)]
    for stage in stages:
        maps = stage.maps[0]
        channels = strongest_channels(maps, count)
        of_channels = [_map(maps[..., channel]) for channel in channels]
        rows, columns, depth = stage.place.shape
        sees = _extent(stage)
        title = f"{prefix}{stage.place.path}, {rows}×{columns}×{depth}, sees {sees}"
        columns_shown = math.ceil(math.sqrt(len(of_channels)))
        panels.append(_picture(title, tiles.montage(of_channels, columns_shown)))
    return panels


def _extent(stage: Stage) -> str:
    rows, columns = stage.place.extent
    size = stage.place.image_size
    if rows >= size[0] and columns >= size[1]:
        return f"{rows}×{columns} px (all)"
    return f"{rows}×{columns} px"


def _map(values: np.ndarray) -> np.ndarray:
    if (values < 0).any():
        return tiles.signed(values)
    return tiles.positive(values)


def _picture(title: str, picture: np.ndarray) -> Panel:
    height = WIDTH * picture.shape[0] / picture.shape[1]
    return Panel(title, lambda ax: tiles.show(ax, picture), WIDTH, height)


def saliency_panel(
    image: np.ndarray, maps: Mapping[str, np.ndarray], title: str, columns: int = 4
) -> Panel:
    """An image with its maps around it.

    Args:
      image: uint8 [H, W, C].
      maps: name -> [H, W], signed or not; those that are never negative and smaller
        than the image are drawn over it.
      title: of the panel.
      columns: pictures in a row.
    """
    shown = [tiles.rgba(image)]
    for values in maps.values():
        if values.shape == image.shape[:2]:
            shown.append(tiles.signed(values))
        else:
            over = tiles.resized(values, (image.shape[0], image.shape[1]))
            shown.append(tiles.heat(over, shown[0]))
    labels = ["\nimage", *(_in_two_lines(name) for name in maps)]
    height = WIDTH * tiles.ratio(shown, columns, lines=2)
    return Panel(
        title,
        lambda ax: tiles.show_labelled(ax, shown, labels, columns),
        WIDTH,
        height,
    )


def _in_two_lines(name: str) -> str:
    """A name of one or two lines, at the bottom of two."""
    lines = textwrap.wrap(name, 13)
    return "\n".join(["", *lines][-2:])


def unit_panel(
    found: Strongest,
    chosen: Sequence[int],
    read: Mapping[int, np.ndarray],
    dreams: np.ndarray | None,
    words: Sequence[str],
    title: str,
    count: int = 6,
) -> Panel:
    """A row for each unit: the image that it likes best, and its strongest patches.

    Args:
      found: of the layer.
      chosen: units.
      read: number of an image -> uint8 [H, W, C].
      dreams: uint8 [units, H, W, C], an image for each of them; None for none.
      words: what each of them answers to.
      title: of the panel.
      count: patches of each.
    """
    shown: list[np.ndarray] = []
    for row, unit in enumerate(chosen):
        if dreams is not None:
            shown.append(_squared(tiles.rgba(dreams[row])))
        for number, place in zip(
            found.images[unit, :count], found.positions[unit, :count], strict=True
        ):
            pixels = patch(read[int(number)], found.place, *place)
            shown.append(_squared(tiles.rgba(pixels)))
    columns = len(shown) // len(chosen)

    def draw(ax: Axes) -> None:
        _rows_of_tiles(ax, shown, columns, words, dreams is not None)

    return Panel(title, draw, 1.25 * WIDTH, 1.25 * WIDTH * len(chosen) * 1.26 / columns)


def _squared(tile: np.ndarray, side: int = 96) -> np.ndarray:
    """A tile of this side, each pixel a rectangle: patches of all sizes look alike."""
    places = [
        ((np.arange(side) + 0.5) * size / side).astype(int) for size in tile.shape[:2]
    ]
    return tile[places[0]][:, places[1]]


def _rows_of_tiles(ax, shown, columns: int, words, first_is_made: bool) -> None:
    side, gap, above = 96, 5, 20
    for index, tile in enumerate(shown):
        row, column = divmod(index, columns)
        extra = 8 if first_is_made and column else 0
        left, top = column * (side + gap) + extra, row * (side + gap + above) + above
        ax.imshow(
            tile, interpolation="none", extent=(left, left + side, top + side, top)
        )
        if first_is_made and not column:
            frame = Rectangle((left, top), side, side, fill=False, ec=INK, lw=1.2)
            ax.add_patch(frame)
        if not column:
            ax.text(
                left, top - 3, drawn(words[row]), color=INK, fontsize=8.5, va="bottom"
            )
    rows = len(shown) // columns
    ax.set_xlim(-2, columns * (side + gap) + 8)
    ax.set_ylim(rows * (side + gap + above), 0)
    ax.set_aspect("equal")
    ax.set_axis_off()


def neighbour_panel(
    images: Sequence[Sequence[np.ndarray]],
    labels: Sequence[Sequence[str]],
    title: str,
) -> Panel:
    """A row for each query: the image itself, then its neighbours, nearest first."""
    columns = len(images[0])
    shown = [tiles.rgba(image) for row in images for image in row]
    names = [name for row in labels for name in row]
    height = WIDTH * 1.2 * tiles.ratio(shown, columns)
    return Panel(
        title,
        lambda ax: tiles.show_labelled(ax, shown, names, columns, size=7.5),
        WIDTH * 1.2,
        height,
    )
