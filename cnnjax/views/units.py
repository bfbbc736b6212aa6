"""What a unit answers to: its strongest patches of a data set, and their classes."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn

from cnnjax.analysis.features import features
from cnnjax.analysis.places import Place
from cnnjax.devices.parallel import compile_program


@dataclasses.dataclass(frozen=True)
class Strongest:
    """The images that excite each unit of a layer most, one position of each image.

    Attributes:
      place: of the layer.
      values: float32 [units, k], largest first.
      images: int [units, k], number of the image in the set.
      positions: int [units, k, 2], row and column in the layer's map.
      seen: images that were looked at.
    """

    place: Place
    values: np.ndarray
    images: np.ndarray
    positions: np.ndarray
    seen: int


def peaks(
    network: nn.Module, variables: Any, images: jax.Array, layers: Sequence[str]
) -> dict[str, tuple[jax.Array, jax.Array]]:
    """The largest output of each unit in each image, and where it is.

    Args:
      network: a net of `create_model`.
      variables: {'params': ..., other collections}.
      images: float [N, H, W, C].
      layers: paths of modules that give maps [N, h, w, units] or vectors [N, units].

    Returns:
      Path -> (values [N, units], positions [N, units], row by row); of equal values
      the first.
    """
    found = {}
    for layer, maps in features(network, variables, images, layers).items():
        flat = maps.reshape(len(maps), -1, maps.shape[-1])
        found[layer] = flat.max(axis=1), flat.argmax(axis=1)
    return found


def strongest(
    network: nn.Module,
    variables: Any,
    batches: Iterable[Any],
    places: Sequence[Place],
    k: int,
) -> dict[str, Strongest]:
    """The k images that excite each unit most, in memory that the set does not change.

    Args:
      network: a net of `create_model`.
      variables: {'params': ..., other collections}.
      batches: images float [n, H, W, C], as the net takes them, in their order; at
        least one.
      places: of the layers, from `analysis.places_of`.
      k: how many for each unit; of equal values the earlier image comes first.

    Returns:
      Path of a layer -> its units.
    """
    programs: dict[tuple[int, ...], Callable] = {}
    paths = [place.path for place in places]
    kept: dict[str, _Kept] = {}
    seen = 0
    for batch in batches:
        x = jnp.asarray(batch)
        if x.shape not in programs:
            programs[x.shape] = compile_program(
                lambda v, x: peaks(network, v, x, paths), (variables, x)
            )
        for path, (values, where) in programs[x.shape](variables, x).items():
            numbers = np.broadcast_to(np.arange(seen, seen + len(x)), values.T.shape)
            new = np.asarray(values).T, numbers, np.asarray(where).T
            kept[path] = _best(kept.get(path), new, k)
        seen += len(x)
    found = {}
    for place in places:
        values, numbers, where = kept[place.path]
        columns = place.shape[1] if len(place.shape) == 3 else 1
        positions = np.stack(np.divmod(where, columns), axis=-1)
        found[place.path] = Strongest(place, values, numbers, positions, seen)
    return found


# Values, numbers of images, places in the map: [units, up to k] each.
_Kept = tuple[np.ndarray, np.ndarray, np.ndarray]


def _best(old: _Kept | None, new: _Kept, k: int) -> _Kept:
    """The k largest values of each unit of both; the old ones first where equal."""
    both = (
        new
        if old is None
        else tuple(np.concatenate(pair, axis=1) for pair in zip(old, new, strict=True))
    )
    order = np.argsort(-both[0], axis=1, kind="stable")[:, :k]
    values, numbers, where = (np.take_along_axis(a, order, axis=1) for a in both)
    return values, numbers, where


def patch(image: np.ndarray, place: Place, row: int, column: int) -> np.ndarray:
    """What one position of a layer sees of an image.

    Args:
      image: [H, W, C].
      place: of the layer.
      row: of the position.
      column: of the position.

    Returns:
      float [h, w, C] of the size of the receptive field, but no larger than the image
      on either side of the position; NaN where the field lies outside the image.
    """
    for axis, (low, high) in enumerate(place.window(row, column)):
        size = image.shape[axis]
        if high - low + 1 >= size:  # the whole image, as it lies
            low, high = max(low, 0), min(high, size - 1)
        wanted = np.arange(low, high + 1)
        inside = (wanted >= 0) & (wanted < size)
        taken = np.take(image, np.clip(wanted, 0, size - 1), axis=axis).astype(float)
        shape = [1] * image.ndim
        shape[axis] = len(wanted)
        image = np.where(inside.reshape(shape), taken, np.nan)
    return image


def classes_of(found: Strongest, labels: np.ndarray, num_classes: int) -> np.ndarray:
    """How many of the images of each unit are of each class: int [units, classes]."""
    of_images = labels[found.images]
    return np.stack([np.bincount(row, minlength=num_classes) for row in of_images])
