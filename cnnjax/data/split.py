"""Splits: which images each has, and its images in memory or read when needed."""

import dataclasses
from typing import ClassVar, Literal

import numpy as np

from cnnjax.data.request import Request
from cnnjax.data.sources.source import Chosen, Pool, Read
from cnnjax.errors import UserError

# Share of the only pool of a source that becomes the test split when `num_test` is 0.
TEST_SHARE = 0.2


class Unreadable(UserError):
    """A streamed image is broken, or not what it was at the start."""


@dataclasses.dataclass(frozen=True, repr=False)
class Split:
    """Images uint8 [N, H, W, C] and labels int32 [N], in the order of the source."""

    streamed: ClassVar[Literal[False]] = False
    drawn: ClassVar[Literal[False]] = False
    num_views: ClassVar[int] = 1
    images: np.ndarray
    labels: np.ndarray

    def __repr__(self) -> str:
        return _described("in memory", len(self), self.image_shape)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(H, W, C)."""
        return self.images.shape[1:]

    def read(
        self, indices: np.ndarray, *draws: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """(images uint8 [n, H, W, C], labels int32 [n]) at some indices."""
        return self.images[indices], self.labels[indices]


@dataclasses.dataclass(frozen=True, repr=False)
class StreamedSplit:
    """A split that decodes its images each time they are read.

    Args:
      name: 'train', 'validation' or 'test', for messages.
      source_read: `Source.read`.
      pool: of the source.
      indices: which images of the pool, in rising order.
      image_shape: (H, W, C) that all of them must have.
      from_files: whether an image may be broken; those of embedded sources are not.
      stamp: what the system says of the files, for the keys of what is kept of them:
        the fingerprint does not see other pixels in a file of equal size.
      drawn: whether training sees another part of an image each time.
      num_views: of an image in the last evaluation.
      sample: positions of those whose statistics standardise all; None for all.
    """

    streamed: ClassVar[Literal[True]] = True
    name: str
    source_read: Read
    pool: str
    indices: np.ndarray
    image_shape: tuple[int, int, int]
    from_files: bool = True
    stamp: str = ""
    drawn: bool = False
    num_views: int = 1
    sample: np.ndarray | None = None

    def __repr__(self) -> str:
        return _described("read as needed", len(self), self.image_shape)

    def __len__(self) -> int:
        return len(self.indices)

    def sampled(self) -> "StreamedSplit":
        """The images of the sample."""
        return dataclasses.replace(self, indices=self.indices[self.sample], sample=None)

    def read(
        self, indices: np.ndarray, *draws: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """As `Split.read`; several threads may read at once.

        Args:
          indices: of examples, as an evaluation sees them.
          draws: of `geometry.draw`, for these examples as training sees them.

        Raises:
          Unreadable: a broken image, or one of another shape than the first.
        """
        return self._read(indices, self.image_shape, *draws)

    def read_views(self, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """As `read`, of all views of the last evaluation: [n, V, H, W, C]."""
        height, *rest = self.image_shape
        strips = (self.num_views * height, *rest)
        images, labels = self._read(indices, strips, views=True)
        return images.reshape(-1, self.num_views, *self.image_shape), labels

    def _read(
        self, indices: np.ndarray, shape: tuple, *draws: np.ndarray, **how: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        if len(indices) == 0:
            return np.empty((0, *shape), np.uint8), np.empty(0, np.int32)
        try:
            chosen = self.indices[indices]
            images, labels = self.source_read(self.pool, chosen, *draws, **how)
            require_shape(images, shape, self.name)
        except UserError as error:
            raise Unreadable(str(error)) from error
        return images, labels


def _described(where: str, count: int, image_shape: tuple[int, ...]) -> str:
    return f"<split: {count:,} images {'x'.join(map(str, image_shape))}, {where}>"


def require_shape(images: np.ndarray, shape: tuple[int, int, int], split: str) -> None:
    """Raises a UserError unless images [n, H, W, C] have the shape (H, W, C)."""
    if images.shape[1:] != shape:
        raise UserError(
            f"the first training image is {shape}, some {split} images are "
            f"{images.shape[1:]} (height, width, channels): set config.data.image_size "
            "to crop and resize all"
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
    if request.holds_out:
        pools = {name: pool for name, pool in pools.items() if name != "test"}
        size, k = pools["train"].size, request.num_folds
        start, stop = (i * size // k for i in (request.fold, request.fold + 1))
        # The images of the fold come first, where those of the test split are taken.
        order["train"] = np.roll(order["train"], -start)
        want["test"] = stop - start
    if request.num_folds and not request.holds_out:
        want |= {"test": 0 if "test" in pools else -1, "validation": -1}
    used = dict.fromkeys(pools, 0)
    chosen: Chosen = {}
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
    if request.exclude:
        chosen["train"] = ("train", _kept(chosen["train"][1], pools["train"], request))
    return chosen


def left_in(chosen: Chosen, request: Request) -> list[str]:
    """A sentence on images of `Request.exclude` that validate or test."""
    found = [
        f"{num:,} of the {split} split"
        for split in ("validation", "test")
        if chosen[split][0] == "train"
        and (num := np.isin(chosen[split][1], request.exclude).sum())
    ]
    if not found:
        return []
    return [f"config.data.exclude has {' and '.join(found)}, which stay there"]


def _kept(indices: np.ndarray, pool: Pool, request: Request) -> np.ndarray:
    """The training images without those of `Request.exclude`."""
    if max(request.exclude) >= pool.size:
        raise UserError(
            f"config.data.exclude has {max(request.exclude)}, but the training pool of "
            f"{request.name} has the images 0 to {pool.size - 1}: give a list that was "
            "made for these images"
        )
    kept = np.setdiff1d(indices, request.exclude)
    if not len(kept):
        raise UserError(
            f"config.data.exclude leaves none of the {len(indices)} training images: "
            "give fewer"
        )
    return kept


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
    # One sort, however many classes there are.
    by_class = np.argsort(labels, kind="stable")
    _, starts, counts = np.unique(
        labels[by_class], return_index=True, return_counts=True
    )
    for start, count in zip(starts, counts, strict=True):
        place[by_class[start : start + count]] = (np.arange(count) + 0.5) / count
    return order[np.argsort(place, kind="stable")]


def _spent(chosen: dict[str, tuple[str, np.ndarray]], pool: str) -> str:
    spent = [f"{split} takes {len(i)}" for split, (p, i) in chosen.items() if p == pool]
    return ", ".join(spent) or "nothing else takes any"
