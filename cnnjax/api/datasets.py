"""Data sets by name, with defaults."""

from typing import Any

from cnnjax.api.recipes import changed_keys
from cnnjax.config import override
from cnnjax.data.dataset import Dataset
from cnnjax.data.dataset import load_dataset as load_request
from cnnjax.recipes.generic import dataset_of, generic_recipe
from cnnjax.run.settings import data_request

# As they are stored and as their source divides them.
_PLAIN = {"image_size": 0, "num_train": 0, "num_validation": 0, "num_test": 0}


def load_dataset(name: str, data_dir: str = "", **changes: Any) -> Dataset:
    """Loads a data set, or lists it where its images are read as needed.

    >>> import cnnjax
    >>> digits = cnnjax.load_dataset("digits", num_validation=200)
    >>> digits
    <digits: 8x8x1, 10 classes; train 1,238, validation 200, test 359>
    >>> digits.test.images.shape, digits.test.labels.shape
    ((359, 8, 8, 1), (359,))

    Args:
      name: of `cnnjax.list_datasets()`, 'tfds:<name>', or the path of a folder that
        has a folder of images for each class.
      data_dir: folder of prepared sets; not for digits, synthetic and a folder.
      **changes: keys of section `data` of a config, such as `image_size=32` (pixels;
        by default as stored), `num_validation=500` (by default what the source has),
        `channels=1`, `classes=("cat", "dog")`; `configs/base.py` explains each.

    Returns:
      The set; its splits `train`, `validation` and `test` have a length and
      `read(places)`, and those in memory have `images` (uint8, NHWC) and `labels`.

    Raises:
      UserError: an unknown name or key, or data that is missing or broken.
    """
    source, folder = dataset_of(name)
    config = generic_recipe("convnet_digits", source)
    config.geometry.train = config.geometry.evaluation = "center"
    if source == "synthetic":
        config.data.image_size = 0
    plain = {} if source == "synthetic" else _PLAIN
    given = plain | {"data_dir": data_dir or folder} | changes
    override(config, changed_keys({"data": given}))
    return load_request(data_request(config))
