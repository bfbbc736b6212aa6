"""What the stages of a net make of an image, and which layers stand for them."""

import dataclasses
from typing import Any

import jax
import numpy as np
from flax import linen as nn

from cnnjax.analysis.features import features
from cnnjax.analysis.places import Place, places_of
from cnnjax.net.observe import Call
from cnnjax.views.passes import DoesNotApply, logits_of

FEWEST = 3  # stages that are shown, where the net has as many maps


@dataclasses.dataclass(frozen=True)
class Stage:
    """What one layer makes of images.

    Attributes:
      place: which layer, with its size and its receptive field.
      maps: float32 [N, h, w, channels].
    """

    place: Place
    maps: np.ndarray


def stages_of(network: nn.Module, image_shape: tuple[int, ...]) -> list[Place]:
    """The last map of each size among the direct children of a net, in order.

    Where there are few sizes, further maps between them stand for stages as well.

    Raises:
      DoesNotApply: no child gives a map.
    """
    places = places_of(network, image_shape).values()
    maps = [p for p in places if p.is_map and p.path and "/" not in p.path]
    if not maps:
        raise DoesNotApply(
            "this net has no maps: its layers give one vector for the whole image"
        )
    last = {place.shape[:2]: index for index, place in enumerate(maps)}
    kept = set(last.values())
    if len(kept) < FEWEST:
        spread = np.linspace(0, len(maps) - 1, min(FEWEST, len(maps)))
        kept |= set(spread.round().astype(int).tolist())
    return [maps[index] for index in sorted(kept)]


def feature_maps(
    network: nn.Module, variables: Any, images: jax.Array, names: list[str]
) -> dict[str, jax.Array]:
    """The outputs of some layers; see `analysis.features`. Pure, for one program."""
    return features(network, variables, images, names)


def strongest_channels(maps: np.ndarray, count: int) -> np.ndarray:
    """The channels [count] of a map [h, w, channels] that vary most over positions."""
    spread = maps.std(axis=(0, 1))
    return np.argsort(-spread, kind="stable")[:count]


def penultimate_of(network: nn.Module, variables: Any, images: jax.Array) -> jax.Array:
    """What the last layer with weights takes, averaged over positions: [N, features].

    Args:
      network: a net of `create_model`.
      variables: {'params': ..., other collections}.
      images: float [N, H, W, C].
    """
    inputs: list[jax.Array] = []

    def around(call: Call):
        output = call.run()
        kernel: Any = call.module.variables.get("params", {}).get("kernel")
        if getattr(kernel, "ndim", 0) in (2, 4):
            inputs.append(call.args[0])
        return output

    logits_of(network, variables, images, around)
    last = inputs[-1]
    if last.ndim == 4:
        return last.mean(axis=(1, 2))
    return last.reshape(len(last), -1)
