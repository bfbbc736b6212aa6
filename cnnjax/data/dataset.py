"""Data sets: which images train, which choose, which judge.

Validation is for choosing (learning rate, stopping, checkpoints) and comes out of the
training pool of the source; the test split is never chosen on. Images are uint8, held
in memory ('resident') or read and decoded as they are needed ('streaming').
"""

import dataclasses
import hashlib
import math
from collections.abc import Callable, Iterable

import numpy as np

from cnnjax.data import digits, folder, synthetic, tfds
from cnnjax.data.decoded import decoded_once
from cnnjax.data.source import Pool, Request, Source
from cnnjax.data.split import Split, StreamedSplit, require_shape
from cnnjax.errors import UserError, unknown_name

# Add a data set: its file, and one line here.
SOURCES: dict[str, Callable[[Request], Source]] = {
    "digits": digits.open_source,
    "synthetic": synthetic.open_source,
    "folder": folder.open_source,
    **dict.fromkeys(tfds.NAMES, tfds.open_source),
}

# Share of a single pool that becomes the test split when `num_test` is 0.
TEST_SHARE = 0.2
# Decoded bytes of all splits up to which delivery 'auto' keeps a set in memory.
RESIDENT_BYTES = 4 * 2**30
DELIVERIES = ("auto", "resident", "streaming")
# split -> (pool, indices in rising order)
Chosen = dict[str, tuple[str, np.ndarray]]
# The longest side of an image; a slip beyond it would take all memory.
MOST_PIXELS = 2**14
MAX_SEED = 2**32 - 1


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Everything that training and evaluation know about the data.

    Args:
      name: name of the source.
      train: for gradients and for the statistics of the standardisation.
      validation: for choosing; may be empty.
      test: for the reported figure only.
      class_names: one per label.
      fingerprint: 16 hex digits of a SHA-256, see `fingerprint` for images in memory
        and `streamed_fingerprint` for others.
      note: caveats to print beside results; may be empty.
    """

    name: str
    train: Split | StreamedSplit
    validation: Split | StreamedSplit
    test: Split | StreamedSplit
    class_names: tuple[str, ...]
    fingerprint: str
    note: str

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
        return isinstance(self.train, StreamedSplit)


def load_dataset(
    name: str,
    *,
    data_dir: str,
    num_train: int,
    num_validation: int,
    num_test: int,
    split_seed: int,
    image_size: int,
    num_classes: int,
    delivery: str,
    num_folds: int = 0,
    fold: int = 0,
) -> Dataset:
    """Reads a data set; the arguments are the keys of config section `data`.

    Args:
      name: a key of `SOURCES`, or 'tfds:<name>' for any other prepared TFDS set.
      data_dir: folder with prepared sets or images; '' for embedded sources.
      num_train: training images; 0 = all that are left.
      num_validation: images held out of the training pool; 0 = none, or all of the
        source's own validation split where it has one.
      num_test: test images; 0 = the whole test split, or `TEST_SHARE` of a source that
        has none.
      split_seed: seed of the choice, 0 to 2**32 - 1. Test images are chosen first, then
        validation, then training images: asking for fewer of one does not change those
        before it, and fewer training images are a subset of more.
      image_size: side in pixels after centre crop and resize; 0 = as stored.
      num_classes: classes of the synthetic source; 0 = what the source has.
      delivery: 'resident' reads and decodes all images now, 'streaming' none; 'auto'
        is 'resident' up to `RESIDENT_BYTES`. Either way gives the same images.
      num_folds: folds of cross-validation; 0 = none. The training pool of the source is
        divided, stratified where labels are known, and its own test split stays unread.
      fold: 0 to num_folds - 1; the fold that is the test split, in place of `num_test`.

    Returns:
      The data set.

    Raises:
      UserError: an unknown name, a size that the source cannot give, data that is
        missing or broken.
    """
    request = Request(
        name,
        data_dir,
        num_train,
        num_validation,
        num_test,
        split_seed,
        image_size,
        num_classes,
        num_folds,
        fold,
    )
    _check(request)
    if delivery not in DELIVERIES:
        raise unknown_name("delivery", delivery, DELIVERIES, "config.data.delivery")
    source = _opener(name)(request)
    if num_classes not in (0, len(source.class_names)):
        raise UserError(
            f"config.data.num_classes={num_classes}, but {name} has "
            f"{len(source.class_names)} classes: set it to 0"
        )
    chosen = choose(source.pools, request)
    if delivery == "auto":
        num_images = sum(len(indices) for _, indices in chosen.values())
        fits = num_images * math.prod(source.image_shape) <= RESIDENT_BYTES
        delivery = "resident" if fits else "streaming"
    if delivery == "resident":
        splits = _read_splits(source, chosen, image_size)
        mark = fingerprint(splits.values())
    else:
        splits = {
            split: StreamedSplit(split, source.read, *of_split, source.image_shape)
            for split, of_split in chosen.items()
        }
        mark = streamed_fingerprint(source, request, chosen)
    return Dataset(
        name=name,
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        class_names=source.class_names,
        fingerprint=mark,
        note=source.note,
    )


def choose(pools: dict[str, Pool], request: Request) -> Chosen:
    """Which images of which pool make up each split.

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
    for split, num in want.items():
        pool = split if split in pools else "train"
        left = pools[pool].size - used[pool]
        if num == 0:
            carved = {"test": round(TEST_SHARE * left), "validation": 0}
            num = left if pool == split else carved[split]
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
    if pool.labels is None:
        return order
    labels = pool.labels[order]
    place = np.empty(pool.size)
    for label in np.unique(labels):
        (rows,) = np.nonzero(labels == label)
        place[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    return order[np.argsort(place, kind="stable")]


def fingerprint(splits: Iterable[Split]) -> str:
    """16 hex digits of the SHA-256 over shape, images and labels of the splits."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(repr(split.images.shape).encode())
        digest.update(np.ascontiguousarray(split.images))
        digest.update(np.ascontiguousarray(split.labels, "<i4"))
    return digest.hexdigest()[:16]


def streamed_fingerprint(source: Source, request: Request, chosen: Chosen) -> str:
    """16 hex digits of a SHA-256 that tell a set from others without decoding it.

    Covers the names below the set's folder and the sizes of its files, the content of
    its own metadata (files *.json), how images are cropped, the names of the classes,
    and which images make up each split. So it does not see a file that was changed to
    another of equal size, and it is not the fingerprint that the same images have in
    memory.
    """
    digest = hashlib.sha256()
    if source.root is None:  # images that follow from these alone
        digest.update(repr((request.name, request.split_seed)).encode())
    what = ("streamed", source.class_names, source.image_shape, request.image_size)
    digest.update(repr(what).encode())
    for file in sorted(source.files()):
        name = file.relative_to(source.root).as_posix()
        digest.update(f"{name} {file.stat().st_size}\n".encode())
        if file.suffix == ".json":
            digest.update(file.read_bytes())
    for split in ("train", "validation", "test"):
        pool, indices = chosen[split]
        digest.update(f"{split} {pool} {len(indices)}\n".encode())
        digest.update(indices.astype("<i8"))
    return digest.hexdigest()[:16]


def _read_splits(source: Source, chosen: Chosen, image_size: int) -> dict[str, Split]:
    """Reads all splits, which must look like the training images; some may be empty."""
    splits = {"train": Split(*_read_once(source, *chosen["train"], image_size))}
    shape = splits["train"].image_shape
    for split in ("validation", "test"):
        pool, indices = chosen[split]
        if len(indices) == 0:
            images, labels = np.empty((0, *shape), np.uint8), np.empty(0, np.int32)
        else:
            images, labels = _read_once(source, pool, indices, image_size)
            require_shape(images, shape, split)
        splits[split] = Split(images, labels)
    return splits


def _read_once(
    source: Source, pool: str, indices: np.ndarray, image_size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Reads images, or finds them on disk where decoding them takes time."""

    def decode() -> tuple[np.ndarray, np.ndarray]:
        return source.read(pool, indices)

    if source.root is None:
        return decode()
    chosen = hashlib.sha256(indices.astype("<i8")).hexdigest()
    return decoded_once(source.files(), (pool, chosen, image_size), decode)


def _opener(name: str) -> Callable[[Request], Source]:
    if name.startswith(tfds.PREFIX):
        return tfds.open_source
    if name not in SOURCES:
        allowed = [*SOURCES, f"{tfds.PREFIX}<name>"]
        raise unknown_name("data set", name, allowed, "config.data.name")
    return SOURCES[name]


def _check(request: Request) -> None:
    counts = ("num_train", "num_validation", "num_test", "image_size", "num_classes")
    for key in (*counts, "split_seed"):
        value = getattr(request, key)
        if value < 0:
            raise UserError(f"config.data.{key}={value} is negative: give 0 or more")
    if request.image_size > MOST_PIXELS:
        raise UserError(
            f"config.data.image_size={request.image_size} is too large: give 0 to "
            f"{MOST_PIXELS} pixels"
        )
    k, fold = request.num_folds, request.fold
    if k < 0 or k == 1 or not 0 <= fold < max(k, 1):
        raise UserError(
            f"config.data.num_folds={k} and config.data.fold={fold} do not fit: give 2 "
            "folds or more, or 0 for none, and a fold from 0 to num_folds - 1"
        )
    if request.split_seed > MAX_SEED:
        raise UserError(
            f"config.data.split_seed={request.split_seed} is too large: "
            f"give 0 to {MAX_SEED}"
        )


def _spent(chosen: dict[str, tuple[str, np.ndarray]], pool: str) -> str:
    spent = [f"{split} takes {len(i)}" for split, (p, i) in chosen.items() if p == pool]
    return ", ".join(spent) or "nothing else takes any"
