"""A part of the classes of a data set, as a data set of its own."""

import dataclasses

import numpy as np

from cnnjax.data.sources.source import Pool, Source
from cnnjax.errors import UserError, unknown_name


def only_classes(source: Source, name: str, classes: tuple[str, ...]) -> Source:
    """The source with the images of some classes, labelled in the order given.

    Args:
      source: any.
      name: of the data set, for messages.
      classes: names of the classes that are kept.

    Raises:
      UserError: a name that is no class, or comes twice; fewer than two.
    """
    where = "config.data.classes"
    for wanted in classes:
        if wanted not in source.class_names:
            raise unknown_name(f"class of {name}", wanted, source.class_names, where)
    if len(set(classes)) < max(len(classes), 2):
        raise UserError(
            f"{where} is {classes}: name at least two classes of {name}, each once"
        )
    new = np.full(len(source.class_names), -1, np.int32)
    new[[source.class_names.index(wanted) for wanted in classes]] = range(len(classes))
    kept: dict[str, np.ndarray] = {}
    pools = {}
    for key, pool in source.pools.items():
        if pool.labels is None:
            raise UserError(
                f"{name} has images without labels in {key}: leave {where} empty"
            )
        labels = np.asarray(pool.labels)
        # A label that names no class belongs to none that is kept.
        known = (labels >= 0) & (labels < len(new))
        relabelled = np.where(known, new[np.where(known, labels, 0)], -1)
        kept[key] = np.flatnonzero(relabelled >= 0)
        pools[key] = dataclasses.replace(
            pool, size=len(kept[key]), labels=relabelled[kept[key]].astype(np.int32)
        )

    def read(
        pool: str, indices: np.ndarray, *draws: np.ndarray, **how: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        images, labels = source.read(pool, kept[pool][indices], *draws, **how)
        return images, new[labels]

    return dataclasses.replace(
        source, pools=pools, class_names=tuple(classes), read=read
    )


def only_declared(
    pools: dict[str, int], num_classes: int, classes: tuple[str, ...]
) -> tuple[dict[str, Pool], tuple[str, ...]]:
    """Likewise of a set that is only declared, whose classes have equally many images.

    Args:
      pools: name -> images.
      num_classes: of the set.
      classes: names of those that are kept; () = all.

    Returns:
      The pools, and names of the classes.
    """
    names = classes or tuple(str(label) for label in range(num_classes))
    sizes = {key: size * len(names) // num_classes for key, size in pools.items()}
    return {key: Pool(size) for key, size in sizes.items()}, names
