"""Arrays as small pictures, and many of these as one."""

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes

from cnnjax.ablation.report.plots.figures import INK
from cnnjax.ablation.report.plots.words import drawn

SIGNED, POSITIVE = "RdBu_r", "magma"
OUTSIDE = (0.5, 0.5, 0.5, 0.35)  # beyond the border of an image
SMALLEST = 48  # pixels of a tile; smaller ones are enlarged, pixel by pixel


def rgba(pixels: np.ndarray) -> np.ndarray:
    """An image [h, w, 1 or 3] of 0 to 255, NaN outside, as [h, w, 4] of 0 to 1."""
    pixels = np.asarray(pixels, float) / 255
    colours = np.repeat(pixels, 3, axis=-1) if pixels.shape[-1] == 1 else pixels
    opaque = np.ones((*colours.shape[:2], 1))
    shown = np.concatenate([np.clip(colours[..., :3], 0, 1), opaque], axis=-1)
    shown[np.isnan(shown).any(axis=-1)] = OUTSIDE
    return shown


def signed(values: np.ndarray, largest: float | None = None) -> np.ndarray:
    """Values [h, w] in blue (below 0) and red (above), white at 0: [h, w, 4]."""
    largest = _largest(values) if largest is None else largest
    scaled = 0.5 + values / (2 * largest if largest > 0 else 1)
    return matplotlib.colormaps[SIGNED](np.clip(scaled, 0, 1))


def positive(values: np.ndarray, largest: float | None = None) -> np.ndarray:
    """Values [h, w] from dark (0) to light (the largest): [h, w, 4]."""
    largest = _largest(values) if largest is None else largest
    return matplotlib.colormaps[POSITIVE](values / (largest if largest > 0 else 1))


def heat(values: np.ndarray, image: np.ndarray) -> np.ndarray:
    """Values [H, W] of 0 and above as colours, whose light is that of an image."""
    colours = matplotlib.colormaps["inferno"](values / max(values.max(), 1e-30))
    grey = image[..., :3].mean(axis=-1, keepdims=True)
    mixed = colours[..., :3] * (0.45 + 0.55 * grey)
    return np.concatenate([mixed, np.ones_like(grey)], axis=-1)


def _largest(values: np.ndarray) -> float:
    """Beyond it colours are full: a single pixel must not make all others pale."""
    return float(np.percentile(np.abs(values), 99.5))


def enlarged(tile: np.ndarray, smallest: int = SMALLEST) -> np.ndarray:
    """A tile of at least that side, each pixel a square."""
    times = max(1, -(-smallest // max(tile.shape[:2])))
    return tile.repeat(times, axis=0).repeat(times, axis=1)


def resized(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Values [h, w] at (height, width) points, linear between their own."""
    for axis, (old, new) in enumerate(zip(values.shape, size, strict=True)):
        places = (np.arange(new) + 0.5) * old / new - 0.5
        places = np.clip(places, 0, old - 1)
        low = np.floor(places).astype(int)
        high = np.minimum(low + 1, old - 1)
        shape = [1, 1]
        shape[axis] = new
        share = (places - low).reshape(shape)
        values = np.take(values, low, axis) * (1 - share) + share * np.take(
            values, high, axis
        )
    return values


def montage(tiles: Sequence[np.ndarray], columns: int, gap: int = 4) -> np.ndarray:
    """Tiles [h, w, 4] in rows, with transparent gaps; smaller ones are centred."""
    tiles = [enlarged(tile) for tile in tiles]
    height = max(tile.shape[0] for tile in tiles)
    width = max(tile.shape[1] for tile in tiles)
    rows = -(-len(tiles) // columns)
    columns = min(columns, len(tiles))
    whole = np.zeros((rows * (height + gap) - gap, columns * (width + gap) - gap, 4))
    for index, tile in enumerate(tiles):
        row, column = divmod(index, columns)
        top = row * (height + gap) + (height - tile.shape[0]) // 2
        left = column * (width + gap) + (width - tile.shape[1]) // 2
        whole[top : top + tile.shape[0], left : left + tile.shape[1]] = tile
    return whole


def show(ax: Axes, picture: np.ndarray) -> None:
    """Shows a picture [h, w, 4] without axes."""
    ax.imshow(picture, interpolation="none", aspect="equal")
    ax.set_axis_off()


def show_labelled(
    ax: Axes,
    tiles: Sequence[np.ndarray],
    labels: Sequence[str],
    columns: int,
    size: float = 9.0,
) -> None:
    """Shows tiles in rows, each with a label above it."""
    tiles = [enlarged(tile, 96) for tile in tiles]
    height = max(tile.shape[0] for tile in tiles)
    width = max(tile.shape[1] for tile in tiles)
    line = max(labels, key=lambda label: label.count("\n")).count("\n") + 1
    above, gap = 0.17 * line * width, 0.06 * width
    for index, (tile, label) in enumerate(zip(tiles, labels, strict=True)):
        row, column = divmod(index, columns)
        left, top = column * (width + gap), row * (height + above + gap) + above
        left += (width - tile.shape[1]) / 2
        extent = (left, left + tile.shape[1], top + tile.shape[0], top)
        ax.imshow(tile, interpolation="none", extent=extent)
        text = "\n".join(drawn(part) for part in label.split("\n"))
        middle = left + tile.shape[1] / 2
        lowest = top - 0.03 * width
        place: dict[str, Any] = {"ha": "center", "va": "bottom", "fontsize": size}
        ax.text(middle, lowest, text, color=INK, **place)
    rows = -(-len(tiles) // columns)
    wide = min(columns, len(tiles))
    ax.set_xlim(-gap, wide * (width + gap))
    ax.set_ylim(rows * (height + above + gap), -gap)
    ax.set_aspect("equal")
    ax.set_axis_off()


def ratio(tiles: Sequence[np.ndarray], columns: int, lines: int = 1) -> float:
    """Height over width of what `show_labelled` draws."""
    height = max(tile.shape[0] for tile in tiles)
    width = max(tile.shape[1] for tile in tiles)
    rows = -(-len(tiles) // columns)
    wide = min(columns, len(tiles))
    return rows * (height / width + 0.17 * lines + 0.06) / (wide * 1.06)
