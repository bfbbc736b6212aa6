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


def with_noise(source: Source, share: float, seed: int) -> Source:
    """The source with wrong labels in its training pool; the others stay.

    Args:
      source: with labels that name a class.
      share: of the training pool, [0, 1); rounded to whole images.
      seed: which images, and which of the other classes each gets, alike for all.
    """
    pool, classes = source.pools["train"], len(source.class_names)
    labels: Any = pool.labels
    # RandomState's stream is frozen for good; that of Generator is not.
    stream = np.random.RandomState([seed, 1])
    wrong = stream.permutation(pool.size)[: round(share * pool.size)]
    if classes < 2 or not len(wrong):
        return source
    noisy = labels.copy()
    noisy[wrong] = (labels[wrong] + stream.randint(1, classes, len(wrong))) % classes

    def read(name: str, indices: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        images, own = source.read(name, indices)
        return images, noisy[indices] if name == "train" else own

    pools = source.pools | {"train": dataclasses.replace(pool, labels=noisy)}
    sentence = f"{len(wrong):,} training labels are wrong on purpose (label_noise)"
    note = "; ".join(text for text in (source.note, sentence) if text)
    remarks = (*source.remarks, sentence)
    return dataclasses.replace(
        source, pools=pools, read=read, note=note, remarks=remarks
    )
