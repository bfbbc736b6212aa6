"""The images of a data set by class, used and ignored: counted before use."""

import dataclasses
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from cnnjax.errors import printable

WIDTH = 80  # columns of the screen
FEW = 10  # classes that are named and counted one by one, where there is room


@dataclasses.dataclass(frozen=True)
class Ignored:
    """Files or records that are not used, for one reason.

    Args:
      reason: in a few words.
      count: how many.
      examples: some of their names.
    """

    reason: str
    count: int
    examples: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Contents:
    """The images of a set by class, and the rest of it.

    Args:
      found: pool of the source -> number of images of each class, int64 [classes].
      taken: split -> (pool that it comes from, number of images of each class).
      ignored: what is no part of any pool.
      remarks: sentences on what the user may not have meant.
    """

    found: dict[str, np.ndarray]
    taken: dict[str, tuple[str, np.ndarray]]
    ignored: tuple[Ignored, ...] = ()
    remarks: tuple[str, ...] = ()


def data_record(dataset: Any) -> dict[str, Any]:
    """The record `data.json`: classes in the order of labels, and all counts in full.

    Args:
      dataset: a `Dataset` that is there.
    """
    contents = dataset.contents
    return {
        "name": dataset.name,
        "fingerprint": dataset.fingerprint,
        "image_shape": list(dataset.image_shape),
        "class_names": list(dataset.class_names),
        "found": {pool: counts.tolist() for pool, counts in contents.found.items()},
        "splits": {
            split: {"from": pool, "images_per_class": counts.tolist()}
            for split, (pool, counts) in contents.taken.items()
        },
        "ignored": [dataclasses.asdict(entry) for entry in contents.ignored],
        "remarks": list(contents.remarks),
    }


def source_lines(dataset: Any) -> list[str]:
    """What the source holds and what was ignored, for a screen of `WIDTH` columns."""
    rows = [(pool, counts, "") for pool, counts in dataset.contents.found.items()]
    return _lines(dataset, rows)


def split_lines(dataset: Any) -> list[str]:
    """What each split has, where it comes from, what is not used or was ignored."""
    contents = dataset.contents
    rows, left = [], {pool: counts.sum() for pool, counts in contents.found.items()}
    for split in ("train", "validation", "test"):
        pool, counts = contents.taken[split]
        left[pool] -= counts.sum()
        carved = pool != split and counts.sum()
        rows.append((split, counts, f" taken out of {pool}" if carved else ""))
    unused = [f"{n:,} of {pool}" for pool, n in left.items() if n]
    return _lines(dataset, rows, f"  not used: {', '.join(unused)}" if unused else "")


def remarks_on_splits(
    request: Any,
    class_names: tuple[str, ...],
    found: dict[str, np.ndarray],
    taken: dict[str, tuple[str, np.ndarray]],
    divided: bool,
) -> list[str]:
    """Sentences on classes and splits without images.

    Args:
      request: a `Request`.
      class_names: in the order of labels.
      found: as in `Contents`.
      taken: as in `Contents`.
      divided: whether a share of the source became the test split unasked.
    """
    sentences = []
    for split in ("validation", "test"):  # on those of train, see `run/cautions.py`
        pool, counts = taken[split]
        absent = np.flatnonzero((counts == 0) & (found[pool] > 0))
        if counts.sum() and len(absent):
            names = some([class_names[label] for label in absent], 4)
            sentences.append(
                f"the {split} images that were chosen of {pool} have none of "
                f"{len(absent):,} of {len(counts):,} classes: {names}"
            )
    nothing_tests = not (taken["test"][1].sum() or request.num_folds)
    if request.num_test == 0 and nothing_tests:
        name, key = request.name, "config.data.num_test"
        sentences.append(
            f"{name} has too few images for a share of them to be a test split, so "
            f"nothing is tested: give a number by {key}"
            if divided
            else f"{name} comes in splits without one for tests, so nothing is tested: "
            f"name the folder of test images 'test', or take some out of train by {key}"
        )
    return sentences


def some(names: Sequence[str], most: int) -> str:
    """The first names of a list, and how many there are if that is not all."""
    shown = ", ".join(printable(name) for name in names[:most])
    return shown + (f", ... ({len(names):,})" if len(names) > most else "")


def _lines(
    dataset: Any, rows: list[tuple[str, np.ndarray, str]], unused: str = ""
) -> list[str]:
    """Args: `rows` has (title, images of each class, where they come from)."""
    contents, names = dataset.contents, dataset.class_names
    height, width, channels = dataset.image_shape
    paragraphs = [
        f"data {dataset.name}: {height}x{width}x{channels}, {len(names):,} classes: "
        f"{some(names, FEW if len(names) <= FEW else 6)}"
    ]
    for title, counts, origin in rows:
        number = f"{counts.sum():,}" if counts.sum() else "no"
        words = f"  {title:<11}{number:>9} images{origin}"
        paragraphs.append(words + _per_class(names, counts, WIDTH - len(words)))
    paragraphs += [unused] if unused else []
    for entry in contents.ignored:
        examples = f" ({some(entry.examples, 3)})" if entry.examples else ""
        paragraphs.append(f"  ignored: {entry.count:,} x {entry.reason}{examples}")
    paragraphs += [f"  note: {remark}" for remark in contents.remarks]
    return [line for paragraph in paragraphs for line in _wrapped(paragraph)]


def _per_class(class_names: tuple[str, ...], counts: np.ndarray, width: int) -> str:
    """', cat: 12, dog: 30' if it fits `width`, or else the smallest and largest."""
    if not counts.sum():
        return ""
    if counts.min() == counts.max():
        return f", {counts.min():,} of each class"
    if len(counts) <= FEW:
        pairs = zip(class_names, counts, strict=True)
        words = "".join(f", {printable(name)}: {count:,}" for name, count in pairs)
        if len(words) <= width:
            return words
    return f", {counts.min():,} to {counts.max():,} of a class"


def _wrapped(text: str) -> Iterator[str]:
    indent = " " * (len(text) - len(text.lstrip()))
    yield from textwrap.wrap(
        text, WIDTH, subsequent_indent=f"{indent}    ", break_on_hyphens=False
    )
