"""What `outliers` writes: a table of all images, a sheet of the worst of each class."""

import base64
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cnnjax.ablation.report.pages import render
from cnnjax.records import write_bytes, write_text
from cnnjax.studies.outliers import Outliers
from cnnjax.texts import csv_table

COLUMNS = 10  # images of a class
MOST_CLASSES = 40  # on a sheet; those with the worst images
# Pixels in the PNG: of an image, of it with its words and margins, of the names of
# classes and of the title.
SIDE, CELL, NAMES, TOP = 80, (92, 124), 110, 40
SUSPECT = "#c1121f"


def write_table(found: Outliers, path: Path) -> None:
    """One line per image, the worst first; positions are in the training pool."""
    names, loss, margin = found.source.class_names, found.loss, found.margin
    suspect, guess = found.suspect, found.probabilities.argmax(1)
    head = "rank position class guess label_probability guess_probability loss margin"
    rows: list[list[object]] = [[*head.split(), "suspect"]]
    if found.planted is not None:
        rows[0].append("planted")
    for rank, i in enumerate(found.worst().tolist(), 1):
        of = found.probabilities[i]
        label = int(found.labels[i])
        numbers = (of[label], of[guess[i]], loss[i], margin[i])
        row = [rank, i, names[label], names[guess[i]], *(f"{n:.6g}" for n in numbers)]
        row.append(int(suspect[i]))
        rows.append(row if found.planted is None else [*row, int(found.planted[i])])
    write_text(path, csv_table(rows))


def write_list(positions: Sequence[int], path: Path) -> None:
    """Positions as a value of `data.exclude`."""
    write_text(path, "(" + "".join(f"{i}," for i in sorted(positions)) + ")\n")


def write_sheet(found: Outliers, title: str, folder: Path) -> None:
    """Writes `outliers` as HTML and PNG."""
    classes = [_of_class(found, label) for label in _shown_classes(found)]
    context = {"title": title, "classes": classes, "nets": found.num_nets}
    context["left_out"] = len(found.source.class_names) - len(classes)
    write_text(folder / "outliers.html", render("outliers.html.j2", context, True))
    write_bytes(folder / "outliers.png", _draw(title, classes))


def _shown_classes(found: Outliers) -> list[int]:
    """The classes of a sheet, in their order."""
    labels, order = found.labels, found.worst()
    # Of each class its worst image, by place in the ranking.
    there, first = np.unique(labels[order], return_index=True)
    return sorted(there[np.argsort(first)][:MOST_CLASSES].tolist())


def _of_class(found: Outliers, label: int) -> dict[str, Any]:
    """The worst images of one class, for the template and the figure."""
    order = found.worst()
    positions = order[found.labels[order] == label][:COLUMNS]
    pixels = _read(found, positions)
    suspect, names = found.suspect, found.source.class_names
    images = []
    for i, picture in zip(positions.tolist(), pixels, strict=True):
        of = found.probabilities[i]
        images.append(
            {
                "position": i,
                "pixels": picture,
                "uri": _data_uri(picture),
                "guess": names[of.argmax()],
                "guess_probability": float(of.max()),
                "label_probability": float(of[label]),
                "suspect": bool(suspect[i]),
                "planted": found.planted is not None and bool(found.planted[i]),
            }
        )
    counts = {"images": int((found.labels == label).sum())}
    counts["suspects"] = int(suspect[found.labels == label].sum())
    return {"name": names[label], "images": images, "counts": counts}


def _read(found: Outliers, positions: np.ndarray) -> np.ndarray:
    """Images at some positions; sources read in rising order."""
    order = np.argsort(positions)
    images, _ = found.source.read("train", positions[order])
    return images[np.argsort(order)]


def _as_image(picture: np.ndarray) -> Image.Image:
    return Image.fromarray(picture.squeeze(-1) if picture.shape[-1] == 1 else picture)


def _data_uri(picture: np.ndarray) -> str:
    """A uint8 image [H, W, 1 or 3] as a PNG within a page."""
    buffer = io.BytesIO()
    _as_image(picture).save(buffer, format="png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _draw(title: str, classes: Sequence[dict[str, Any]]) -> bytes:
    """A PNG with a row for each class; a frame around suspects."""
    columns = max(len(of["images"]) for of in classes)
    size = (NAMES + columns * CELL[0], TOP + len(classes) * CELL[1])
    sheet = Image.new("RGB", size, "white")
    draw = ImageDraw.Draw(sheet)
    large, small = (_font(points) for points in (15, 11))
    draw.text((8, 8), title, fill="black", font=large)
    for row, of in enumerate(classes):
        top = TOP + row * CELL[1]
        draw.text((8, top + SIDE // 2), of["name"][:14], fill="black", font=small)
        for column, image in enumerate(of["images"]):
            left = NAMES + column * CELL[0]
            picture = _as_image(image["pixels"]).convert("RGB")
            sheet.paste(picture.resize((SIDE, SIDE), _filter(picture)), (left, top))
            if image["suspect"]:
                box = (left - 3, top - 3, left + SIDE + 2, top + SIDE + 2)
                draw.rectangle(box, outline=SUSPECT, width=3)
            guess, chance = image["guess"][:10], image["guess_probability"]
            words = f"{guess} {chance:.2f}\n#{image['position']}"
            draw.text((left, top + SIDE + 4), words, fill="black", font=small)
    buffer = io.BytesIO()
    sheet.save(buffer, format="png", optimize=True)
    return buffer.getvalue()


def _font(points: int) -> ImageFont.FreeTypeFont:
    """That of the figures, which comes with matplotlib."""
    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    return ImageFont.truetype(str(folder / "DejaVuSans.ttf"), points)


def _filter(picture: Image.Image) -> Image.Resampling:
    """Pixels of small images stay seen as such."""
    small = max(picture.size) <= SIDE
    return Image.Resampling.NEAREST if small else Image.Resampling.BILINEAR
