"""A sheet of images as PNG, and as a page of one file."""

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from cnnjax.records import write_bytes, write_text
from cnnjax.studies.augment_sheet import Row
from cnnjax.texts import sentence

NAME = "augmentation"
# Side of an image on the sheet, in pixels: small ones grow by a whole factor.
SMALL, LARGE = 64, 160
GAP, LINE = 6, 18
MOST_LETTERS = 40
STYLE = """
body { font: 15px/1.4 system-ui, sans-serif; margin: 1.5rem auto; max-width: 75rem;
  padding: 0 1rem; background: Canvas; color: CanvasText; color-scheme: light dark; }
h2 { font-size: 1rem; margin: 1.6rem 0 0.3rem; }
h2 small { font-weight: normal; opacity: 0.75; }
.draw { display: flex; flex-wrap: wrap; gap: 6px; margin-bottom: 6px; }
figure { margin: 0; max-width: 10rem; }
img { display: block; image-rendering: pixelated; }
figcaption { font-size: 0.75rem; overflow-wrap: anywhere; }
"""


def save_sheet(title: str, rows: Sequence[Row], folder: Path) -> list[Path]:
    """Writes `augmentation.png` and `augmentation.html`; returns their paths."""
    png, page = folder / f"{NAME}.png", folder / f"{NAME}.html"
    content = io.BytesIO()
    _sheet(title, rows).save(content, format="png", optimize=True)
    write_bytes(png, content.getvalue())
    write_text(page, _page(title, rows))
    return [png, page]


def _scaled(pixels: np.ndarray) -> Image.Image:
    """One image, uint8 [H, W, C], in a size that can be looked at."""
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    longest = max(image.size)
    if longest > LARGE:
        image.thumbnail((LARGE, LARGE))
    elif factor := SMALL // longest:
        size = (image.width * factor, image.height * factor)
        image = image.resize(size, Image.Resampling.NEAREST)
    return image.convert("RGB")


def _sheet(title: str, rows: Sequence[Row]) -> Image.Image:
    """All rows below each other, with their titles."""
    font = ImageFont.load_default(13)
    scaled = [[[_scaled(p) for p in draw] for draw in row.images] for row in rows]
    width, height = scaled[0][0][0].size
    columns = max(len(draw) for row in scaled for draw in row)
    lines = sum(1.6 + len(row.captions) for row in rows) + 1.6
    heights = sum(len(row) * (height + GAP) for row in scaled)
    total = max(columns * (width + GAP), 700)
    paper = Image.new("RGB", (total + GAP, int(heights + lines * LINE)), "white")
    pen, y = ImageDraw.Draw(paper), GAP
    pen.text((GAP, y), sentence(title, 100), "black", font)
    y += LINE
    for row, images in zip(rows, scaled, strict=True):
        y += LINE // 2
        words = f"{row.title} ({row.detail})" if row.detail else row.title
        pen.text((GAP, y), sentence(words, 110), "black", font)
        y += LINE
        for i, draw in enumerate(images):
            for j, image in enumerate(draw):
                x = GAP + j * (width + GAP)
                paper.paste(image, (x, y))
                if row.captions:
                    _write_below(pen, row.captions[i][j], x, y + height, width)
            y += height + GAP + (LINE if row.captions else 0)
    return paper.crop((0, 0, paper.width, y))


def _write_below(
    pen: ImageDraw.ImageDraw, text: str, x: int, y: int, width: int
) -> None:
    """A caption as wide as its image: what does not fit is cut off."""
    font = ImageFont.load_default(10)
    words = sentence(text, MOST_LETTERS)
    while words and pen.textlength(words, font) > width:
        words = words[:-1]
    pen.text((x, y), words, "black", font)


def _page(title: str, rows: Sequence[Row]) -> str:
    """One file with all images in it."""
    heading = html.escape(sentence(title))
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        f"<title>{heading}</title><style>{STYLE}</style></head><body>",
        f"<h1>{heading}</h1>",
    ]
    for row in rows:
        detail = f" <small>{html.escape(row.detail)}</small>" if row.detail else ""
        parts.append(f"<section><h2>{html.escape(row.title)}{detail}</h2>")
        for i, draw in enumerate(row.images):
            captions = row.captions[i] if row.captions else [""] * len(draw)
            parts.append('<div class="draw">')
            parts += [
                _figure(pixels, f"{row.title}, image {j + 1}, draw {i + 1}", caption)
                for j, (pixels, caption) in enumerate(zip(draw, captions, strict=True))
            ]
            parts.append("</div>")
        parts.append("</section>")
    return "\n".join([*parts, "</body></html>", ""])


def _figure(pixels: np.ndarray, name: str, caption: str) -> str:
    content = io.BytesIO()
    image = _scaled(pixels)
    image.save(content, format="png")
    encoded = base64.b64encode(content.getvalue()).decode()
    below = ""
    if caption:
        below = f"<figcaption>{html.escape(sentence(caption))}</figcaption>"
    source = f"data:image/png;base64,{encoded}"
    size = f'width="{image.width}" height="{image.height}"'
    shown = f'<img alt="{html.escape(name)}" {size} src="{source}">'
    return f"<figure>{shown}{below}</figure>"
