"""Data sets: the images to train, to validate and to test on.

Validation is for choosing (learning rate, stopping, checkpoints) and comes out of the
training pool of the source; nothing is ever chosen on the test split. Images are uint8,
held in memory ('resident') or read and decoded as they are needed ('streaming').
"""

import dataclasses
import hashlib
import math
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from cnnjax.data.contents import Contents, remarks_on_splits
from cnnjax.data.decoded_cache import decoded_once
from cnnjax.data.fingerprints import fingerprint, streamed_marks
from cnnjax.data.images import require_memory, with_channels
from cnnjax.data.labels import checked_pools, with_noise
from cnnjax.data.request import Request
from cnnjax.data.sources import digits, folder, synthetic, tfds
from cnnjax.data.sources.archives import imagenet, webdataset
from cnnjax.data.sources.classes import only_classes
from cnnjax.data.sources.source import Chosen, Source, reading
from cnnjax.data.split import (
    Split,
    StreamedSplit,
    choose,
    left_in,
    require_shape,
)
from cnnjax.data.standardize import sample_of
from cnnjax.errors import UserError, unknown_name

# Add a data set: its file, and one line here.
SOURCES: dict[str, Callable[[Request], Source]] = {
    "digits": digits.open_source,
    "synthetic": synthetic.open_source,
    "folder": folder.open_source,
    "imagenet": imagenet.open_source,
    "webdataset": webdataset.open_source,
    **dict.fromkeys(tfds.NAMES, tfds.open_source),
}

# Decoded bytes of all splits up to which delivery 'auto' keeps a set in memory.
RESIDENT_BYTES = 4 * 2**30
# Images that are in memory at once, at the least, where a set is streamed.
STREAMED_AT_ONCE = 256


@dataclasses.dataclass(frozen=True, repr=False)
class Dataset:
    """Everything that training and evaluation know about the data.

    Args:
      name: name of the source.
      train: for gradients and for the statistics of the standardisation.
      validation: for choosing; may be empty.
      test: for the reported figure only.
      class_names: one per label.
      fingerprint: 16 hex digits of a SHA-256, see `fingerprints.py`.
      note: caveats to print beside results; may be empty.
      contents: what the source holds and what of it is used; None if it is not there.
    """

    name: str
    train: Split | StreamedSplit
    validation: Split | StreamedSplit
    test: Split | StreamedSplit
    class_names: tuple[str, ...]
    fingerprint: str
    note: str
    contents: Contents | None = None

    def __repr__(self) -> str:
        splits = ", ".join(
            f"{name} {len(getattr(self, name)):,}"
            for name in ("train", "validation", "test")
        )
        size = "x".join(map(str, self.image_shape))
        return f"<{self.name}: {size}, {self.num_classes:,} classes; {splits}>"

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self.train.image_shape

    @property
    def streamed(self) -> bool:
        """Whether images are read when they are needed; none is in memory then."""
        return self.train.streamed


@reading("the data set")
def load_dataset(request: Request) -> Dataset:
    """Reads a data set, or with delivery 'streaming' lists it.

    Raises:
      UserError: an unknown name, a size that the source cannot give, data that is
        missing or broken.
    """
    source, chosen = open_chosen(request)
    num_images = sum(len(indices) for _, indices in chosen.values())
    delivery = request.delivery
    if delivery == "auto":
        fits = fits_memory(source, request, chosen)
        delivery = "resident" if fits else "streaming"
    streaming = delivery == "streaming"
    require_memory(
        f"the first training image of {request.name}",
        source.image_shape,
        min(num_images, STREAMED_AT_ONCE) if streaming else num_images,
        "" if streaming else ", or config.data.delivery to 'streaming'",
    )
    if streaming:
        _require_certain(source)
        return streamed(source, request, chosen)
    splits = _read_splits(source, chosen, request)
    mark = fingerprint(splits.values())
    return _dataset(source, request, chosen, splits, mark)


@reading("the data set")
def open_chosen(request: Request) -> tuple[Source, Chosen]:
    """Opens a source, chooses its splits, and then makes training labels wrong.

    So the wrong labels neither validate nor test, nor bear on what does.

    Raises:
      UserError: as `load_dataset`.
    """
    source = open_source(request)
    chosen = choose(source.pools, request, source.in_splits)
    train, noise = chosen["train"][1], request.label_noise
    return with_noise(source, noise, request.split_seed, train), chosen


