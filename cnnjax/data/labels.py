"""Checks labels before training, and plants wrong ones where that is wanted."""

import dataclasses
from typing import Any

import numpy as np

from cnnjax.data.sources.source import Pool, Source
from cnnjax.errors import UserError

UNLABELLED = -1  # what TFDS writes where the label is a secret


def checked_pools(
    name: str, pools: dict[str, Pool], num_classes: int
) -> tuple[dict[str, Pool], list[str]]:
    """The pools whose labels all name a class.

    Args:
      name: of the set.
      pools: of a source.
      num_classes: labels are 0 to num_classes - 1.

    Returns:
      (pools without those that have no labels, a sentence on each of those); labels
      are int32.

    Raises:
      UserError: a label that names no class, with its value and place; training images
        without labels.
    """
    kept, sentences = {}, []
    for pool, content in pools.items():
        labels: Any = content.labels  # not None, in a source
        wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
        if len(wrong) == 0:
            labels = labels.astype(np.int32)
            kept[pool] = Pool(content.size, labels, content.stratified)
        elif pool != "train" and (labels == UNLABELLED).all():
            sentences.append(
                f"the {pool} split of {name} has no labels (all {len(labels):,} are "
                f"{UNLABELLED}) and counts as absent"
            )
        else:
            first = int(wrong[0])
            others = f", as {len(wrong) - 1:,} others" if len(wrong) > 1 else ""
            raise UserError(
                f"image {first} of the {pool} split of {name} (counted from 0) has "
                f"the label {labels[first]}{others}, but its {num_classes} classes are "
                f"0 to {num_classes - 1}: correct the set, or choose another "
                "config.data.name"
            )
    return kept, sentences


def planted(labels: np.ndarray, classes: int, share: float, seed: int) -> np.ndarray:
    """The labels of a training pool with a share of them wrong.

    An image has the same wrong label in whatever split or fold it trains.

    Args:
      labels: int32 [N], each names a class.
      classes: number of them.
      share: of the pool, [0, 1); rounded to whole images.
      seed: which images, and which of the other classes each gets, alike for all.
    """
    # RandomState's stream is frozen for good; that of Generator is not.
    stream = np.random.RandomState([seed, 1])
    wrong = stream.permutation(len(labels))[: round(share * len(labels))]
    noisy = labels.copy()
    if classes > 1 and len(wrong):
        shift = stream.randint(1, classes, len(wrong))
        noisy[wrong] = (labels[wrong] + shift) % classes
    return noisy


def with_noise(source: Source, share: float, seed: int, train: np.ndarray) -> Source:
    """The source with wrong labels in its training split; all others stay.

    Args:
      source: with labels that name a class.
      share: of the training pool, as of `planted`.
      seed: as of `planted`.
      train: which images of that pool train.
    """
    pool = source.pools["train"]
    own: Any = pool.labels
    noisy = own.copy()
    noisy[train] = planted(own, len(source.class_names), share, seed)[train]
    if not (wrong := int((noisy != own).sum())):
        return source

    def read(
        name: str, *chosen: np.ndarray, **how: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        images, labels = source.read(name, *chosen, **how)
        return images, noisy[chosen[0]] if name == "train" else labels

    pools = source.pools | {"train": dataclasses.replace(pool, labels=noisy)}
    sentence = f"{wrong:,} training labels are wrong on purpose (label_noise)"
    note = "; ".join(text for text in (source.note, sentence) if text)
    remarks = (*source.remarks, sentence)
    return dataclasses.replace(
        source, pools=pools, read=read, note=note, remarks=remarks
    )
