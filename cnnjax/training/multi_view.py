"""Several views of each image in evaluation: mirror images, crops and scales.

A net sees every view, and the mean of what it says counts. Views are cut out of images
that are standardised already; of photographs, reading cuts them (section `geometry`).

Source: Krizhevsky et al. 2012, section 4.1 (ten crops: corners, centre, mirrored);
Simonyan & Zisserman 2014, arXiv 1409.1556, section 3.2 (whole images of several
scales through a net that takes any size).
"""

import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import meta

from cnnjax.data.cutting.boxes import five_corners
from cnnjax.errors import UserError, in_range, unknown_name
from cnnjax.net.forward import forward_eval

CROPS = ("whole", "centre", "five")
# A typing error beyond these would take all memory.
MOST_PIXELS, MOST_SCALE = 2**14, 16


@dataclasses.dataclass(frozen=True)
class Views:
    """What a net sees of an image.

    Args:
      flip: each view and its mirror image.
      crops: 'whole', 'centre', or 'five' (corners and centre).
      crop_size: side of crops in pixels; 0 for the size of the images.
      scales: factors of the size of images, to which they are resized one after
        another; () for images as they are.
      read: what reading has cut out of each image, in words; '' where the net is given
        whole images, which are cut here.

    Raises:
      UserError: a value out of range.
    """

    flip: bool = False
    crops: str = "whole"
    crop_size: int = 0
    scales: tuple[float, ...] = ()
    read: str = ""

    def __post_init__(self):
        if self.crops not in CROPS:
            raise unknown_name("crops", self.crops, CROPS, "config.eval.crops")
        in_range("eval.crop_size", self.crop_size, 0, MOST_PIXELS, "pixels")
        for scale in self.scales:
            in_range("eval.scales", scale, 1 / MOST_SCALE, MOST_SCALE)
        if self.crop_size and self.crops == "whole":
            raise UserError(
                f"config.eval.crop_size is {self.crop_size} and config.eval.crops is "
                "'whole': give 'centre' or 'five', or a size of 0"
            )

    @property
    def is_plain(self) -> bool:
        """Whether a net sees each image once, as it is."""
        return self == Views()

    @property
    def words(self) -> str:
        """Such as 'five crops, scaled by 1.125, mirrored'; '' where plain."""
        crops = "" if self.crops == "whole" else f"{self.crops} crops"
        crops += f" of {self.crop_size} pixels" if self.crop_size else ""
        factors = ", ".join(f"{scale:g}" for scale in self.scales)
        scales = f"scaled by {factors}" if factors else ""
        parts = (self.read, crops, scales, "mirrored" if self.flip else "")
        return ", ".join(part for part in parts if part)

    def check(
        self, model: nn.Module, variables: Any, image_shape: tuple[int, int, int]
    ) -> None:
        """Compiles nothing.

        Args:
          model: the net.
          variables: shapes of all its collections.
          image_shape: (H, W, C) of the images that it was built for.

        Raises:
          UserError: a crop is larger than an image, or all crops are the same, or the
            net does not take images of such a size.
        """
        height, width, _ = image_shape
        if self.read:
            return
        for scale in self.scales or (1.0,):
            of = _scaled_size(height, width, scale)
            crop = self._crop(height, width)
            if self.crops == "whole":
                continue
            if crop[0] > of[0] or crop[1] > of[1]:
                raise UserError(
                    f"crops of {_by(crop)} pixels do not fit images of {_by(of)}: "
                    "lower config.eval.crop_size or raise config.eval.scales"
                )
            if crop == of and self.crops == "five":
                raise UserError(
                    f"five crops of {_by(crop)} pixels are all the whole image: lower "
                    "config.eval.crop_size or raise config.eval.scales"
                )
        state = dict(meta.unbox(variables))
        params = state.pop("params")
        image = jax.ShapeDtypeStruct((1, *image_shape), jnp.float32)
        for shape in {view.shape for view in jax.eval_shape(self._views_of, image)}:
            if shape[2:4] != (height, width):
                _require_size(model, params, state, shape)

    def logits(
        self,
        forward: Callable[[jax.Array], jax.Array],
        images: jax.Array,
        probabilities: bool = True,
    ) -> jax.Array:
        """What a net says of images, all views together: [N, classes].

        Args:
          forward: float [N, h, w, C] -> logits [N, classes].
          images: [N, H, W, C]; with `read`, the views [N, V, H, W, C].
          probabilities: whether those of a softmax are averaged, and their logarithm is
            the result; otherwise logits are averaged.
        """
        if self.is_plain:
            return forward(images)
        # One body for all views of a size: it is compiled once.
        rows = [jax.lax.map(forward, views) for views in self._views_of(images)]
        logits = jnp.concatenate(rows)
        if not probabilities:
            return logits.mean(0)
        # Not the logarithm of a mean, which may be 0.
        logs = jax.nn.log_softmax(logits)
        return jax.nn.logsumexp(logs, axis=0) - jnp.log(logits.shape[0])

    def _views_of(self, images: jax.Array) -> list[jax.Array]:
        """Views of equal size together: [V, N, h, w, C] each."""
        if self.read:
            read = jnp.moveaxis(images, 1, 0)
            mirrored = [jnp.flip(read, axis=3)] if self.flip else []
            return [jnp.concatenate([read, *mirrored])]
        height, width = images.shape[1:3]
        groups = []
        for scale in self.scales or (1.0,):
            of = _scaled_size(height, width, scale)
            views = list(self._cut(resized(images, of), self._crop(height, width)))
            if self.flip:
                views += [jnp.flip(view, axis=2) for view in views]
            groups.append(jnp.stack(views))
        return groups

    def _cut(self, images: jax.Array, crop: tuple[int, int]) -> Iterator[jax.Array]:
        if self.crops == "whole":
            yield images
            return
        corners = five_corners(images.shape[1] - crop[0], images.shape[2] - crop[1])
        for top, left in corners if self.crops == "five" else corners[-1:]:
            yield images[:, top : top + crop[0], left : left + crop[1]]

    def _crop(self, height: int, width: int) -> tuple[int, int]:
        return (self.crop_size, self.crop_size) if self.crop_size else (height, width)


PLAIN = Views()


def resized(images: jax.Array, size: tuple[int, int]) -> jax.Array:
    """Images [N, H, W, C] at another size: bilinear, with a wider filter downwards."""
    if images.shape[1:3] == size:
        return images
    shape = (images.shape[0], *size, images.shape[3])
    return jax.image.resize(images, shape, "linear")


def _scaled_size(height: int, width: int, factor: float) -> tuple[int, int]:
    return max(1, round(height * factor)), max(1, round(width * factor))


def _require_size(model: nn.Module, params: Any, state: Any, shape: tuple) -> None:
    """Refuses views [V, N, h, w, C] that the net does not take."""
    image = jax.ShapeDtypeStruct(shape[1:], jnp.float32)
    forward = functools.partial(forward_eval, model)
    try:
        jax.eval_shape(forward, params, state, image)
    except Exception as error:  # of Flax or JAX: it tells of shapes deep in the net
        raise UserError(
            f"config.eval.scales, or crop_size, gives views of {_by(shape[2:4])} "
            f"pixels, and {type(model).__name__} takes images of the size it was built "
            "for alone: take crops of that size (config.eval.crops, crop_size=0)"
        ) from error


def _by(size: tuple[int, ...]) -> str:
    return " x ".join(map(str, size))