@reading("the data set")
def open_source(request: Request) -> Source:
    """Opens a source and checks its labels, all true; decodes one image at most.

    Raises:
      UserError: as `load_dataset`.
    """
    source = _opener(request.name)(request)
    if request.geometry.of_files and source.root is None:
        raise UserError(
            f"config.geometry.train={request.geometry.train!r} with "
            f"config.geometry.evaluation={request.geometry.evaluation!r} cuts "
            f"photographs in files, and {request.name} is in memory: set both to "
            "'center', or config.data.name to a set of files"
        )
    if request.classes:
        source = only_classes(source, request.name, request.classes)
    num_classes = len(source.class_names)
    if request.num_classes not in (0, num_classes):
        raise UserError(
            f"config.data.num_classes={request.num_classes}, but {request.name} has "
            f"{num_classes} classes: set it to 0"
        )
    pools, sentences = checked_pools(request.name, source.pools, num_classes)
    note = "; ".join([source.note, *sentences] if source.note else sentences)
    remarks = (*source.remarks, *sentences)
    source = dataclasses.replace(source, pools=pools, note=note, remarks=remarks)
    height, width, channels = source.image_shape
    if request.channels in (0, channels):
        return source

    def read(
        pool: str, *chosen: np.ndarray, **how: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        images, labels = source.read(pool, *chosen, **how)
        return with_channels(images, request.channels), labels

    shape = (height, width, request.channels)
    return dataclasses.replace(source, read=read, image_shape=shape)


@reading("the data set")
def streamed(source: Source, request: Request, chosen: Chosen) -> Dataset:
    """The data set whose images are read when they are needed."""
    shape, from_files = source.image_shape, source.root is not None
    sample = _sample(source, request, chosen)
    mark, stamp = streamed_marks(source, request, chosen, sample)
    splits = {
        split: StreamedSplit(
            split,
            source.read,
            *of_split,
            shape,
            from_files,
            stamp,
            drawn=request.geometry.train != "center",
            num_views=request.geometry.num_views,
            sample=sample if split == "train" else None,
        )
        for split, of_split in chosen.items()
    }
    return _dataset(source, request, chosen, splits, mark)


def _sample(source: Source, request: Request, chosen: Chosen) -> np.ndarray | None:
    """The training images that are measured; None for all of them.

    What could be in memory is measured as it is there.
    """
    if fits_memory(source, request, chosen):
        return None
    num = len(chosen["train"][1])
    return sample_of(num, request.measured_images, request.split_seed)


def fits_memory(source: Source, request: Request, chosen: Chosen) -> bool:
    """Whether delivery 'auto' keeps a set in memory."""
    num_images = sum(len(indices) for _, indices in chosen.values())
    fits = num_images * math.prod(source.image_shape) <= RESIDENT_BYTES
    return fits and not request.geometry.of_files


def _dataset(
    source: Source, request: Request, chosen: Chosen, splits: dict, mark: str
) -> Dataset:
    def count(labels: np.ndarray) -> np.ndarray:
        return np.bincount(labels, minlength=len(source.class_names))

    labels: dict[str, Any] = {n: pool.labels for n, pool in source.pools.items()}
    found = {name: count(of_pool) for name, of_pool in labels.items()}
    taken = {
        split: (pool, count(labels[pool][indices]))
        for split, (pool, indices) in chosen.items()
    }
    divided = not source.in_splits and set(found) == {"train"}
    said = remarks_on_splits(request, source.class_names, found, taken, divided)
    remarks = (*source.remarks, *said, *left_in(chosen, request))
    contents = Contents(found, taken, source.ignored, remarks)
    return Dataset(
        name=request.name,
        **splits,
        class_names=source.class_names,
        fingerprint=mark,
        note=source.note,
        contents=contents,
    )


def _require_certain(source: Source) -> None:
    """Refuses a streamed set in which an image may not fit: it would end a long run."""
    if not source.certain:
        raise UserError(
            "the first training image is grey, and a streamed set does not look at all "
            "the others before training: set config.data.channels to 1 (colour becomes "
            "grey) or 3 (grey is repeated)"
        )


def _read_splits(source: Source, chosen: Chosen, request: Request) -> dict[str, Split]:
    """Reads all splits, of images with one shape; some may be empty."""
    splits = {"train": Split(*_read_once(source, *chosen["train"], request))}
    shape = splits["train"].image_shape
    for split in ("validation", "test"):
        pool, indices = chosen[split]
        if len(indices) == 0:
            images, labels = np.empty((0, *shape), np.uint8), np.empty(0, np.int32)
        else:
            images, labels = _read_once(source, pool, indices, request)
            require_shape(images, shape, split)
        splits[split] = Split(images, labels)
    return splits


def _read_once(
    source: Source, pool: str, indices: np.ndarray, request: Request
) -> tuple[np.ndarray, np.ndarray]:
    """Reads images, or takes decoded ones from the cache."""

    def decode() -> tuple[np.ndarray, np.ndarray]:
        return source.read(pool, indices)

    if source.root is None:
        return decode()
    chosen = hashlib.sha256(indices.astype("<i8").data)
    labels: Any = source.pools[pool].labels
    chosen.update(labels[indices].astype("<i4").data)
    form = request.image_size, request.channels
    what = (pool, chosen.hexdigest(), *form, *request.classes, source.mark)
    return decoded_once(_paths(source), what, decode)


def _paths(source: Source) -> Iterator[str]:
    """The files of a source."""
    return (os.path.join(source.root or "", name) for name in source.files())


def _opener(name: str) -> Callable[[Request], Source]:
    if name.startswith(tfds.PREFIX):
        return tfds.open_source
    if name not in SOURCES:
        allowed = [*SOURCES, f"{tfds.PREFIX}<name>"]
        raise unknown_name("data set", name, allowed, "config.data.name")
    return SOURCES[name]
