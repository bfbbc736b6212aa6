"""Data sets: which images train, which choose, which judge.

Validation is for choosing (learning rate, stopping, checkpoints) and comes out of the
training pool of the source; the test split is never chosen on. Images are uint8, held
in memory ('resident') or read and decoded as they are needed ('streaming').
"""

import dataclasses
import hashlib
import math
import os
from collections.abc import Callable

import numpy as np

from cnnjax.data.contents import Contents, remarks_on_splits
from cnnjax.data.decoded_cache import decoded_once
from cnnjax.data.fingerprints import fingerprint, streamed_fingerprint
from cnnjax.data.images import with_channels
from cnnjax.data.labels import checked_pools
from cnnjax.data.request import Request
from cnnjax.data.sources import digits, folder, synthetic, tfds
from cnnjax.data.sources.source import Chosen, Pool, Source
from cnnjax.data.split import Split, StreamedSplit, require_shape
from cnnjax.errors import UserError, unknown_name

# Add a data set: its file, and one line here.
SOURCES: dict[str, Callable[[Request], Source]] = {
    "digits": digits.open_source,
    "synthetic": synthetic.open_source,
    "folder": folder.open_source,
    **dict.fromkeys(tfds.NAMES, tfds.open_source),
}

# Share of the only pool of a source that becomes the test split when `num_test` is 0.
TEST_SHARE = 0.2
# Decoded bytes of all splits up to which delivery 'auto' keeps a set in memory.
RESIDENT_BYTES = 4 * 2**30


@dataclasses.dataclass(frozen=True)
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


def load_dataset(request: Request) -> Dataset:
    """Reads a data set, or with delivery 'streaming' lists it.

    Raises:
      UserError: an unknown name, a size that the source cannot give, data that is
        missing or broken.
    """
    source = open_source(request)
    chosen = choose(source.pools, request, source.in_splits)
    delivery = request.delivery
    if delivery == "auto":
        num_images = sum(len(indices) for _, indices in chosen.values())
        fits = num_images * math.prod(source.image_shape) <= RESIDENT_BYTES
        delivery = "resident" if fits else "streaming"
    if delivery == "streaming":
        _require_certain(source)
        return streamed(source, request, chosen)
    splits = _read_splits(source, chosen, request)
    mark = fingerprint(splits.values())
    return _dataset(source, request, chosen, splits, mark)


