"""Suite photographs: a large folder listed, and photographs read from JPEG files.

`CNNJAX_PHOTOGRAPHS` names a folder of JPEG files (in any folders); without it, made
ones of ImageNet's median size stand for them, which have no real detail.
"""

import io
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.measure import interleave
from benchmarks.rows import Row, rows_of
from cnnjax.data.cutting.cuts import cutting
from cnnjax.data.cutting.geometry import Geometry, draw
from cnnjax.data.images import decode_all
from cnnjax.data.sources.listing import list_images
from cnnjax.data.streaming import ReadAhead, num_cores

VARIABLE = "CNNJAX_PHOTOGRAPHS"
MOST, BATCH, SIZE = 256, 64, 224
FILES, CLASSES = 100_000, 100
GEOMETRIES = {
    "random_resized_crop": Geometry(train="random_resized_crop"),
    "evaluation": Geometry(evaluation="resize_crop"),
}


def suite(options) -> Iterator[Row]:
    """Rows of listing and of reading, with torchvision in the same run."""
    with_torch = options.against == "torch"
    case = f"listing {FILES:,} files in {CLASSES} folders"
    if options.only.lower() in case:
        with tempfile.TemporaryDirectory() as folder:
            make_folder(folder)
            yield from listing(case, folder, options.rounds, with_torch)
    contents = photographs()
    for cut in GEOMETRIES:
        case = f"{len(contents)} photographs from memory, {cut}, {SIZE} pixels"
        if options.only.lower() in case.lower():
            yield from reading(case, contents, cut, options.rounds, with_torch)


def listing(case: str, folder: str, rounds: int, with_torch: bool) -> list[Row]:
    ways: dict[str, Callable[[], object]] = {"cnnjax": lambda: list_images(folder)}
    if with_torch:
        from benchmarks.peers import torch_photographs

        ways["torchvision ImageFolder"] = torch_photographs.listing(folder)
    times = interleave(ways, rounds=rounds)
    return rows_of(case, times, "cnnjax", unit="listing")


def reading(
    case: str, contents: list[bytes], cut: str, rounds: int, with_torch: bool
) -> list[Row]:
    """With as many threads, or processes, as there are cores."""
    files = [(str(number), content) for number, content in enumerate(contents)]
    geometry = GEOMETRIES[cut]
    draws = draw(0, np.zeros(len(files), int), np.arange(len(files)))
    starts = range(0, len(files), BATCH)

    def piece(start: int) -> np.ndarray:
        stop = min(start + BATCH, len(files))
        drawn = draws[start:stop] if geometry.train != "center" else None
        how = cutting(geometry, SIZE, drawn)
        return decode_all(files[start:stop], stop - start, 3, SIZE, cut=how)

    def threads() -> None:
        calls = (lambda start=start: piece(start) for start in starts)
        ahead = ReadAhead(calls, 2 * num_cores(), 0)
        for _ in starts:
            ahead.next()
        ahead.close()

    ways: dict[str, Callable[[], object]] = {
        "cnnjax": threads,
        "cnnjax, one thread": lambda: [piece(start) for start in starts],
    }
    if with_torch:
        from benchmarks.peers.torch_photographs import reading

        for workers in (0, num_cores()):
            way = f"torchvision, DataLoader, {workers} workers"
            ways[way] = reading(contents, cut, SIZE, BATCH, workers)
    times = interleave(ways, rounds=rounds)
    return rows_of(case, times, "cnnjax", unit="pass", images=len(files))


def photographs() -> list[bytes]:
    """The contents of at most `MOST` files."""
    if folder := os.environ.get(VARIABLE):
        files = sorted(
            path
            for path in Path(folder).rglob("*")
            if path.suffix.lower() in (".jpg", ".jpeg")
        )
        return [path.read_bytes() for path in files[:: -(-len(files) // MOST)]]
    random = np.random.RandomState(0)
    return [made(random) for _ in range(MOST)]


def made(random: np.random.RandomState) -> bytes:
    coarse = Image.fromarray(random.randint(0, 256, (24, 32, 3), np.uint8))
    smooth = np.asarray(coarse.resize((500, 375), Image.Resampling.BICUBIC), np.int16)
    noisy = np.clip(smooth + random.normal(0, 12, smooth.shape), 0, 255)
    content = io.BytesIO()
    Image.fromarray(noisy.astype(np.uint8)).save(content, "JPEG", quality=90)
    return content.getvalue()


def make_folder(root: str) -> None:
    """Empty files: a listing opens none."""
    for label in range(CLASSES):
        folder = Path(root) / f"n{label:08d}"
        folder.mkdir()
        for number in range(FILES // CLASSES):
            (folder / f"n{label:08d}_{number}.JPEG").touch()
