"""Section `data` of a config: which images of which source train, choose and judge."""

import dataclasses

from cnnjax.data.cutting.geometry import CENTER, Geometry
from cnnjax.errors import UserError, unknown_name

DELIVERIES = ("auto", "resident", "streaming")
# The longest side of an image; a typing error beyond it would take all memory.
MOST_PIXELS = 2**14
MAX_SEED = 2**32 - 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Request:
    """What the config asks of a source; the keys are those of section `data`.

    Args:
      name: a key of `SOURCES`, or 'tfds:<name>' for any other prepared TFDS set.
      data_dir: folder with prepared sets or images; '' for embedded sources.
      num_train: training images; 0 = all that are left.
      num_validation: images held out of the training pool; 0 = none, or all of the
        source's own validation split where it has one; -1 = none at all.
      num_test: test images; 0 = the source's whole test split, or `TEST_SHARE` of a
        source that is not divided into splits, or none of one that is, but has no test
        split; -1 = none at all.
      split_seed: seed of the choice, 0 to 2**32 - 1. Test images are chosen first, then
        validation, then training images: asking for fewer of one does not change those
        before it, and fewer training images are a subset of more.
      image_size: side in pixels after centre crop and resize; 0 = as stored.
      num_classes: classes of the synthetic source; 0 = what the source has.
      delivery: 'resident' reads and decodes all images now, 'streaming' none; 'auto'
        is 'resident' up to `RESIDENT_BYTES`. Either way gives the same images.
      num_folds: folds of cross-validation; 0 = none. The training pool of the source is
        divided, stratified where labels are known, and its own test split stays unread.
      fold: 0 to num_folds - 1; the fold that is the test split, in place of `num_test`.
        With -1 none is: the whole pool trains, nothing of it validates, and the test
        split is the source's own, or empty.
      channels: 1 or 3, whatever is stored; 0 = those of the first training image.
      classes: names of those that are kept, with new labels in this order; () = all.
      geometry: section `geometry`: which part of a photograph is seen.
      exclude: positions in the training pool of the source, from 0, of images that the
        training split lacks; which images validate and test does not change.
      label_noise: share of the training pool, below 1, whose labels become another
        class where they train, chosen by `split_seed`; see `labels.planted`.
      measured_images: of a streamed set that does not fit memory, training images whose
        statistics standardise all, chosen by `split_seed`; 0 = all of them.

    Raises:
      UserError: a value out of range.
    """

    name: str
    data_dir: str
    num_train: int
    num_validation: int
    num_test: int
    split_seed: int
    image_size: int
    num_classes: int
    delivery: str
    num_folds: int = 0
    fold: int = 0
    channels: int = 0
    classes: tuple[str, ...] = ()
    geometry: Geometry = CENTER
    exclude: tuple[int, ...] = ()
    label_noise: float = 0.0
    measured_images: int = 0

    @property
    def holds_out(self) -> bool:
        """Whether a fold is the test split."""
        return self.num_folds > 0 and self.fold >= 0

    def __post_init__(self):
        if self.delivery not in DELIVERIES:
            raise unknown_name(
                "delivery", self.delivery, DELIVERIES, "config.data.delivery"
            )
        keys = ("num_train", "image_size", "num_classes", "split_seed")
        for key in (*keys, "measured_images"):
            value = getattr(self, key)
            if value < 0:
                raise UserError(
                    f"config.data.{key}={value} is negative: give 0 or more"
                )
        for key in ("num_validation", "num_test"):
            value = getattr(self, key)
            if value < -1:
                raise UserError(
                    f"config.data.{key}={value} is no number of images: give 0 or "
                    "more, or -1 for none"
                )
        if self.channels not in (0, 1, 3):
            raise UserError(
                f"config.data.channels={self.channels} is not known: give 1 (grey), 3 "
                "(colour) or 0 (as the first training image)"
            )
        if self.image_size > MOST_PIXELS:
            raise UserError(
                f"config.data.image_size={self.image_size} is too large: give 0 to "
                f"{MOST_PIXELS} pixels"
            )
        k, fold = self.num_folds, self.fold
        if k < 0 or k == 1 or not -(k > 0) <= fold < max(k, 1):
            raise UserError(
                f"config.data.num_folds={k} and config.data.fold={fold} do not fit: "
                "give 2 folds or more, or 0 for none, and a fold from 0 to "
                "num_folds - 1, or -1 to hold none out"
            )
        if not 0 <= self.label_noise < 1:
            raise UserError(
                f"config.data.label_noise={self.label_noise} is no share of images: "
                "give 0 or more, and less than 1"
            )
        if self.exclude and min(self.exclude) < 0:
            raise UserError(
                f"config.data.exclude has {min(self.exclude)}: give positions of "
                "images, from 0, as `outliers` writes them"
            )
        self.geometry.check(self.image_size)
        if self.geometry.of_files and self.delivery == "resident":
            raise UserError(
                "config.data.delivery='resident' keeps one form of each image, and "
                "config.geometry cuts each anew: set config.data.delivery to "
                "'streaming' or 'auto', or config.geometry to center"
            )
        if self.split_seed > MAX_SEED:
            raise UserError(
                f"config.data.split_seed={self.split_seed} is too large: "
                f"give 0 to {MAX_SEED}"
            )
