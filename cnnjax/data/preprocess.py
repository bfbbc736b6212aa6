"""From stored images to what a trained net takes, without the data set."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from cnnjax.data.augment import apply_statistics
from cnnjax.data.cutting.geometry import CENTER, Geometry
from cnnjax.data.images import as_viewed, resize_batch, with_channels
from cnnjax.data.standardize import Sample, Statistics
from cnnjax.errors import UserError

COLOURS = {1: "grey", 3: "RGB"}


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Preprocess:
    """What evaluation does to images: crop, resize, channels, standardisation.

    Args:
      image_shape: (H, W, C) that the net was trained on.
      standardize: a key of `standardize.STANDARDIZE`.
      statistics: those of the training images.
      to_grey: whether colour becomes grey, as with `config.data.channels` 1.
      geometry: what is seen of images of another size.
    """

    image_shape: tuple[int, int, int]
    standardize: str
    statistics: Statistics
    to_grey: bool = False
    geometry: Geometry = CENTER

    def __call__(self, images: Any) -> jax.Array:
        """float32 [N, H, W, C] for `network.apply(variables, ..., train=False)`.

        Images of another size are cut and resized as in evaluation (`config.geometry`);
        grey ones are repeated for a net that takes colour.

        Args:
          images: uint8 [N, H, W, C] or one image [H, W, C], of any size; a Pillow
            image, taken as its file would be; or a list of these.

        Raises:
          UserError: anything else; colour for a net that takes grey; a Pillow image
            that was loaded before, where only its file says which colour is
            transparent.
        """
        many = images if isinstance(images, list | tuple) else [images]
        if not many:
            raise UserError("there is no image in the list: give at least one")
        batches = [self._fit(_pixels(image)) for image in many]
        return apply_statistics(self.statistics, jnp.asarray(np.concatenate(batches)))

    def __repr__(self) -> str:
        return f"<preprocess: {self.words()}>"

    def words(self) -> str:
        """A description for users of other libraries."""
        height, width, channels = self.image_shape
        colour = COLOURS.get(channels, f"{channels} channels")
        if self.to_grey:
            colour = "grey (of colour its luma)"
        size = f"{height}x{width}"
        if height == width:
            size = self._cut(size)
        return f"{colour}, {size}, divided by 255, {self._standardized()}"

    def record(self) -> dict[str, Any]:
        """As JSON; exact, because a double holds every float32.

        'mean' and 'std' are on the scale where white is 1: a number for all, one a
        channel, or [H][W][C].
        """
        height, width, channels = self.image_shape
        sample = self.statistics.sample
        return {
            "height": height,
            "width": width,
            "channels": channels,
            "standardize": self.standardize,
            "mean": _listed(self.statistics.mean),
            "std": _listed(self.statistics.std),
            "per_image": self.statistics.per_image,
            "to_grey": self.to_grey,
            "geometry": {
                "evaluation": self.geometry.evaluation,
                "fraction": self.geometry.fraction,
                "interpolation": self.geometry.interpolation,
            },
            "words": self.words(),
            **({"sample": sample.record()} if sample else {}),
        }

    @classmethod
    def of_record(cls, record: dict[str, Any]) -> "Preprocess":
        """The inverse of `record`."""
        mean, std = (_array(record[key]) for key in ("mean", "std"))
        sample = record.get("sample")
        if sample:
            errors = {key: tuple(sample[key]) for key in ("mean_error", "std_error")}
            sample = Sample(**(sample | errors))
        return cls(
            (record["height"], record["width"], record["channels"]),
            record["standardize"],
            Statistics(mean, std, record["per_image"], sample),
            record["to_grey"],
            # Older ones saw the centred square.
            Geometry(**record.get("geometry", {})),
        )

    def _cut(self, size: str) -> str:
        if self.geometry.evaluation == "center":
            return f"centred square resized to {size} (bilinear, antialiased)"
        side = self.geometry.larger(self.image_shape[0])
        how = f"({self.geometry.interpolation}, antialiased)"
        return f"shorter side resized to {side} {how}, {size} in the middle"

    def _standardized(self) -> str:
        if self.statistics.per_image:
            return "each image minus its own mean, divided by its own std"
        mean, std = (
            np.ravel(array) for array in (self.statistics.mean, self.statistics.std)
        )
        if self.standardize == "none":
            return "nothing else"
        if len(mean) > self.image_shape[-1]:
            return "minus the mean image of the training set, no division"
        return f"minus mean {_shown(mean)}, divided by std {_shown(std)}"

    def _fit(self, images: np.ndarray) -> np.ndarray:
        """uint8 [n, any height, any width, any channels] in the shape of the net."""
        height, width, channels = self.image_shape
        if (images.shape[3], channels) == (1, 3) or (
            self.to_grey and images.shape[3] == 3
        ):
            images = with_channels(images, channels)
        if images.shape[3] != channels:
            raise UserError(
                f"the images have {images.shape[3]} channels and the net was trained "
                f"on {channels}: convert them (Pillow: image.convert"
                f"('{'L' if channels == 1 else 'RGB'}'))"
            )
        if images.shape[1:3] == (height, width):
            return images
        if height != width:
            raise UserError(
                f"the images are {images.shape[1]}x{images.shape[2]} and the net was "
                f"trained on {height}x{width}, which is no square: resize them to that"
            )
        return resize_batch(images, height, self.geometry)


def _pixels(image: Any) -> np.ndarray:
    """uint8 [n, H, W, C] of what a user may have."""
    if isinstance(image, Image.Image):
        image = np.asarray(as_viewed("the image", image))
        image = image if image.ndim == 3 else image[:, :, None]
    pixels = np.asarray(image)
    if pixels.dtype != np.uint8 or pixels.ndim not in (3, 4) or 0 in pixels.shape:
        raise UserError(
            f"an array {pixels.dtype}{list(pixels.shape)} was given: images are uint8 "
            "[N, H, W, C] or [H, W, C], as they are stored"
        )
    return pixels if pixels.ndim == 4 else pixels[None]


def _listed(array: Any) -> Any:
    """[1, 1, 1, C] as [C], [1, H, W, C] as [H][W][C], a scalar as a number."""
    array = np.asarray(array)
    if array.ndim:
        array = array.reshape(-1) if array.shape[1:3] == (1, 1) else array[0]
    return array.tolist()


def _array(listed: Any) -> np.ndarray | np.float32:
    """float32, with the axes of a batch."""
    array = np.asarray(listed, np.float32)
    if array.ndim == 0:
        return np.float32(array)
    return array.reshape((1,) * (4 - array.ndim) + array.shape)


def _shown(values: np.ndarray) -> str:
    return f"({', '.join(f'{value:.4f}' for value in values)})"
