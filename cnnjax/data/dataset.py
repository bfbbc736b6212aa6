"""Data sets: which images train, which choose, which judge.

Validation is for choosing (learning rate, stopping, checkpoints) and comes out of the
training pool of the source; the test split is never chosen on. All images are held in
memory as uint8.
"""

import dataclasses
import hashlib
from collections.abc import Callable, Iterable

import numpy as np

from cnnjax.data import digits, folder, synthetic, tfds
from cnnjax.data.source import Pool, Request, Source
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
MAX_SEED = 2**32 - 1


@dataclasses.dataclass(frozen=True)
class Split:
    """Images uint8 [N, H, W, C] and labels int32 [N], in the order of the source."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Everything that training and evaluation know about the data.

    Args:
      name: name of the source.
      train: for gradients and for the statistics of the standardisation.
      validation: for choosing; may be empty.
      test: for the reported figure only.
      class_names: one per label.
      fingerprint: 16 hex digits of a SHA-256 over all images and labels.
      note: caveats to print beside results; may be empty.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    class_names: tuple[str, ...]
    fingerprint: str
    note: str

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self.train.images.shape[1:]


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
    )
    _check(request)
    source = _opener(name)(request)
    if num_classes not in (0, len(source.class_names)):
        raise UserError(
            f"config.data.num_classes={num_classes}, but {name} has "
            f"{len(source.class_names)} classes: set it to 0"
        )
    chosen = choose(source.pools, request)
    train = Split(*source.read(*chosen["train"]))
    validation = _read_like(train, source, "validation", *chosen["validation"])
    test = _read_like(train, source, "test", *chosen["test"])
    return Dataset(
        name=name,
        train=train,
        validation=validation,
        test=test,
        class_names=source.class_names,
        fingerprint=fingerprint((train, validation, test)),
        note=source.note,
    )


def choose(
    pools: dict[str, Pool], request: Request
) -> dict[str, tuple[str, np.ndarray]]:
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


def _read_like(
    train: Split, source: Source, split: str, pool: str, indices: np.ndarray
) -> Split:
    """Reads a split that must look like the training images; it may be empty."""
    if len(indices) == 0:
        return Split(train.images[:0], train.labels[:0])
    images, labels = source.read(pool, indices)
    if images.shape[1:] != train.images.shape[1:]:
        raise UserError(
            f"training images are {train.images.shape[1:]}, {split} images are "
            f"{images.shape[1:]} (height, width, channels): set config.data.image_size "
            "to crop and resize all"
        )
    return Split(images, labels)


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
    if request.split_seed > MAX_SEED:
        raise UserError(
            f"config.data.split_seed={request.split_seed} is too large: "
            f"give 0 to {MAX_SEED}"
        )


def _spent(chosen: dict[str, tuple[str, np.ndarray]], pool: str) -> str:
    spent = [f"{split} takes {len(i)}" for split, (p, i) in chosen.items() if p == pool]
    return ", ".join(spent) or "nothing else takes any"