def open_source(request: Request) -> Source:
    """Opens a source and checks its labels; decodes one image at most.

    Raises:
      UserError: as `load_dataset`.
    """
    source = _opener(request.name)(request)
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
    *sides, channels = source.image_shape
    if request.channels in (0, channels):
        return source

    def read(pool: str, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images, labels = source.read(pool, indices)
        return with_channels(images, request.channels), labels

    return dataclasses.replace(
        source, read=read, image_shape=(*sides, request.channels)
    )


def streamed(source: Source, request: Request, chosen: Chosen) -> Dataset:
    """The data set whose images are read when they are asked for."""
    shape, from_files = source.image_shape, source.root is not None
    splits = {
        split: StreamedSplit(split, source.read, *of_split, shape, from_files)
        for split, of_split in chosen.items()
    }
    mark = streamed_fingerprint(source, request, chosen)
    return _dataset(source, request, chosen, splits, mark)


def _dataset(
    source: Source, request: Request, chosen: Chosen, splits: dict, mark: str
) -> Dataset:
    def count(labels: np.ndarray) -> np.ndarray:
        return np.bincount(labels, minlength=len(source.class_names))

    found = {name: count(pool.labels) for name, pool in source.pools.items()}
    taken = {
        split: (pool, count(source.pools[pool].labels[indices]))
        for split, (pool, indices) in chosen.items()
    }
    divided = not source.in_splits and set(found) == {"train"}
    said = remarks_on_splits(request, source.class_names, found, taken, divided)
    contents = Contents(found, taken, source.ignored, (*source.remarks, *said))
    return Dataset(
        name=request.name,
        **splits,
        class_names=source.class_names,
        fingerprint=mark,
        note=source.note,
        contents=contents,
    )


def _require_certain(source: Source) -> None:
    """Streaming must not meet an image in the middle of training that does not fit."""
    if not source.certain:
        raise UserError(
            "the first training image is grey, and a streamed set does not look at all "
            "the others before training: set config.data.channels to 1 (colour becomes "
            "grey) or 3 (grey is repeated)"
        )


def choose(pools: dict[str, Pool], request: Request, in_splits: bool = False) -> Chosen:
    """Which images of which pool make up each split.

    Args:
      pools: of a source.
      request: how many images of each split.
      in_splits: as `Source.in_splits`.

    Returns:
      split -> (pool, indices in rising order); no image is in two splits.

    Raises:
      UserError: a pool holds fewer images than were asked for.
    """
    want = {
        "test": request.num_test,
        "validation": request.num_validation,
        "train": request.num_train,
    }
    order = {
        pool: split_order(pools[pool], request.split_seed) for pool in sorted(pools)
    }
    if request.num_folds:
        pools = {name: pool for name, pool in pools.items() if name != "test"}
        size, k = pools["train"].size, request.num_folds
        start, stop = (i * size // k for i in (request.fold, request.fold + 1))
        # The images of the fold come first, where those of the test split are taken.
        order["train"] = np.roll(order["train"], -start)
        want["test"] = stop - start
    used = dict.fromkeys(pools, 0)
    chosen = {}
    # What comes in splits is not divided any further unless a number is asked for.
    share = TEST_SHARE if set(pools) == {"train"} and not in_splits else 0
    for split, num in want.items():
        pool = split if split in pools else "train"
        left = pools[pool].size - used[pool]
        if num == 0:
            carved = {"test": round(share * left), "validation": 0}
            num = left if pool == split else carved[split]
        num = max(num, 0)  # -1 is none
        # The training split needs at least one image of what the others leave.
        available = left - (pool == "train" and split != "train")
        if num > available or (split == "train" and num == 0):
            raise UserError(
                f"config.data.num_{split}={want[split]}, but {request.name} has only "
                f"{available} images left for it of {pools[pool].size} in its {pool} "
                f"split ({_spent(chosen, pool)}): lower num_train, num_validation or "
                "num_test"
            )
        indices = order[pool][used[pool] : used[pool] + num]
        chosen[split] = (pool, np.sort(indices))
        used[pool] += num
    return chosen


def split_order(pool: Pool, seed: int) -> np.ndarray:
    """A seeded order of a pool; where labels are known, every stretch is balanced.

    Stratified: the k-th image of a class with n images is placed at (k + 1/2) / n of
    the way, so any run of images has each class in proportion, to within one or two.
    """
    # RandomState's stream is frozen for good; that of Generator is not.
    order = np.random.RandomState(seed).permutation(pool.size)
    if pool.labels is None or not pool.stratified:
        return order
    labels = pool.labels[order]
    place = np.empty(pool.size)
    for label in np.unique(labels):
        (rows,) = np.nonzero(labels == label)
        place[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    return order[np.argsort(place, kind="stable")]


def _read_splits(source: Source, chosen: Chosen, request: Request) -> dict[str, Split]:
    """Reads all splits, which must look like the training images; some may be empty."""
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
    """Reads images, or finds them on disk where decoding them takes time."""

    def decode() -> tuple[np.ndarray, np.ndarray]:
        return source.read(pool, indices)

    if source.root is None:
        return decode()
    chosen = hashlib.sha256(indices.astype("<i8")).hexdigest()
    what = (pool, chosen, request.image_size, request.channels)
    files = (os.path.join(source.root, name) for name in source.files())
    return decoded_once(files, what, decode)


def _opener(name: str) -> Callable[[Request], Source]:
    if name.startswith(tfds.PREFIX):
        return tfds.open_source
    if name not in SOURCES:
        allowed = [*SOURCES, f"{tfds.PREFIX}<name>"]
        raise unknown_name("data set", name, allowed, "config.data.name")
    return SOURCES[name]


def _spent(chosen: dict[str, tuple[str, np.ndarray]], pool: str) -> str:
    spent = [f"{split} takes {len(i)}" for split, (p, i) in chosen.items() if p == pool]
    return ", ".join(spent) or "nothing else takes any"
