"""Geometry of photographs: which part of one is seen, and at what size.

It belongs to reading, because it draws from the whole photograph, of whatever size;
`cutting/cuts.py` does it. A draw is a function of key, epoch and example and of nothing
else: the same on any number of threads, processes and hosts, and after a resume.
"""

import dataclasses
import math

import numpy as np
from PIL import Image

from cnnjax.errors import UserError, unknown_name

TRAIN = ("center", "resize_crop", "scale_crop", "random_resized_crop")
EVALUATION = ("center", "resize_crop", "ten_crop", "multi_scale")
INTERPOLATIONS = {
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
# Crops of 'multi_scale' along each side.
GRID = 5
# Numbers a draw has: ten sizes of two, a place of two, a side.
DRAWS = 2 * 10 + 2 + 1
# Tells these draws from others that have the same key.
_STREAM = 0x67656F6D


@dataclasses.dataclass(frozen=True, kw_only=True)
class Geometry:
    """Section `geometry` of a config; `size` is `config.data.image_size`.

    Args:
      train: 'center' (the centred square, resized), 'resize_crop' (the shorter side to
        the first of `shorter_side`, a crop of `size` at random; Krizhevsky et al.
        2012), 'scale_crop' (the shorter side drawn from both of `shorter_side`; He et
        al. 2015, Simonyan and Zisserman 2014) or 'random_resized_crop' (a box of a
        drawn share of the area and a drawn aspect, resized to `size`; Szegedy et al.
        2014).
      evaluation: 'center', 'resize_crop' (the shorter side to `size` / `fraction`,
        rounded down, and the middle of it), 'ten_crop' (of the same: corners and
        middle, each mirrored too; Krizhevsky et al. 2012, section 4.1, who cut them
        out of the middle square, while here as in torchvision the corners are those of
        the whole photograph) or 'multi_scale' (at each of `scales` a regular grid of 5
        x 5 crops, each mirrored too; the multi-crop evaluation of Simonyan and
        Zisserman 2014, section 3.2, not the dense one there and in He et al. 2015).
        The last two count at the end of training; before, and for images of a user,
        the middle is seen.
      shorter_side: of a photograph, in pixels.
      area: smallest and largest share of the area.
      aspect: smallest and largest width / height.
      fraction: share of the shorter side that an evaluation sees.
      scales: shorter sides of 'multi_scale', in pixels.
      interpolation: a key of `INTERPOLATIONS`; 'center' is always bilinear.

    Raises:
      UserError: a value out of range.
    """

    train: str = "center"
    evaluation: str = "center"
    shorter_side: tuple[int, int] = (256, 480)
    area: tuple[float, float] = (0.08, 1.0)
    aspect: tuple[float, float] = (3 / 4, 4 / 3)
    fraction: float = 0.875
    scales: tuple[int, ...] = (256, 384, 512)
    interpolation: str = "bilinear"

    def __post_init__(self):
        for key, known in (
            ("train", TRAIN),
            ("evaluation", EVALUATION),
            ("interpolation", tuple(INTERPOLATIONS)),
        ):
            if (value := getattr(self, key)) not in known:
                raise unknown_name("geometry", value, known, f"config.geometry.{key}")
        _check_range("shorter_side", self.shorter_side, 1, 2**14)
        _check_range("area", self.area, 1e-6, 1)
        _check_range("aspect", self.aspect, 1e-3, 1e3)
        if not (self.scales and 1 <= min(self.scales) <= max(self.scales) <= 2**14):
            raise UserError(
                f"config.geometry.scales={tuple(self.scales)} are no shorter sides: "
                f"give one or more, from 1 to {2**14} pixels"
            )
        if not 0.1 <= self.fraction <= 1:
            raise UserError(
                f"config.geometry.fraction={self.fraction} is out of range: give 0.1 "
                "to 1, the share of the shorter side that an evaluation sees"
            )

    @property
    def of_files(self) -> bool:
        """Whether it needs photographs as they are stored."""
        return (self.train, self.evaluation) != ("center", "center")

    @property
    def mark(self) -> str:
        """What it does to an image that is seen once, not drawn; '' for 'center'."""
        if self.evaluation == "center":
            return ""
        return repr(("resize_crop", self.fraction, self.interpolation))

    @property
    def once(self) -> "Geometry":
        """The same for images that are seen once."""
        several = self.num_views > 1
        return dataclasses.replace(self, evaluation="resize_crop") if several else self

    @property
    def num_views(self) -> int:
        """Crops of an image that the last evaluation reads."""
        return {"ten_crop": 10, "multi_scale": GRID**2 * len(self.scales)}.get(
            self.evaluation, 1
        )

    @property
    def mirrors_views(self) -> bool:
        """Whether the net sees each of these mirrored, too: `ten_crop` has both."""
        return self.evaluation == "multi_scale"

    def larger(self, size: int) -> int:
        """Shorter side in pixels of which an evaluation sees `size`.

        Rounded down as by those who publish such numbers, but 224 / (224 / 375), which
        is 374.99999999999994, is 375.
        """
        return math.floor(size / self.fraction + 1e-9)

    def words_of_views(self, size: int) -> str:
        """Such as 'ten crops of 224 pixels at a shorter side of 256'; '' for one."""
        if self.evaluation == "ten_crop":
            side = self.larger(size)
            return f"ten crops of {size} pixels at a shorter side of {side}"
        if self.evaluation == "multi_scale":
            sides = ", ".join(map(str, self.scales))
            return f"{GRID}x{GRID} crops of {size} pixels at shorter sides of {sides}"
        return ""

    def check(self, size: int) -> None:
        """Refuses a size of images that it cannot give."""
        if self.of_files and not size:
            raise UserError(
                f"config.geometry.train={self.train!r} and "
                f"config.geometry.evaluation={self.evaluation!r} need a size: set "
                "config.data.image_size"
            )
        crops = self.train in ("resize_crop", "scale_crop")
        if crops and min(self.shorter_side) < size:
            raise UserError(
                f"config.geometry.shorter_side={self.shorter_side} is less than "
                f"config.data.image_size={size}, which is cut out of it: give larger "
                "sides or smaller images"
            )
        if self.evaluation == "multi_scale" and min(self.scales) < size:
            raise UserError(
                f"config.geometry.scales={tuple(self.scales)} has a side that is less "
                f"than config.data.image_size={size}, which is cut out of it: give "
                "larger sides or smaller images"
            )


def draw(key: int, epochs: np.ndarray, examples: np.ndarray) -> np.ndarray:
    """Numbers that are uniform on [0, 1), for each pair of an epoch and an example.

    Philox with the pair as its counter: a function of its arguments on any machine.

    Args:
      key: 0 to 2**64 - 1.
      epochs: int [n].
      examples: int [n].

    Returns:
      float64 [n, DRAWS].

    Source: Salmon et al. 2011, Parallel random numbers: as easy as 1, 2, 3.
    """
    result = np.empty((len(examples), DRAWS))
    of_key = np.array([key, _STREAM], np.uint64)
    for row, pair in enumerate(zip(epochs, examples, strict=True)):
        # Blocks of an example count in the first word.
        counter = np.array([0, pair[1], pair[0], 0], np.uint64)
        raw = np.random.Philox(counter=counter, key=of_key).random_raw(DRAWS)
        result[row] = (raw >> np.uint64(11)) * 2.0**-53
    return result


def _check_range(key: str, values: tuple, least: float, most: float) -> None:
    fits = len(values) == 2 and least <= values[0] <= values[1] <= most
    if not fits:
        raise UserError(
            f"config.geometry.{key}={tuple(values)} is no range: give two numbers from "
            f"{least:g} to {most:g}, the smaller one first"
        )


CENTER = Geometry()
